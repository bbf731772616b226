"""The fitted model: saved as JSON and plain arrays, and the same afterwards."""

import io
import json

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.generators import AIM, MarginalModel
from dpsynth.generators.constrained import constrained
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import GraphicalModel, RakedModel
from dpsynth.schema import Schema


@pytest.fixture(params=[GraphicalModel, RakedModel])
def model(fitted, chain, request):
    share = 0.2 if request.param is RakedModel else 0.0
    found = fitted(AIM(beyond_share=share), *chain, epsilon=10).model
    assert type(found.graphical) is request.param
    return found


def saved_and_loaded(model):
    header, arrays = model.dump()
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return MarginalModel.load(json.loads(json.dumps(header)), dict(stored))


def test_a_loaded_model_is_the_model(model):
    loaded = saved_and_loaded(model)
    assert (loaded.domain, loaded.total) == (model.domain, model.total)
    for clique in (("a",), ("a", "b"), ("a", "c", "d"), ("d", "b")):
        np.testing.assert_array_equal(loaded.project(clique), model.project(clique))
    one, two = (m.sample(500, np.random.default_rng(3)) for m in (model, loaded))
    for attribute in model.domain.attributes:
        np.testing.assert_array_equal(one[attribute], two[attribute])


def test_dumps_are_equal_after_a_round(model):
    header, arrays = model.dump()
    again_header, again = saved_and_loaded(model).dump()
    assert json.dumps(header) == json.dumps(again_header)
    assert {n: a.tobytes() for n, a in arrays.items()} == {n: a.tobytes() for n, a in again.items()}


def test_the_header_says_nothing_but_the_public_shape_and_noisy_figures(model):
    header, arrays = model.dump()
    raked = {"raked"} if isinstance(model.graphical, RakedModel) else set()
    assert set(header) == {"kind", "version", "attributes", "shape", "cliques", "bags", "total"} | raked
    assert header["kind"] == "marginal"
    assert all(a.dtype in (np.float64, np.int64, np.uint8) for a in arrays.values())


def test_samples_follow_the_projections(model):
    codes = model.sample(20_000, np.random.default_rng(0))
    for clique in (("a", "b"), ("b", "c"), ("c", "d")):
        drawn = np.zeros(model.domain.project(clique).shape)
        np.add.at(drawn, tuple(codes[a] for a in clique), 1)
        assert 0.5 * np.abs(drawn / 20_000 - model.project(clique) / model.total).sum() < 0.02


@pytest.mark.parametrize(
    ("change", "match"),
    [({"kind": "gan"}, "kind 'gan'"), ({"version": 99}, "version 99"), ({"shape": [9, 9, 9, 9]}, "expected 9 codes")],
)
def test_other_headers_are_refused(model, change, match):
    header, arrays = model.dump()
    with pytest.raises(ValueError, match=match):
        MarginalModel.load(header | change, arrays)


def test_missing_arrays_are_named(model):
    header, arrays = model.dump()
    with pytest.raises(ValueError, match="'weights_1' is missing"):
        MarginalModel.load(header, {n: a for n, a in arrays.items() if n != "weights_1"})


@pytest.fixture
def merging():
    """Codes 2 to 4 of a and 1 to 2 of b are one merged cell each; a and b go together."""
    domain = Domain.of({"a": 5, "b": 4})
    maps = {"a": np.array([0, 1, 2, 2, 2]), "b": np.array([0, 1, 1, 2])}
    weights = {"a": np.array([1, 1, 0.5, 0.3, 0.2]), "b": np.array([1, 0.9, 0.1, 1])}
    recoding = Recoding.of(domain, maps, weights)
    potential = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    return MarginalModel(recoding, GraphicalModel(recoding.domain, {("a", "b"): potential}, 1000.0))


def test_a_given_code_inside_a_merged_cell_conditions_exactly(merging):
    """Not by rejection: of any number of rows, and a code of weight 0.1 is as good as any."""
    for code in range(4):
        drawn = merging.sample(20_000, np.random.default_rng(code), {"b": np.full(20_000, code)})
        assert set(drawn["b"]) == {code}
        expected = merging.project(("a", "b"))[:, code]
        shares = np.bincount(drawn["a"], minlength=5) / 20_000
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=2e-3)


def test_merged_cells_are_spread_again_inside(merging):
    before = merging.sample(20_000, np.random.default_rng(0))
    after = merging.recoding.spread_again({"a": before["a"]}, np.random.default_rng(1))
    assert list(after) == ["a"]
    np.testing.assert_array_equal(merging.recoding.maps["a"][after["a"]], merging.recoding.maps["a"][before["a"]])
    inside = after["a"][after["a"] >= 2]
    np.testing.assert_allclose(np.bincount(inside, minlength=5)[2:] / len(inside), [0.5, 0.3, 0.2], atol=1e-3)
    assert (before["a"] != after["a"]).any()


def test_a_model_told_of_constraints_keeps_its_margins_and_what_it_is(merging):
    schema = Schema.from_domain({"a": 4, "b": 3}).with_constraints(
        {"forbid": {"a": [2, 3], "b": 1}}, {"if": {"a": 0}, "then": {"b": 0}}
    )
    told = constrained(merging, schema.rules)
    assert isinstance(told, MarginalModel)
    shares = told.graphical.project(("a", "b")) / 1000
    assert shares[0, 1] == shares[0, 2] == 0.0
    before = merging.graphical.project(("a", "b")) / 1000
    gone = before[0, 1:].sum()
    assert 0.5 * np.abs(shares - before).sum() < gone + 0.01  # no zeros could move less
    header, arrays = told.dump()
    again = MarginalModel.load(header, arrays)
    np.testing.assert_array_equal(again.project(("a", "b")), told.project(("a", "b")))
    assert constrained(merging, schema.with_constraints().rules) is merging

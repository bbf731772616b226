"""The fitted model: saved as JSON and plain arrays, and the same afterwards."""

import io
import json

import numpy as np
import pytest

from dpsynth.generators import AIM, MarginalModel


@pytest.fixture
def model(fitted, chain):
    return fitted(AIM(), *chain).model


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
    assert set(header) == {"kind", "version", "attributes", "shape", "cliques", "bags", "total"}
    assert header["kind"] == "marginal"
    assert all(a.dtype in (np.float64, np.int64) for a in arrays.values())


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

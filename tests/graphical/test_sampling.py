"""Sampling: margins within rounding, independences of the model kept, conditioning exact. All seeded."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2

from dpsynth.domain import Domain
from dpsynth.graphical import GraphicalModel, sampling

STAR = Domain.of({"p": 3, "x": 8, "y": 7, "z": 2})
STAR_CLIQUES = [("p", "x"), ("p", "y"), ("y", "z")]
TANGLE = Domain.of({"a": 3, "b": 4, "c": 2, "d": 5, "e": 3})
TANGLE_CLIQUES = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]


def planted(domain=TANGLE, cliques=TANGLE_CLIQUES, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return GraphicalModel(domain, {c: scale * rng.normal(size=domain.project(c).shape) for c in cliques}, 1.0)


def table(codes, domain, clique):
    counts = np.zeros(domain.project(clique).shape)
    np.add.at(counts, tuple(codes[a] for a in clique), 1)
    return counts


def dependence(counts):
    """Upper tail of the chi-square test of independence."""
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    return chi2.sf(statistic, (counts.shape[0] - 1) * (counts.shape[1] - 1))


@pytest.fixture(params=[4_000_000, 7], ids=["one chunk", "many chunks"])
def chunks(request, monkeypatch):
    monkeypatch.setattr(sampling, "_CHUNK_CELLS", request.param)


@pytest.mark.usefixtures("chunks")
def test_root_margins_are_within_one_row_and_all_others_close():
    model, rows = planted(), 20_000
    codes = model.sample(rows, np.random.default_rng(1))
    assert list(codes) == list(TANGLE.attributes)
    assert {c.shape for c in codes.values()} == {(rows,)}
    root = model.tree.bags[0]
    np.testing.assert_array_less(np.abs(table(codes, TANGLE, root) - rows * model.project(root)), 1 + 1e-6)
    for clique in combinations(TANGLE.attributes, 3):
        expected = rows * model.project(clique)
        assert np.abs(table(codes, TANGLE, clique) - expected).max() < 6 * np.sqrt(expected.max())


def test_every_bag_is_within_one_row_of_its_conditional():
    model, rows = planted(STAR, STAR_CLIQUES), 5_000
    codes = model.sample(rows, np.random.default_rng(2))
    for index in range(1, len(model.tree.bags)):
        bag, separator = model.tree.bags[index], model.tree.separators[index]
        ordered = (*separator, *(a for a in bag if a not in separator))
        drawn = table(codes, STAR, ordered)
        conditional = model.calibrated.conditionals[index].transpose(ordered).values
        groups = table(codes, STAR, separator).reshape(*drawn.shape[: len(separator)], 1)
        np.testing.assert_array_less(np.abs(drawn - groups * conditional), 1 + 1e-6)


def test_children_of_one_parent_are_independent_given_it():
    """The defect this guards against fills both children in the same order: p-values of zero."""
    model = planted(STAR, STAR_CLIQUES, seed=3)
    codes = model.sample(30_000, np.random.default_rng(3))
    for parent in range(3):
        inside = codes["p"] == parent
        counts = table({"x": codes["x"][inside], "y": codes["y"][inside]}, STAR, ("x", "y"))
        assert dependence(counts) > 1e-4
        assert abs(np.corrcoef(codes["x"][inside], codes["y"][inside])[0, 1]) < 0.04
    for value in range(7):
        inside = codes["y"] == value
        assert dependence(table({a: codes[a][inside] for a in ("x", "z")}, STAR, ("x", "z"))) > 1e-4
    assert dependence(table(codes, STAR, ("p", "x"))) < 1e-6  # what the model couples stays coupled


def test_unconnected_columns_are_independent():
    domain = Domain.of({f"x{i}": 6 for i in range(8)})
    codes = GraphicalModel(domain, {}, 1.0).sample(10_000, np.random.default_rng(4))
    for pair in combinations(domain.attributes, 2):
        assert dependence(table(codes, domain, pair)) > 1e-4
        assert np.ptp(table(codes, domain, pair[:1])) <= 1


@pytest.mark.usefixtures("chunks")
def test_rounding_is_unbiased_even_for_single_rows():
    model = planted(STAR, STAR_CLIQUES, seed=5)
    rng = np.random.default_rng(5)
    draws = [model.sample(3, rng) for _ in range(1000)]
    codes = {a: np.concatenate([d[a] for d in draws]) for a in STAR.attributes}
    for clique in (("p",), ("x",), ("y", "z"), ("p", "y")):
        expected = 3000 * model.project(clique)
        statistic = ((table(codes, STAR, clique) - expected) ** 2 / expected).sum()
        assert chi2.sf(statistic, expected.size - 1) > 1e-4


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("fixed", [("a",), ("d",), ("b", "d"), ("a", "c", "e"), ("e",), ("a", "b", "c", "d")])
def test_given_columns_are_kept_and_the_rest_follow_the_exact_conditional(fixed):
    model, rng = planted(scale=1.5), np.random.default_rng(6)
    combinations_given = {a: rng.integers(0, TANGLE[a], 5) for a in fixed}  # five combinations, 4,000 rows each
    given = {a: np.tile(c, 4000) for a, c in combinations_given.items()}
    codes = model.sample(20_000, rng, given)
    joint = model.project(TANGLE.attributes)
    free = tuple(a for a in TANGLE.attributes if a not in fixed)
    for a in fixed:
        np.testing.assert_array_equal(codes[a], given[a])
    for i in range(5):
        at = tuple(int(combinations_given[a][i]) if a in fixed else slice(None) for a in TANGLE.attributes)
        expected = joint[at] / joint[at].sum()
        same = np.all([given[a] == combinations_given[a][i] for a in fixed], axis=0)
        drawn = table({a: codes[a][same] for a in free}, TANGLE, free)
        assert 0.5 * np.abs(drawn / same.sum() - expected).sum() < 0.05
        for one in free:
            axis = tuple(j for j, a in enumerate(free) if a != one)
            margin = np.abs(drawn.sum(axis=axis) / same.sum() - expected.sum(axis=axis)).max()
            assert margin < 4.5 * 0.5 / np.sqrt(same.sum())


def test_given_everything_returns_it():
    rng = np.random.default_rng(7)
    given = {a: rng.integers(0, size, 50) for a, size in TANGLE.sizes.items()}
    codes = planted().sample(50, rng, given)
    for a in TANGLE.attributes:
        np.testing.assert_array_equal(codes[a], given[a])


def test_given_the_impossible_still_draws():
    model = planted(scale=2000.0)  # most combinations have probability zero
    rng = np.random.default_rng(8)
    given = {"a": rng.integers(0, 3, 200), "c": rng.integers(0, 2, 200), "d": rng.integers(0, 5, 200)}
    codes = model.sample(200, rng, given)
    for a, size in TANGLE.sizes.items():
        assert codes[a].min() >= 0
        assert codes[a].max() < size


def test_independence_holds_given_columns_too():
    model = planted(STAR, STAR_CLIQUES, seed=9)
    given = {"p": np.zeros(20_000, dtype=np.int64)}
    codes = model.sample(20_000, np.random.default_rng(9), given)
    assert dependence(table(codes, STAR, ("x", "y"))) > 1e-4
    assert (
        np.abs(table(codes, STAR, ("x",)) - 20_000 * model.project(("p", "x"))[0] / model.project(("p",))[0]).max() < 2
    )


def test_one_seed_gives_one_sample():
    model = planted()
    first, second = (model.sample(500, np.random.default_rng(10)) for _ in range(2))
    for a in TANGLE.attributes:
        np.testing.assert_array_equal(first[a], second[a])


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_very_few_rows(rows):
    codes = planted().sample(rows, np.random.default_rng(11))
    assert all(len(c) == rows for c in codes.values())
    assert len(planted().sample(0, np.random.default_rng(0), {"a": np.zeros(0, dtype=np.int64)})["b"]) == 0


def test_bad_requests_are_refused():
    model, rng = planted(), np.random.default_rng(12)
    with pytest.raises(ValueError, match="at least 0"):
        model.sample(-1, rng)
    with pytest.raises(ValueError, match="one code per row"):
        model.sample(3, rng, {"a": np.zeros(2, dtype=np.int64)})
    with pytest.raises(ValueError, match="allowed are 0 to 2"):
        model.sample(2, rng, {"a": np.array([0, 3])})
    with pytest.raises(KeyError, match="zz"):
        model.sample(1, rng, {"zz": np.zeros(1, dtype=np.int64)})

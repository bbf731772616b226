"""Estimation against dense linear algebra and a general-purpose optimiser on small tables."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import (
    Factor,
    GraphicalModel,
    JunctionTree,
    Measurement,
    ModelTooLarge,
    estimate,
    estimate_total,
)
from dpsynth.graphical.consistency import reconcile
from dpsynth.graphical.estimation import combine
from dpsynth.graphical.lbfgs import minimise

FOUR = Domain.of({"a": 3, "b": 4, "c": 2, "d": 3})
CYCLE = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
MIXED = [("a",), ("b",), ("c",), ("d",), ("a", "b"), ("a", "b", "c"), ("c", "d")]


def planted(cliques=CYCLE, seed=0, total=1000.0, domain=FOUR):
    rng = np.random.default_rng(seed)
    return GraphicalModel(domain, {c: rng.normal(size=domain.project(c).shape) for c in cliques}, total)


def exact(model, cliques, sigma=0.01):
    return [Measurement(c, model.project(c), sigma) for c in cliques]


def noisy(model, cliques, sigma, rng):
    found = []
    for clique in cliques:
        truth = model.project(clique)
        scale = sigma * rng.uniform(0.5, 2.0, truth.shape if len(clique) == 1 else ())
        found.append(Measurement(clique, truth + scale * rng.normal(size=truth.shape), scale))
    return found


@pytest.mark.parametrize("cliques", [CYCLE, MIXED, [("a", "b", "c", "d")], [("a",), ("b", "c")]])
def test_measured_marginals_are_recovered_without_noise(cliques):
    truth = planted(cliques)
    model = estimate(FOUR, exact(truth, cliques), tolerance=0.01, max_evaluations=2000)
    assert model.total == pytest.approx(1000)
    for clique in cliques:
        np.testing.assert_allclose(model.project(clique), truth.project(clique), atol=0.1)


def test_the_model_class_is_recovered_whole_from_its_cliques():
    truth = planted(CYCLE)
    model = estimate(FOUR, exact(truth, CYCLE), tolerance=0.01, max_evaluations=2000)
    everything = FOUR.attributes
    np.testing.assert_allclose(model.project(everything), truth.project(everything), atol=0.1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([CYCLE, MIXED]), st.sampled_from([0.05, 0.5]))
@settings(deadline=None, max_examples=15)
def test_the_fit_is_optimal_for_the_objective(seed, cliques, smoothing):
    """The penalised least squares of the docstring is convex in p: its Frank-Wolfe gap bounds what is left to gain."""
    rng = np.random.default_rng(seed)
    measured = noisy(planted(cliques, seed), cliques, 20.0, rng)
    total = estimate_total(measured)
    typical = 1 / np.sqrt(np.mean([np.mean(1 / np.square(m.sigma)) for m in measured]))
    weight = smoothing * total / typical
    model = estimate(FOUR, measured, smoothing=smoothing, tolerance=1e-5, max_evaluations=5000)
    log_p = Factor(FOUR, np.full(FOUR.shape, -model.calibrated.log_partition))
    for clique, values in model.potentials.items():
        log_p = log_p + Factor(FOUR.project(clique), values)
    slope = weight * log_p.values
    for m in measured:  # the raw measurements, not the reconciled ones the fit works on
        residual = (model.project(m.clique) - m.values) / np.square(m.sigma)
        slope = slope + Factor(FOUR.project(m.clique), total * residual).expand(FOUR)
    gap = float((log_p.exp().values * slope).sum() - slope.min())
    assert gap < 0.1  # in squared sigmas, of about sixty measured cells


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_reconciled_targets_are_generalised_least_squares(seed):
    rng = np.random.default_rng(seed)
    pool = [c for size in (1, 2, 3) for c in combinations(FOUR.attributes, size)]
    cliques = [pool[i] for i in rng.choice(len(pool), rng.integers(1, 7), replace=False)]
    measured = combine(FOUR, noisy(planted(), cliques, 20.0, rng))
    total = float(rng.uniform(500, 1500))
    variances = {c: np.square(np.broadcast_to(m.sigma, m.values.shape)) for c, m in measured.items()}
    agreed = reconcile(FOUR, {c: m.values for c, m in measured.items()}, variances, total)

    def summing(clique):
        cells = np.arange(FOUR.size()).reshape(FOUR.shape)
        rows = np.zeros((FOUR.size(clique), FOUR.size()))
        for index in np.ndindex(FOUR.project(clique).shape):
            where = tuple(index[clique.index(a)] if a in clique else slice(None) for a in FOUR.attributes)
            rows[np.ravel_multi_index(index, FOUR.project(clique).shape), np.ravel(cells[where])] = 1
        return rows

    # least squares over signed tables that sum to the total: the constraint is one very heavy row
    design = [summing(c) / np.sqrt(variances[c]).reshape(-1, 1) for c in measured]
    wanted = [m.values.ravel() / np.sqrt(variances[c]).ravel() for c, m in measured.items()]
    heavy = 1e5
    table = np.linalg.lstsq(
        np.vstack([*design, heavy * np.ones((1, FOUR.size()))]), np.concatenate([*wanted, [heavy * total]])
    )[0]
    for clique in measured:
        expected = (summing(clique) @ table).reshape(agreed[clique].shape)
        np.testing.assert_allclose(agreed[clique], expected, atol=1e-3 * total / 500)
        assert agreed[clique].sum() == pytest.approx(total)


def test_repeated_measurements_combine_by_precision():
    values = np.array([10.0, 20.0, 30.0])
    one, two = Measurement(("a",), values, 1.0), Measurement(("a",), values + 5, 2.0)
    (both,) = combine(FOUR, [one, two]).values()
    np.testing.assert_allclose(both.values, values + 1)
    np.testing.assert_allclose(both.sigma, np.sqrt(0.8))


def test_turned_measurements_are_the_same_measurement():
    truth = planted()
    straight = estimate(FOUR, exact(truth, CYCLE))
    turned = estimate(FOUR, [Measurement(m.clique[::-1], m.values.T, m.sigma) for m in exact(truth, CYCLE)])
    np.testing.assert_array_equal(turned.project(FOUR.attributes), straight.project(FOUR.attributes))


def test_column_order_does_not_matter():
    measured = noisy(planted(), MIXED, 10.0, np.random.default_rng(3))
    here = estimate(FOUR, measured, tolerance=1e-3, max_evaluations=5000)
    turned = FOUR.project(("c", "a", "d", "b"))
    there = estimate(turned, measured, tolerance=1e-3, max_evaluations=5000)
    np.testing.assert_allclose(there.project(FOUR.attributes), here.project(FOUR.attributes), atol=0.05)


def test_total_is_weighted_by_precision_and_floored():
    exact_one, vague = Measurement(("a",), np.full(3, 100.0), 1.0), Measurement(("b",), np.zeros(4), 100.0)
    assert estimate_total([exact_one, vague]) == pytest.approx(300, rel=1e-3)
    assert estimate_total([Measurement(("a",), np.full(3, -50.0), 1.0)]) == 1.0
    assert estimate_total([]) == 1.0


@pytest.mark.parametrize("values", [np.full((3, 4), -1e6), np.zeros((3, 4)), np.eye(3, 4) * 1e9])
def test_hostile_counts_give_a_proper_distribution(values):
    one_way = Measurement(("c",), np.array([-1e3, 5.0]), np.array([3.0, 300.0]))
    model = estimate(FOUR, [Measurement(("a", "b"), values, 10.0), one_way])
    table = model.project(FOUR.attributes)
    assert np.isfinite(table).all()
    assert (table >= 0).all()
    assert table.sum() == pytest.approx(model.total)


def test_nothing_measured_is_uniform():
    np.testing.assert_allclose(estimate(FOUR, []).project(("a",)), 1 / 3)


def test_warm_start_goes_on_where_it_stopped():
    measured = noisy(planted(), MIXED, 5.0, np.random.default_rng(1))
    first = estimate(FOUR, measured, tolerance=0.01, max_evaluations=3000)
    again = estimate(FOUR, measured, warm=first.potentials, tolerance=0.01, max_evaluations=1)
    np.testing.assert_allclose(again.project(FOUR.attributes), first.project(FOUR.attributes), rtol=1e-9)


def test_a_tree_may_be_given():
    measured = exact(planted(), CYCLE)
    tree = JunctionTree.of(FOUR, []).covering(CYCLE)
    model = estimate(FOUR, measured, tree=tree, tolerance=1e-3, max_evaluations=5000)
    assert model.tree is tree
    other = estimate(FOUR, measured, tolerance=1e-3, max_evaluations=5000)
    np.testing.assert_allclose(model.project(FOUR.attributes), other.project(FOUR.attributes), atol=0.05)
    with pytest.raises(ValueError, match="no bag"):
        estimate(FOUR, measured, tree=JunctionTree.of(FOUR, CYCLE[:2]))


def test_limit_on_cells_is_honoured():
    with pytest.raises(ModelTooLarge, match="allowed are 11"):
        estimate(FOUR, exact(planted(), [("a", "b")]), max_cells=11)


@pytest.mark.parametrize(
    ("values", "sigma", "match"),
    [
        (np.array([1.0, np.nan, 0.0]), 1.0, "finite"),
        (np.zeros(3), 0.0, "positive"),
        (np.zeros(3), np.inf, "positive"),
        (np.zeros((3, 1)), 1.0, "axes"),
    ],
)
def test_bad_measurements_are_refused(values, sigma, match):
    with pytest.raises(ValueError, match=match):
        Measurement(("a",), values, sigma)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(3,\)"):
        estimate(FOUR, [Measurement(("a",), np.zeros(4), 1.0)])


def test_lbfgs_minimises_a_badly_scaled_convex_function():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(30, 30)) * np.logspace(0, 2, 30)
    matrix, linear = root.T @ root / 30 + np.eye(30), rng.normal(size=30)

    def objective(x):
        return float(0.5 * x @ matrix @ x - linear @ x), matrix @ x - linear

    def close(x, gradient):
        return float(np.abs(gradient).max()) < 1e-6

    found = minimise(objective, np.zeros(30), 1 / np.diag(matrix), close, 5000)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, linear), atol=1e-5)


def test_lbfgs_never_returns_worse_than_it_was_given():
    def objective(x):
        return float(np.logaddexp(0, x).sum() + np.logaddexp(0, -x).sum()), np.tanh(x / 2)

    start = np.array([300.0, -4.0])
    found = minimise(objective, start, np.full(2, 1e6), lambda x, g: False, 3)
    assert objective(found)[0] <= objective(start)[0]

"""Verdicts: rarely wrong where the table is right, loud where it is not, honest where noise drowns both."""

import numpy as np
import pytest
from scipy.stats import ncx2

from dpsynth.columns import Categorical, Integer
from dpsynth.measurement import NoisyCounts
from dpsynth.release.report.counted import Counted, counted
from dpsynth.release.report.noise import Comparison, distance_bound, noncentrality
from dpsynth.release.report.unseen import Unseen
from dpsynth.release.report.verdicts import ALPHA, CLEAR, CONFIDENCE, Verdict, judged
from dpsynth.schema import Schema

ROWS = 20_000
LETTERS = Schema(columns=tuple(Categorical(name=name, values=tuple("abcdefghij")) for name in "xyz"))
FINE = Schema(columns=(Integer(name="fine", min=0, max=9999, bins=200),))


def table(schema, rng, rows=ROWS, skew=1.5):
    """Codes whose frequent values are the first ones."""
    codes = {}
    for name, size in schema.domain.sizes.items():
        weights = 1 / np.arange(1, size) ** skew
        codes[name] = rng.choice(size - 1, rows, p=weights / weights.sum())
    return codes


def exact(schema, clique, codes):
    shape = schema.domain.shape_of(clique)
    flat = np.ravel_multi_index([codes[a] for a in clique], shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)


def noisy(schema, clique, codes, sigma, rng):
    counts = exact(schema, clique, codes)
    return NoisyCounts(clique, counts + np.rint(rng.normal(0, sigma, counts.shape)).astype(np.int64), sigma)


def verdicts(schema, said, codes, rows=ROWS, total=float(ROWS), **more):
    return judged(counted(said), schema, codes, rows, total, **more)


@pytest.mark.parametrize("sigma", [1.0, 30.0, 300.0])
def test_a_right_table_is_hardly_ever_contradicted(sigma):
    """Another sample of the same population: at most one report in a hundred says so anywhere, by Bonferroni."""
    rng, alarms = np.random.default_rng(11), 0
    cliques = [("x",), ("y",), ("x", "y"), ("y", "z"), ("x", "y", "z")]
    for _ in range(120):
        real, synthetic = table(LETTERS, rng), table(LETTERS, rng, rows=5_000)
        said = [noisy(LETTERS, clique, real, sigma, rng) for clique in cliques]
        found = verdicts(LETTERS, said, synthetic, rows=5_000)
        alarms += any(fit.verdict is Verdict.CONTRADICTS for fit in found)
    assert alarms <= 6  # more than that has a chance below 1e-3 at a rate of ALPHA


@pytest.mark.parametrize("unseen", [False, True])
def test_what_the_table_is_within_of_the_real_margin_is_a_bound_that_holds(unseen):
    """All bounds of a report hold together with the confidence stated, whatever the table is."""
    rng, held, wide = np.random.default_rng(12), 0, []
    cliques = [("x",), ("y",), ("x", "y"), ("y", "z")]
    for i in range(100):
        real = table(LETTERS, rng)
        synthetic = table(LETTERS, rng, skew=1.5 if i % 2 else 1.3)
        said = [noisy(LETTERS, clique, real, 60.0, rng) for clique in cliques]
        good = True
        for fit in verdicts(LETTERS, said, synthetic, unseen=unseen):
            true = 0.5 * np.abs(exact(LETTERS, fit.clique, real) - exact(LETTERS, fit.clique, synthetic)).sum() / ROWS
            good &= fit.groups < fit.cells or true <= fit.bound
            wide.append(fit.bound / max(fit.noise, 1e-9))
        held += good
    assert held >= 100 * CONFIDENCE - 5
    assert np.median(wide) < 6


def test_a_table_fitted_to_the_noise_itself_is_not_praised_for_it():
    """Rows drawn to equal the noisy counts are at no distance from them, and as far from the real ones as noise is."""
    rng, held = np.random.default_rng(21), 0
    for _ in range(40):
        real = table(LETTERS, rng)
        said = noisy(LETTERS, ("x",), real, 200.0, rng)
        copied = {**real, "x": np.repeat(np.arange(11), np.maximum(said.values, 0))}
        rows = len(copied["x"])
        (fit,) = verdicts(LETTERS, [said], copied, rows=rows, total=float(rows))
        shares = exact(LETTERS, ("x",), real) / ROWS, np.bincount(copied["x"], minlength=11) / rows
        held += 0.5 * np.abs(shares[0] - shares[1]).sum() <= fit.bound
    assert held == 40


def test_a_wrong_column_is_told_from_a_right_one_however_fine_its_grid():
    """200 cells of noise drown either alone; in fewer groups the wrong one is caught and the right one cleared."""
    rng = np.random.default_rng(13)
    real = table(FINE, rng)
    said = [noisy(FINE, ("fine",), real, 40.0, rng)]
    (right,) = verdicts(FINE, said, real)
    (wrong,) = verdicts(FINE, said, {"fine": np.minimum(real["fine"] + 5, 199)})
    assert right.noise > CLEAR  # cell by cell it is too noisy
    assert right.verdict is Verdict.AGREES
    assert right.groups < right.cells
    assert right.bound <= CLEAR
    assert wrong.verdict is Verdict.CONTRADICTS
    assert wrong.least > 0.1
    assert wrong.p_value < ALPHA


def test_one_wrong_cell_among_many_is_found():
    rng = np.random.default_rng(14)
    real = table(FINE, rng, skew=0.2)
    synthetic = {"fine": np.where(rng.random(ROWS) < 0.03, 150, real["fine"])}
    (fit,) = verdicts(FINE, [noisy(FINE, ("fine",), real, 40.0, rng)], synthetic)
    assert fit.verdict is Verdict.CONTRADICTS


def test_wrong_in_detail_and_right_in_groups_says_both():
    rng = np.random.default_rng(15)
    real = table(FINE, rng, skew=0.3)
    heaped = {"fine": real["fine"] // 2 * 2}  # every second cell holds its neighbour's rows, too
    (fit,) = verdicts(FINE, [noisy(FINE, ("fine",), real, 3.0, rng)], heaped)
    assert fit.verdict is Verdict.CONTRADICTS
    assert fit.groups > fit.resolved > 1


def test_noise_that_drowns_everything_says_how_much_it_hides():
    rng = np.random.default_rng(16)
    real = table(LETTERS, rng)
    said = [noisy(LETTERS, ("x", "y"), real, 5_000.0, rng)]
    for synthetic in (real, {name: codes[::-1] for name, codes in real.items()}):
        (fit,) = verdicts(LETTERS, said, synthetic)
        assert fit.verdict is Verdict.TOO_NOISY
        assert fit.bound > 0.5


def test_a_small_difference_is_no_contradiction_however_certain():
    rng = np.random.default_rng(17)
    real = table(LETTERS, rng)
    moved = {**real, "x": np.where(np.arange(ROWS) < 150, 9, real["x"])}  # under one row in a hundred
    (fit,) = verdicts(LETTERS, [noisy(LETTERS, ("x",), real, 0.5, rng)], moved)
    assert fit.verdict is Verdict.AGREES
    assert fit.bound < 0.02


def test_counts_that_the_fit_did_not_see_give_sharper_bounds():
    rng = np.random.default_rng(18)
    real = table(LETTERS, rng)
    said = [noisy(LETTERS, ("x", "y"), real, 60.0, rng)]
    (fitted,) = verdicts(LETTERS, said, real)
    (unseen,) = verdicts(LETTERS, said, real, unseen=True)
    assert unseen.groups >= fitted.groups
    assert unseen.bound < fitted.bound or unseen.groups > fitted.groups


def test_the_check_on_unseen_counts_finds_the_error_there_is():
    """The mean error is bounded in nearly all of 60 checks, and its estimate is near the truth."""
    rng, held, estimates = np.random.default_rng(19), 0, []
    cliques = [("x", "y"), ("x", "z"), ("y", "z")]
    for _ in range(60):
        real, synthetic = table(LETTERS, rng), table(LETTERS, rng, skew=1.35)
        said = [noisy(LETTERS, clique, real, 80.0, rng) for clique in cliques]
        found = Unseen.of(counted(said), LETTERS, synthetic, ROWS, float(ROWS))
        apart = [exact(LETTERS, c, real) - exact(LETTERS, c, synthetic) for c in cliques]
        held += np.mean([0.5 * np.abs(a).sum() for a in apart]) / ROWS <= found.bound
        estimates.append(found.error / (np.sqrt(np.mean([(a**2).mean() for a in apart])) / ROWS))
    assert held >= 55
    assert np.mean(estimates) == pytest.approx(1, abs=0.15)
    assert Unseen.of([], LETTERS, synthetic, ROWS, float(ROWS)) is None


def test_the_bound_on_a_distance_is_kept_and_is_not_far_off():
    rng = np.random.default_rng(20)
    for sigma in (np.array([3.0]), np.full(40, 2.0), np.geomspace(0.1, 10, 15)):
        drawn = 0.5 * np.abs(rng.normal(0, sigma, (40_000, sigma.size))).sum(axis=1)
        for alpha in (0.05, 0.001):
            bound = distance_bound(sigma, alpha)
            assert (drawn > bound).mean() <= alpha
            assert bound < 1.5 * np.quantile(drawn, 1 - alpha)
    assert distance_bound(np.zeros(3), 0.05) == 0.0


@pytest.mark.parametrize(("statistic", "cells"), [(5.0, 8), (60.0, 25), (1e4, 100), (900_000.0, 2_000)])
def test_noncentrality_is_the_inverse_of_the_chance_to_fall_so_low(statistic, cells):
    found = noncentrality(statistic, cells, 0.05)
    assert ncx2.cdf(statistic, cells, found) == pytest.approx(0.05, rel=0.01)
    assert noncentrality(1.0, 100, 0.05) == pytest.approx(0)
    assert noncentrality(2e6, 1_000, 0.05) == pytest.approx(2e6 - 1_000 + 1.645 * 2 * np.sqrt(2e6), rel=1e-3)


def test_degenerate_margins_have_a_verdict():
    """One cell, one row, no row at all, a cell with everything: figures, and no warning."""
    one = Schema.from_domain({"a": 1})
    for values, sigma, total in (
        ([0, 0], 5.0, 1.0),
        ([1, 0], 1e-3, 1.0),
        ([-900, 400], 300.0, 1.0),
        ([10**9, 0], 1.0, 1e9),
    ):
        said = [NoisyCounts(("a",), np.array(values), sigma)]
        (fit,) = judged(counted(said), one, {"a": np.zeros(1, int)}, 1, total)
        assert np.isfinite([fit.distance, fit.noise, fit.bound, fit.p_value]).all()
        assert fit.bound <= 1
    single = Comparison(np.array([5.0]), np.array([1.0]), np.array([1.0]), 5, 5.0)
    assert single.p_value == 1.0
    assert judged([Counted((), {}, np.array(3.0), 1.0, 1)], one, {"a": np.zeros(1, int)}, 1, 1.0) == ()

"""Adaptive bins: runs of neighbours that keep the mass, find atoms with enough budget, and give up without it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.generators.binning import MOST_BINS, binned, constant_runs, denoise

rng = np.random.default_rng(0)
AGES = np.clip(rng.normal(40, 12, 30_000), 0, 99).astype(int)


def counts(values, cells, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, cells)
    return np.round(np.bincount(values, minlength=cells) + noise)


def bins_of(values, cells, sigma, seed=0):
    noisy = counts(values, cells, sigma, seed)
    positions = np.arange(cells + 1.0)
    return binned(noisy, np.full(cells, sigma), positions, max(float(noisy.sum()), 1.0), 3.0)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(-500, 5000) | st.integers(-10, 10), min_size=1, max_size=60),
    st.floats(0.1, 1000),
    st.floats(1, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_bins_are_runs_of_neighbours_with_weights_that_sum_to_one(noisy, sigma, total, seed):
    noisy, draws = np.array(noisy, dtype=float), np.random.default_rng(seed)
    positions = np.cumsum(np.concatenate([[draws.normal()], draws.exponential(size=len(noisy)) + 1e-3]))
    found = binned(noisy, np.full(len(noisy), sigma), positions, total, 3.0)
    assert found.codes[0] == 0
    assert set(np.diff(found.codes)) <= {0, 1}
    assert len(found.held) <= MOST_BINS
    assert (found.mass >= 0).all()
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(np.bincount(found.codes, found.weights), 1.0)
    if len(found.held) > 1:
        assert (found.held >= 3 * sigma * (1 - 1e-6)).all()
        np.testing.assert_allclose(found.weights * found.held[found.codes], found.mass)


def test_denoising_keeps_the_mass_and_takes_the_noise_out_of_a_flat_column():
    noisy = 100 + np.random.default_rng(1).normal(0, 10, 200)
    mass = denoise(noisy, np.full(200, 10.0), np.ones(200))
    assert mass.sum() == pytest.approx(noisy.sum())
    assert np.abs(mass - 100).max() < 5


def test_denoising_spreads_a_piece_by_width_and_keeps_what_stands_out():
    widths = np.array([5.0, 1.0, 5.0, 5.0, 1.0, 5.0])
    noisy = np.array([502.0, 99.0, 497.0, 501.0, 5000.0, 500.0])
    mass = denoise(noisy, np.full(6, 5.0), widths)
    np.testing.assert_allclose(mass[[0, 1, 2, 3, 5]], [500, 100, 500, 500, 500], atol=5)
    assert mass[4] == 5000


@pytest.mark.parametrize("seed", range(5))
def test_empty_stretches_stay_empty(seed):
    found = bins_of(np.clip(AGES, 0, 40), 100, 20.0, seed)
    assert found.mass[45:].sum() < 0.01 * len(AGES)


def test_more_budget_more_bins():
    numbers = [len(bins_of(AGES, 100, sigma).held) for sigma in (3000.0, 300.0, 30.0, 3.0)]
    assert numbers == sorted(numbers)
    assert numbers[0] <= 3
    assert numbers[-1] >= 15


def test_a_heavy_single_value_has_a_bin_of_its_own_where_the_budget_shows_it():
    hours = np.where(np.random.default_rng(2).random(len(AGES)) < 0.45, 40, AGES)
    found = bins_of(hours, 100, 30.0)
    assert (found.codes == found.codes[40]).sum() == 1
    zeros = np.where(np.random.default_rng(3).random(len(AGES)) < 0.9, 0, 1 + AGES)
    found = bins_of(zeros, 101, 30.0)
    assert found.codes[1] == 1
    assert len(found.held) > 2


@pytest.mark.parametrize("values", [np.array([], dtype=int), np.array([7])], ids=["no rows", "one row"])
@pytest.mark.parametrize("sigma", [30.0, 3000.0])
def test_nothing_but_noise_is_at_most_a_few_bins(values, sigma):
    found = bins_of(values, 100, sigma)
    assert len(found.held) <= 2


def test_a_constant_column_stays_at_its_value():
    found = bins_of(np.full(10_000, 40), 100, 10.0)
    assert found.mass[40] > 0.97 * found.mass.sum()


@pytest.mark.parametrize(("stretch", "rows"), [(520.0, 0.0), (0.0, 300.0)])
def test_what_is_known_of_all_rows_tells_a_long_stretch(stretch, rows):
    """Three hundred cells at sigma 20 have noise of 346 rows: by themselves it looks like a tail, or hides one."""
    noise = np.random.default_rng(0).normal(0, 20, 300)
    noisy = np.concatenate([[1000.0, 1500.0, 1200.0, 800.0], noise - noise.mean() + stretch / 300])
    sigma, widths = np.full(304, 20.0), np.ones(304)
    alone = denoise(noisy, sigma, widths)[4:].sum()
    known = denoise(noisy, sigma, widths, (4500.0 + rows, 800.0))[4:].sum()
    assert abs(known - rows) < 60 < abs(alone - rows)


def test_rows_of_all_pieces_together_are_those_known():
    rng = np.random.default_rng(1)
    noisy = np.rint(rng.poisson(np.repeat([50.0, 4.0, 0.0], 40)) + rng.normal(0, 10, 120))
    mass = denoise(noisy, np.full(120, 10.0), np.ones(120), (2160.0, 1.0))
    assert mass.sum() == pytest.approx(2160, abs=5)
    assert (mass >= 0).all()


@pytest.mark.filterwarnings("error")
def test_cells_far_narrower_than_others_lose_nothing():
    """Sums over a thousand wide cells hide a narrow one's own: its run is as good as its counts, and no better."""
    widths = np.concatenate([np.full(200, 1e6), [1e-6, 1e-6], np.full(20, 1e6)])
    noisy = np.concatenate([np.full(200, 50.0), [400.0, 400.0], np.full(20, 50.0)])
    found = constant_runs(noisy[:, None], np.full((222, 1), 25.0), widths, 10.0)
    assert [(run.start, run.stop) for run in found] == [(0, 200), (200, 202), (202, 222)]

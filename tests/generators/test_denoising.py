"""One-ways denoised: nearer the truth where there is something to learn, untouched where there is not."""

import numpy as np
import pytest

from dpsynth.generators.denoising import FEWEST_CELLS, MOST_CELLS, denoised
from dpsynth.graphical import Measurement

CELLS = 80


def column(values, sigma):
    return Measurement(("a",), np.asarray(values, dtype=float), sigma)


def bell():
    return 40_000 * np.exp(-0.5 * np.square((np.arange(CELLS) - 30) / 12)) / 30


def spiked():
    counts = np.zeros(CELLS)
    counts[[5, 40, 41]] = 900, 30_000, 2_500
    return counts


def thin():
    counts = np.full(CELLS, 150.0)
    counts[::9] = 2_000
    return np.random.default_rng(7).permutation(counts)


@pytest.mark.parametrize(
    ("truth", "gain"), [(bell(), 0.5), (spiked(), 0.35), (thin(), 0.7)], ids=["smooth", "spikes", "no order"]
)
def test_the_error_falls(truth, gain):
    rng = np.random.default_rng(3)
    before, after = [], []
    for _ in range(8):
        noisy = truth + rng.normal(0, 200, CELLS)
        before.append(np.abs(noisy - truth).sum())
        after.append(np.abs(denoised(column(noisy, 200.0)).measurement.values - truth).sum())
    assert np.mean(after) < gain * np.mean(before)


def test_order_is_seen_in_the_counts_and_not_in_the_same_counts_shuffled():
    rng = np.random.default_rng(5)
    for _ in range(5):
        noise = rng.normal(0, 60, CELLS)
        assert denoised(column(bell() + noise, 60.0)).order > 20
        assert denoised(column(rng.permutation(bell()) + noise, 60.0)).order < 3


def test_counts_far_above_the_noise_stay():
    truth = spiked()
    found = denoised(column(truth + np.random.default_rng(0).normal(0, 5, CELLS), 5.0)).measurement
    assert np.abs(found.values - truth)[truth > 0].max() < 25
    assert found.sigma == 5.0


@pytest.mark.parametrize("cells", [1, FEWEST_CELLS - 1, MOST_CELLS + 1])
def test_columns_too_small_or_too_large_come_back_as_they_are(cells):
    given = column(np.arange(cells) - 2.0, 3.0)
    found = denoised(given)
    assert found.measurement is given
    assert found.order == 0


@pytest.mark.parametrize(
    "noisy",
    [
        np.zeros(30),
        np.full(30, -1e6),
        np.r_[np.full(15, 1e9), np.full(15, -1e9)],
        np.full(30, 39.9),
        np.eye(30)[4] * 1e300,
    ],
    ids=["zeros", "negative", "far apart", "at the grid's end", "one enormous"],
)
def test_no_counts_upset_it(noisy):
    found = denoised(column(noisy, np.full(30, 1.0)))
    assert np.isfinite(found.measurement.values).all()
    assert np.isfinite(found.order)

"""Partition selection: the threshold against every way in which one unit can spread its rows over keys."""

import math
from decimal import Decimal

import mpmath
import numpy as np
import pytest
from scipy.stats import norm

from accountants import Gaussian, Profile, Thresholding, compose
from tests.accountants.exactly import gauss


def splits(rows, most=None):
    """All ways to spread exactly `rows` rows over keys."""
    if rows == 0:
        yield ()
    for first in range(min(rows, most or rows), 0, -1):
        for rest in splits(rows - first, first):
            yield (first, *rest)


def shown(split, threshold, sigma):
    """The chance that any of a unit's own keys, with that many rows each, exceeds the threshold."""
    with mpmath.workdps(40):
        return -mpmath.expm1(sum(mpmath.log(mpmath.ncdf((mpmath.mpf(threshold) - n) / sigma)) for n in split))


@pytest.mark.parametrize("at_most", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("z", [0.2, 1.0, 7.5])
@pytest.mark.parametrize("delta", ["1e-9", "1e-4", "0.3"])
def test_delta_covers_every_key_of_one_unit(at_most, z, delta):
    """PEERS.md, defect 2: delta charged for one of k partitions. Here: for all of them, and with no row to spare."""
    event = Thresholding(z, delta)
    threshold, sigma = event.threshold(at_most), z * at_most
    everything = [split for rows in range(1, at_most + 1) for split in splits(rows)]
    worst = max(shown(split, threshold, sigma) for split in everything)
    assert worst <= mpmath.mpf(delta)
    assert max(shown(split, threshold - 1, sigma) for split in everything) > mpmath.mpf(delta)


def test_a_threshold_for_one_key_would_show_one_of_many():
    """What charging delta for one key comes to: a thousand keys of one row each."""
    event, sigma = Thresholding(1.0, "1e-6"), 1000.0
    naive = 1 + sigma * norm.isf(1e-6)
    assert shown((1,) * 1000, naive, sigma) > 0.9e-3
    assert shown((1,) * 1000, event.threshold(1000), sigma) <= 1e-6
    assert event.threshold(1000) > naive + 1000


def test_more_rows_a_unit_raise_the_threshold_and_more_delta_lowers_it():
    thresholds = [Thresholding(2.0, "1e-8").threshold(k) for k in (1, 2, 3, 10, 100, 1000)]
    assert thresholds == sorted(thresholds)
    assert Thresholding(2.0, "1e-6").threshold(3) < Thresholding(2.0, "1e-9").threshold(3)


@pytest.mark.parametrize(("own", "shared"), [((), 3), ((3,), 0), ((1, 1, 1), 0), ((1, 1), 1), ((1,), 2), ((2,), 1)])
def test_the_whole_mechanism_is_within_the_claimed_profile(own, shared):
    """A unit of three rows: noisy counts of one shared key of 20 rows and of its own keys, those above shown."""
    event, k = Thresholding(1.2, "1e-3"), 3
    sigma, threshold = event.noise_multiplier * k, event.threshold(k)
    edges = np.concatenate([[-np.inf], np.arange(threshold + 0.5, threshold + 60.0, 1.0), [np.inf]])
    absent, present = np.diff(norm.cdf(edges, 20, sigma)), np.diff(norm.cdf(edges, 20 + shared, sigma))
    reveals = float(shown(own, threshold, sigma)) if own else 0.0
    p, q = np.append(present * (1 - reveals), reveals), np.append(absent, 0.0)
    for g in np.linspace(-3, 3, 25):
        claimed = compose([event]).delta(g)
        for one, other in ((p, q), (q, p)):
            assert np.maximum(one - math.exp(g) * other, 0).sum() <= claimed + 1e-12


def test_a_threshold_costs_its_counts_and_its_delta():
    spent = compose([Thresholding(2.0, "1e-9"), Thresholding(3.0, "2e-9"), Gaussian(6.0)])
    assert isinstance(spent, Profile)
    assert spent.delta0 == Decimal("3e-9")
    mu = math.sqrt(1 / 4 + 1 / 9 + 1 / 36)
    for g in (-1.0, 0.0, 1.0, 4.0):
        assert spent.delta(g) == pytest.approx(3e-9 + (1 - 3e-9) * float(gauss(g, mu)), rel=1e-12)

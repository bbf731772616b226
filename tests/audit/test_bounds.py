"""Lower bounds on epsilon against mechanisms whose epsilon is known. Seeded, so without false alarms."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from accountants import Gaussian, compose
from dpsynth.audit.bounds import (
    allowed_distance,
    clopper_pearson,
    epsilon_at_least,
    farthest,
    lower_bound,
)

DRAWS = 40_000


def gaussian(mu, seed=0, draws=DRAWS):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, draws), rng.normal(mu, 1, draws)


@pytest.mark.parametrize(("hits", "draws"), [(0, 50), (1, 50), (25, 50), (50, 50), (3, 100_000)])
def test_an_interval_ends_where_the_hits_become_unlikely(hits, draws):
    low, high = clopper_pearson(hits, draws, 0.001)
    assert binom.sf(hits - 1, draws, low) == pytest.approx(0.001 if hits else 1.0, rel=1e-6)
    assert binom.cdf(hits, draws, high) == pytest.approx(0.001 if hits < draws else 1.0, rel=1e-6)


def test_epsilon_of_two_probabilities():
    assert epsilon_at_least(0.5, 0.1, 0.0) == pytest.approx(math.log(5))
    assert epsilon_at_least(0.5, 0.1, 0.1) == pytest.approx(math.log(4))
    assert epsilon_at_least(0.1, 0.5, 0.0) == 0
    assert epsilon_at_least(0.01, 0.5, 0.02) == 0


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_bound_is_near_the_truth_and_below_it(swapped, sign):
    """In both directions and whichever table has the larger values."""
    one, other = gaussian(sign * 1.0)
    bound = lower_bound(*((other, one) if swapped else (one, other)), 0.01, 1e-6)
    truth = compose([Gaussian(1.0)]).epsilon(0.01)
    assert 0.6 * truth < bound.epsilon < truth
    assert 0.6 < bound.mu < 1.0


@pytest.mark.parametrize("swapped", [False, True])
def test_the_table_that_gives_more_away_is_found(swapped):
    """A unit that is in a sample half of the time: its absence never shows, its presence does."""
    rng = np.random.default_rng(0)
    out, sampled = rng.normal(0, 1, DRAWS), rng.normal(0, 1, DRAWS) + 4.0 * (rng.random(DRAWS) < 0.5)
    assert lower_bound(*((sampled, out) if swapped else (out, sampled)), 0.0, 1e-6).epsilon > 3


def test_equal_distributions_give_nothing():
    bound = lower_bound(*gaussian(0.0), 0.0, 1e-6)
    assert bound.epsilon < 0.02
    assert bound.mu < 0.02


def test_a_bound_is_wrong_no_more_often_than_stated():
    """Randomised response of epsilon 1, whose bound at confidence .9 may pass the truth in one run of ten."""
    rng, wrong, runs = np.random.default_rng(0), 0, 400
    p = 1 / (1 + math.exp(-1))
    for _ in range(runs):
        bound = lower_bound(rng.binomial(1, 1 - p, 1000) * 1.0, rng.binomial(1, p, 1000) * 1.0, 0.0, 0.1)
        wrong += bound.epsilon > 1.0
    assert binom.cdf(wrong, runs, 0.1) < 1 - 1e-6
    assert wrong > 0  # nor is it vacuous


def test_sets_are_not_chosen_by_the_draws_that_are_counted():
    """A lucky first half: if it were counted too, the bound would believe it."""
    lucky = np.r_[np.zeros(1000), np.tile([0.0, 1.0], 500)]
    other = np.r_[np.ones(1000), np.tile([0.0, 1.0], 500)]
    assert lower_bound(lucky, other, 0.0, 1e-3).epsilon < 0.1


def test_distance_of_draws_from_a_distribution():
    rng = np.random.default_rng(0)
    values = np.rint(rng.normal(0, 3.0, DRAWS)).astype(np.int64)
    allowed = allowed_distance(DRAWS, 1e-6)
    assert farthest(values, lambda n: ndtr((n + 0.5) / 3.0)) < allowed
    assert farthest(values, lambda n: ndtr((n + 0.5) / 3.3)) > allowed
    assert farthest(values, lambda n: ndtr(n / 3.0)) > allowed  # half a row off
    assert farthest(np.array([0, 0, 1, 1]), lambda n: (np.asarray(n) >= 1) * 1.0) == 0.5

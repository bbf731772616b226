"""The bound of one run on mechanisms whose epsilon is known. Seeded, so without false alarms."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from dpsynth.audit.canaries import at_least, chance, guess


def responses(epsilon, canaries, seed, fails=0.0):
    """Randomised response of every coin; with probability `fails` a coin is told outright."""
    rng = np.random.default_rng(seed)
    present = rng.random(canaries) < 0.5
    truth = rng.random(canaries) < 1 / (1 + math.exp(-epsilon))
    told = np.where(present == truth, 1.0, 0.0)
    return np.where(rng.random(canaries) < fails, np.where(present, 9.0, -9.0), told), present


def test_without_delta_it_is_a_binomial_tail():
    assert chance(9, 10, 100, math.log(3), 0.0) == pytest.approx(binom.sf(8, 10, 0.75))
    assert chance(0, 10, 100, 1.0, 0.5) == 1.0


def test_delta_may_tell_some_coins_outright():
    """With m delta coins expected to be told, that many right guesses more show nothing."""
    assert chance(60, 100, 1000, 0.0, 0.0) < 0.03
    assert chance(60, 100, 1000, 0.0, 0.01) > 0.1
    assert chance(60, 100, 1000, 0.0, 1e-9) == pytest.approx(chance(60, 100, 1000, 0.0, 0.0), rel=1e-4)


def test_the_bound_is_where_the_chance_is():
    epsilon = at_least(180, 200, 1000, 1e-6, 0.05)
    assert chance(180, 200, 1000, epsilon + 1e-4, 1e-6) > 0.05 >= chance(180, 200, 1000, epsilon - 1e-4, 1e-6)
    assert at_least(100, 200, 1000, 1e-6, 0.05) == 0.0
    assert at_least(180, 200, 1000, 1e-3, 0.05) < epsilon


@pytest.mark.parametrize(("claimed", "fails"), [(0.5, 0.0), (2.0, 0.0), (1.0, 0.0005)])
def test_a_claim_that_holds_is_seldom_refuted_and_a_false_one_is(claimed, fails):
    bounds = [guess(*responses(claimed, 1000, seed, fails), fails, 0.1).epsilon for seed in range(100)]
    assert binom.sf(sum(bound > claimed for bound in bounds) - 1, 100, 0.1) > 1e-4
    assert np.median(bounds) > 0.3 * claimed
    far = [guess(*responses(claimed + 2, 1000, seed), fails, 0.1).epsilon for seed in range(20)]
    assert min(far) > claimed


def test_guesses_about_the_surest_are_worth_more():
    """Gaussian scores: the tails give more away than all of them together."""
    rng = np.random.default_rng(0)
    present = rng.random(10_000) < 0.5
    scores = rng.normal(0, 1, 10_000) + 1.0 * present
    found = guess(scores, present, 1e-9, 0.05)
    assert found.guessed < 10_000
    assert found.epsilon > guess(scores, present, 1e-9, 0.05, shares=(1.0,)).epsilon

"""Compositions against figures that others published, other libraries' accountants, closed forms and enumeration."""

import math
import warnings
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as library

from accountants import (
    Claimed,
    ExponentialMechanism,
    Gaussian,
    Laplace,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    compose,
    mu_squared_cap,
)
from accountants.budget import Budget
from accountants.crosscheck import epsilon_interval
from tests.accountants.exactly import gauss, independent, profile, responses, sampled, worst

MNIST = SubsampledGaussian(1.1, 256 / 60000, 14062)
"""The MNIST tutorial of TensorFlow Privacy: sigma 1.1, 60 epochs, batches of 256 out of 60,000."""


def test_published_figures_of_the_gaussian_mechanism():
    # Balle and Wang 2018, analytic Gaussian mechanism.
    assert compose([Gaussian(1.0)]).epsilon(1e-5) == pytest.approx(4.377178, abs=1e-6)
    assert 1 / math.sqrt(mu_squared_cap(Budget(1, 1e-5))) == pytest.approx(3.730632, abs=1e-5)


def test_published_figure_of_dp_sgd_on_mnist():
    # Gopi, Lee, Wutschitz 2021 (prv-accountant) and dp-accounting's PLD agree on 2.38; RDP gives 2.6 to 3.0.
    assert compose([MNIST]).epsilon(1e-5) == pytest.approx(2.3818, abs=5e-4)
    interval = epsilon_interval((MNIST,), 1e-5)
    assert 2.380 < interval.low <= compose([MNIST]).epsilon(1e-5) <= interval.high * 1.0001 < 2.383


@lru_cache
def prv(z, q, steps, delta, error):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prv_accountant import PoissonSubsampledGaussianMechanism, PRVAccountant

        mechanism = PoissonSubsampledGaussianMechanism(noise_multiplier=z, sampling_probability=q)
        accountant = PRVAccountant(
            prvs=[mechanism], max_self_compositions=[steps], eps_error=error, delta_error=delta / 1000
        )
        return accountant.compute_epsilon(delta, [steps])


def test_prv_accountant_on_mnist():
    # The three figures that prv-accountant 0.2 gives at eps_error 0.01.
    low, estimate, high = prv(1.1, 256 / 60000, 14062, 1e-5, 0.01)
    assert (low, estimate, high) == pytest.approx((2.372, 2.382, 2.392), abs=1e-3)
    assert low <= compose([MNIST]).epsilon(1e-5) <= high
    interval = epsilon_interval((MNIST,), 1e-5)
    assert interval.low - 1e-3 <= estimate <= interval.high + 1e-3
    assert low <= interval.low
    assert interval.high <= high


@pytest.mark.parametrize(("z", "q", "steps"), [(1.1, 256 / 60000, 14062), (0.8, 0.01, 200), (4.0, 0.05, 3000)])
@pytest.mark.parametrize("delta", [1e-5, 1e-7])
def test_prv_accountants_estimate_lies_in_the_second_accountants_interval(z, q, steps, delta):
    low, estimate, high = prv(z, q, steps, delta, 0.02)
    interval = epsilon_interval((SubsampledGaussian(z, q, steps),), delta)
    assert interval.low * 0.999 <= estimate <= interval.high * 1.001
    assert low <= compose([SubsampledGaussian(z, q, steps)]).epsilon(delta) <= high


@pytest.mark.parametrize(("z", "q", "steps", "delta"), [(1.0, 0.01, 1000, 1e-5), (0.7, 0.02, 100, 1e-6)])
def test_opacus_prv_accountant(z, q, steps, delta):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        opacus = PRVAccountant()
        opacus.history = [(z, q, steps)]
        theirs = opacus.get_epsilon(delta=delta, eps_error=0.01)
    # Theirs is the upper end of an interval of half-width 0.01.
    assert compose([SubsampledGaussian(z, q, steps)]).epsilon(delta) == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize(("z", "q", "steps"), [(1.0, 0.01, 1000), (0.6, 0.3, 20), (30.0, 0.5, 5000)])
@pytest.mark.parametrize("delta", [1e-5, 1e-9])
def test_dp_accountings_own_figures(z, q, steps, delta):
    """Their optimistic bound is below the truth, their pessimistic one above."""
    events = [SubsampledGaussian(z, q, steps)]
    step = min(q * math.sqrt(math.expm1(1 / z**2)), 1 / z) / 50

    def theirs(pessimistic):
        one = library.from_gaussian_mechanism(
            z, pessimistic_estimate=pessimistic, sampling_prob=q, value_discretization_interval=step
        )
        return one.self_compose(steps).get_epsilon_for_delta(delta)

    ours = compose(events).epsilon(delta)
    assert theirs(False) <= ours <= theirs(True) * 1.002
    assert theirs(False) <= epsilon_interval(tuple(events), delta).high


@pytest.mark.parametrize("odds", [Fraction(11, 10), 2, 5, 20])
@pytest.mark.parametrize("times", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("delta", [0, Fraction(1, 10**9), Fraction(1, 10**5)])
def test_optimal_composition_of_claims_and_of_randomised_response(odds, times, delta):
    """In fractions: the claims compose to what Kairouz, Oh and Viswanath proved best possible, within 0.1 %."""
    epsilon = math.log(odds)
    events = [Claimed(epsilon, float(delta), "them")] * times
    if not delta:
        alone = compose([RandomizedResponse(epsilon)] * times)
        assert compose(events).delta(0.1) == pytest.approx(alone.delta(0.1), rel=1e-12)
    spent = compose(events)
    for x in [1, Fraction(odds) ** 2, *(1 + (Fraction(odds) ** times - 1) * i / 7 for i in range(1, 7))]:
        exact = float(responses(odds, delta, times, x))
        claimed = spent.delta(math.log(x))
        assert claimed >= exact * (1 - 1e-12)
        assert claimed <= exact * 1.001 + 1.1e-12


@pytest.mark.parametrize(
    "event",
    [
        RandomizedResponse(0.01),
        RandomizedResponse(3.0),
        ExponentialMechanism(0.02),
        ExponentialMechanism(1.5),
        ExponentialMechanism(9.0),
        Laplace(0.3),
        Laplace(50.0),
        SubsampledGaussian(1.0, 0.01, 1),
        SubsampledGaussian(0.5, 0.3, 1),
        SubsampledGaussian(2.0, 1.0, 1),
    ],
)
def test_one_look_equals_its_closed_form(event):
    """Never below, for negative g either; little above from g = 0 on."""
    spent = compose([event])
    width = 1.2 * spent.epsilon(1e-6)
    for g in np.linspace(-width, width, 25):
        exact = float(max(profile(event, g), profile(event, g, removed=False)))
        assert spent.delta(g) >= exact * (1 - 1e-12)
        if g >= 0:
            assert spent.delta(g) <= exact * 1.003 + 1e-4 * width


@pytest.mark.parametrize(
    "events",
    [
        [RandomizedResponse(1.0), RandomizedResponse(0.25), RandomizedResponse(0.3)],
        [RandomizedResponse(0.7)] * 6,
        [Claimed("0.5", "1e-4", "them"), RandomizedResponse(1.0), Claimed("0.2", 0, "them")],
    ],
)
def test_small_mechanisms_by_enumeration(events):
    """All outcomes of all looks together; a claim's worst keeper fails with its delta, and tells by what it shows."""
    pairs = []
    for event in events:
        epsilon, delta = (event.epsilon, 0.0) if isinstance(event, RandomizedResponse) else map(float, event.converted)
        high = (1 - delta) / (1 + math.exp(-float(epsilon)))
        low = (1 - delta) - high
        pairs.append(((delta, high, low, 0.0), (0.0, low, high, delta)))
    p, q = independent(pairs)
    spent = compose(events)
    for g in np.linspace(-2.5, 2.5, 51):
        exact = worst(p, q, g)
        assert spent.delta(g) >= exact - 1e-13
        if g >= 0:
            assert spent.delta(g) <= exact * 1.01 + 2e-3


@pytest.mark.parametrize(("eta", "times"), [(0.5, 3), (2.0, 3), (4.0, 2)])
def test_an_exponential_mechanism_by_enumeration_over_all_neighbours(eta, times):
    """Every way in which three scores may move by the sensitivity, and the worst two-candidate mechanisms."""
    spent = compose([ExponentialMechanism(eta)] * times)
    scores = np.array([0.0, 1.0, 3.0])
    pairs = []
    for move in np.ndindex(3, 3, 3):
        a, b = np.exp(eta / 2 * scores), np.exp(eta / 2 * (scores + np.array(move) - 1))
        pairs.append((a / a.sum(), b / b.sum()))
    for t in np.linspace(0.05, 0.95, 7) * eta:
        q = -math.expm1(t - eta) / (math.exp(t) - math.exp(t - eta))
        pairs.append(((math.exp(t) * q, 1 - math.exp(t) * q), (q, 1 - q)))
    grid = np.linspace(-eta, eta, 21)
    largest = np.zeros(21)
    for pair in pairs:
        p, q = independent([pair] * times)
        largest = np.maximum(largest, [worst(p, q, g) for g in grid])
    claimed = np.array([spent.delta(g) for g in grid])
    assert np.all(largest <= claimed + 1e-12)
    assert np.all(claimed[:15] <= 1.35 * largest[:15])


def test_gaussian_noise_beside_other_looks_by_integration():
    """RR, then Gaussian noise: ``sum over answers of P(answer) delta_Gauss(g - loss)``."""
    spent = compose([RandomizedResponse(1.0), Gaussian(1.5)])
    high = 1 / (1 + math.exp(-1.0))
    for g in np.linspace(-3, 4, 15):
        exact = float(high * gauss(g - 1, 1 / 1.5) + (1 - high) * gauss(g + 1, 1 / 1.5))
        assert spent.delta(g) >= exact
        if g >= 0:
            assert spent.delta(g) <= exact * 1.002 + 1e-6


def test_a_sampled_step_beside_a_response_by_summation():
    event = SubsampledGaussian(0.8, 0.1, 1)
    spent = compose([RandomizedResponse(0.5), event])
    high = 1 / (1 + math.exp(-0.5))
    for g in np.linspace(-2, 3, 11):
        exact = max(
            float(
                high * sampled(g - 0.5, 1.25, 0.1, removed=side)
                + (1 - high) * sampled(g + 0.5, 1.25, 0.1, removed=side)
            )
            for side in (True, False)
        )
        assert spent.delta(g) >= exact * (1 - 1e-12)
        if g >= 0:
            assert spent.delta(g) <= exact * 1.01 + 2e-3


def test_failing_outright_stands_beside_everything():
    """delta0 + (1 - delta0) times what the rest has."""
    rest = [SubsampledGaussian(1.0, 0.01, 100)]
    with_it = compose([*rest, Thresholding(1e9, "1e-6"), Claimed("1e-4", "2e-6", "them")])
    for g in (0.0, 0.5, 1.0):
        assert with_it.delta(g) == pytest.approx(3e-6 + (1 - 3e-6) * compose(rest).delta(g), rel=1e-2)
    assert with_it.delta(40.0) >= 3e-6


@pytest.mark.parametrize(("times", "mu"), [(1, 0.5), (10_000, 0.02)])
def test_the_tail_of_the_transforms_stays_above_the_truth(times, mu):
    """Steps without sampling are Gaussian: the truth is known down to 1e-12 however many are composed."""
    spent = compose([SubsampledGaussian(1 / mu, 1.0, times)]).pair
    for g in np.linspace(0, 14, 29):
        exact = float(gauss(g, mu * math.sqrt(times)))
        assert exact <= spent.delta(g) <= exact * 1.01 + 3 * spent.guard

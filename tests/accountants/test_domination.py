"""(mu^2, delta0) dominates every kind's exact profile, for all g and in both directions; less does not."""

import math
from decimal import Decimal
from functools import lru_cache

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as library
from scipy.special import log_ndtr, ndtr

from accountants import (
    Claim,
    Claimed,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Laplace,
    PlanError,
    PoissonRuns,
    PostProcessing,
    PrivacyUnit,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
)
from accountants.budget import Budget
from accountants.domination import charge_of, dominating_mu_squared
from accountants.parts import Parts
from tests.accountants.exactly import gauss, profile

TIGHT = [
    *(Gaussian(z) for z in (0.5, 3.0, 50.0)),
    *(Laplace(z) for z in (0.1, 0.5, 1.0, 10.0)),
    *(RandomizedResponse(epsilon) for epsilon in (0.05, 1.0, 4.0)),
    *(ExponentialMechanism(eta) for eta in (0.05, 1.0, 8.0)),
]
SAMPLED = [SubsampledGaussian(z, q, 1) for z, q in ((0.5, 0.01), (1.0, 0.5), (3.0, 0.2), (2.0, 1.0))]


def width(event):
    match event:
        case RandomizedResponse(epsilon=width) | ExponentialMechanism(eta=width):
            return width
    return 8 / event.noise_multiplier + 1


@pytest.mark.parametrize("event", [*TIGHT, *SAMPLED], ids=str)
def test_every_kind_is_dominated_for_all_g_and_both_directions(event):
    mu = event.mu_squared.sqrt()
    for g in np.linspace(-width(event), width(event), 121):
        bound = gauss(g, str(mu)) + 1e-25
        assert profile(event, g) <= bound
        assert profile(event, g, removed=False) <= bound


@pytest.mark.parametrize("event", TIGHT, ids=str)
@pytest.mark.parametrize("less", ["0.99", "0.98"])
def test_one_percent_less_is_too_little(event, less):
    """Each mu is the least: a factor in a formula cannot hide."""
    mu = event.mu_squared.sqrt() * Decimal(less)
    assert any(profile(event, g) > gauss(g, str(mu)) for g in np.linspace(-width(event), width(event), 121))


def test_the_closed_forms_in_plain_floats():
    from scipy.stats import norm

    for epsilon in (0.1, 1.0, 3.0):
        laplace, response = 2 * norm.isf(math.exp(-epsilon / 2) / 2), -2 * norm.ppf(1 / (1 + math.exp(epsilon)))
        assert float(Laplace(1 / epsilon).mu_squared) == pytest.approx(laplace**2, rel=1e-12)
        assert float(RandomizedResponse(epsilon).mu_squared) == pytest.approx(response**2, rel=1e-12)
        assert float(ExponentialMechanism(2 * epsilon).mu_squared) == pytest.approx(response**2, rel=1e-12)
        assert laplace < response  # Laplace noise needs less than the worst mechanism of its epsilon
    assert PostProcessing.mu_squared == PostProcessing.delta0 == 0


@pytest.mark.parametrize("event", [Claimed("1.5", "1e-4", "them"), Thresholding(1.0, "1e-4"), Claimed(2, 0, "them")])
def test_what_may_fail_is_dominated_beside_its_delta0(event):
    """Failing with delta, else the worst mechanism: randomised response, or the counts' Gaussian."""
    inner = Gaussian(1.0) if isinstance(event, Thresholding) else RandomizedResponse(float(event.epsilon))
    mu, delta0 = event.mu_squared.sqrt(), float(event.delta0)
    assert delta0 == float(event.delta)
    for g in np.linspace(-5, 5, 101):
        exact = delta0 + (1 - delta0) * profile(inner, g)
        assert exact <= delta0 + (1 - delta0) * gauss(g, str(mu)) + 1e-20


def test_a_selection_among_runs_is_dominated_as_a_claim_is():
    event = PrivateSelection([Gaussian(6.0)], PoissonRuns(4.0), "1e-9")
    assert event.delta0 == Decimal("1e-9")
    assert event.mu_squared >= Claimed(Decimal(event.epsilon), event.delta, "them").mu_squared * (1 - Decimal("1e-20"))


@pytest.mark.parametrize(("k", "epsilon", "delta"), [(1, 0.5, 1e-9), (3, 0.5, 1e-9), (7, 0.1, 1e-6), (2, 2.0, 0.0)])
def test_claims_for_rows_are_grouped(k, epsilon, delta):
    """k steps from row to row: delta (1 + e^eps + ... + e^((k-1) eps))."""
    event = Claimed(epsilon, delta, "them", per="row", at_most=k)
    total, fails = event.converted
    assert total == k * Decimal(str(epsilon))
    assert float(fails) == pytest.approx(delta * sum(math.exp(i * epsilon) for i in range(k)), rel=1e-12)
    assert fails >= Decimal(str(delta))
    assert event.mu_squared >= RandomizedResponse(k * epsilon).mu_squared * (1 - Decimal("1e-12"))


STEPS = [(0.01, 1.0, 1000), (256 / 60000, 1.1, 2000), (0.3, 2.0, 50)]


@lru_cache
def independent(q, z, steps):
    """A unit removed, on a grid ten times finer than the accountant's; at -g it stands for a unit added."""
    fine = min(q * math.sqrt(math.expm1(1 / z**2)), 1 / z) / 320
    one = library.from_gaussian_mechanism(z, sampling_prob=q, value_discretization_interval=fine)
    grid = np.concatenate([np.linspace(-3, 0, 100), np.linspace(0, 12, 1000)])
    return grid, np.array(one.self_compose(steps)._pmf_remove.get_delta_for_epsilon(grid))


def gauss_floats(g, mu):
    return ndtr(mu / 2 - g / mu) - np.exp(g + log_ndtr(-mu / 2 - g / mu))


@pytest.mark.parametrize(("q", "z", "steps"), STEPS)
@pytest.mark.parametrize("delta0", ["1e-10", "1e-7"])
def test_dp_sgd_is_dominated_and_a_little_less_is_not(q, z, steps, delta0):
    squared = dominating_mu_squared(Parts.of([SubsampledGaussian(z, q, steps)]), Decimal(delta0))
    mu, aside = float(squared.sqrt()), float(delta0)
    grid, exact = independent(q, z, steps)
    bound = aside + (1 - aside) * gauss_floats(grid, mu)
    assert np.all(exact <= bound + np.where(grid < 0, 1e-9, 1e-13))
    tighter = aside + (1 - aside) * gauss_floats(grid, mu * 0.98)
    assert np.any(exact > tighter * 1.001)
    assert squared < SubsampledGaussian(z, q, steps).mu_squared


def test_more_set_aside_costs_less_mu():
    parts = Parts.of([SubsampledGaussian(1.0, 0.01, 1000)])
    costs = [dominating_mu_squared(parts, Decimal(delta0)) for delta0 in ("1e-11", "1e-9", "1e-7", "1e-5")]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1] * Decimal("1.1")


@pytest.mark.parametrize("delta0", ["1e-12", "1e-13"])
def test_less_than_a_distribution_can_tell_is_refused(delta0):
    with pytest.raises(PlanError, match="declare a larger delta0"):
        dominating_mu_squared(Parts.of([SubsampledGaussian(1.0, 0.01, 1000)]), Decimal(delta0))


def test_what_is_charged_adds_up():
    steps, rest = SubsampledGaussian(1.0, 0.01, 1000), [Gaussian(10.0), Claimed("0.1", "1e-10", "them")]
    squared, delta0 = charge_of([steps, *rest], Decimal("0.25"), Decimal("1e-9"))
    alone = dominating_mu_squared(Parts.of([steps]), Decimal("1e-9"))
    expected = alone + Decimal("0.25") + sum(each.mu_squared for each in rest)
    assert abs(squared - expected) < Decimal("1e-15")
    assert squared >= expected * (1 - Decimal("1e-30"))
    assert delta0 == Decimal("1.1e-9")
    # With nothing set aside, sampling saves nothing; without looks on samples nothing need be set aside.
    assert charge_of([steps], Decimal(0), Decimal(0)) == (steps.mu_squared, 0)
    assert charge_of(rest, Decimal(0), Decimal("1e-9"))[1] == Decimal("1e-10")


def test_a_claim_is_charged_its_domination():
    plan = FixedPlan([SubsampledGaussian(1.0, 0.01, 1000)])
    claim = Claim(Budget(3, "1e-6"), PrivacyUnit("person", 9), plan, "gan", "5c" * 32, delta0="1e-8")
    assert claim.domination == (dominating_mu_squared(Parts.of(plan.events), Decimal("1e-8")), Decimal("1e-8"))
    assert (
        Claim(Budget(3, "1e-6"), PrivacyUnit("person", 1), plan, "gan", "5c" * 32, delta0="1e-8").domination
        == claim.domination
    )

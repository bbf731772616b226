"""Traps with numbers: what published accounting got wrong, each next to what it would have admitted here.

The traps without a reference are derived in docs/proofs; "PEERS" names defects found in published code.
"""

import math
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as library
from scipy.optimize import brentq
from scipy.stats import binom, norm

from accountants import (
    AdaptivePlan,
    Budget,
    Charge,
    Claimed,
    EventError,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Laplace,
    Lifetime,
    Meter,
    PlanError,
    PrivateSelection,
    Profile,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    TruncatedNegativeBinomial,
    UnplannedEvent,
    compose,
    mu_squared_cap,
    plan_from_json,
)
from accountants.claim import Claim
from accountants.crosscheck import epsilon_interval
from accountants.domination import dominating_mu_squared
from accountants.events import ADD_OR_REMOVE, FILTER_KINDS, KINDS, REPLACE
from accountants.parts import Parts
from accountants.unit import PrivacyUnit
from tests.accountants.exactly import gauss, hockey_stick, profile, responses

LEARNING = SubsampledGaussian(1.0, 0.01, 1000)


def mu_through(epsilon, delta):
    """What must never be charged: mu of the Gaussian through one point (epsilon, delta)."""
    return brentq(lambda mu: float(gauss(epsilon, mu)) - delta, 1e-3, 50, xtol=1e-12)


def gauss_epsilon(mu, delta):
    return brentq(lambda epsilon: float(gauss(epsilon, mu)) - delta, 1e-9, 100)


def test_two_claims_are_not_two_gaussians_through_their_point():
    """(1, 1e-9) claimed twice: the truth at 1.44 is 0.229, a Gaussian through the point says 1e-9."""
    mu = math.sqrt(2) * mu_through(1.0, 1e-9)
    assert float(gauss(1.44, mu)) == pytest.approx(1e-9, rel=0.2)
    twice = [Claimed(1, "1e-9", "them")] * 2
    exact = float(1 - (1 - 1e-9) ** 2 * (1 - (1 / (1 + math.exp(-1))) ** 2 * -math.expm1(1.44 - 2)))
    assert exact == pytest.approx(0.229, abs=5e-4)
    assert compose(twice).delta(1.44) >= exact
    assert compose(twice).epsilon(1e-8) >= 1.999
    assert all(each.mu_squared > 10 * Decimal(mu) ** 2 for each in twice)
    # What a lifetime is charged covers it, and two such claims do not fit in an account of (1.44, 1e-8).
    total = Charge.total(Charge.of(_claim(event)) for event in twice)
    assert Profile(total.mu_squared, total.delta0).delta(1.44) >= exact
    lifetime = Lifetime.of(Budget("1.44", "1e-8"), "gdp", "5e-9")
    assert not lifetime.admits(Charge(), total)
    assert lifetime.admits(Charge(), Charge(Decimal(mu) ** 2))  # the Gaussian through the point would have


def _claim(*events, delta0=0):
    return Claim(Budget(5, "1e-4"), PrivacyUnit(), FixedPlan(events), "them", "5c" * 32, delta0=delta0)


def test_the_gaussian_through_one_point_of_dp_sgd_is_too_light_elsewhere():
    """q .01, sigma 1, T 1000: mu read off at delta 1e-5 says 2.49 at 1e-8, where the truth is 2.70."""
    spent = compose([LEARNING])
    mu = mu_through(spent.epsilon(1e-5), 1e-5)
    read_off = gauss_epsilon(mu, 1e-8)
    assert read_off == pytest.approx(2.49, abs=5e-3)
    one = library.from_gaussian_mechanism(1.0, sampling_prob=0.01, value_discretization_interval=2e-4)
    truth = one.self_compose(1000).get_epsilon_for_delta(1e-8)
    assert truth == pytest.approx(2.70, abs=5e-3)
    for delta0 in ("1e-10", "1e-9"):
        squared = dominating_mu_squared(Parts.of([LEARNING]), Decimal(delta0))
        assert squared > Decimal(mu) ** 2
        assert Profile(squared, Decimal(delta0)).epsilon(1e-8) >= max(truth * 0.9999, 2.698)


def test_sampling_rows_of_a_unit_is_not_sampling_units():
    """Three rows a unit, each row sampled and clipped by itself: claimed 1.83, true 6.34. No event of ours has a k."""
    claimed = compose([LEARNING]).epsilon(1e-5)
    assert claimed == pytest.approx(1.83, abs=5e-3)
    rows = np.arange(4)
    one = library.from_mixture_gaussian_mechanism(
        1.0, rows, binom.pmf(rows, 3, 0.01), value_discretization_interval=4e-3
    )
    true = one.self_compose(1000).get_epsilon_for_delta(1e-5)
    assert true == pytest.approx(6.34, abs=1e-2)
    assert [field.name for field in fields(SubsampledGaussian)] == ["noise_multiplier", "sample_rate", "steps"]
    assert LEARNING.unit == "unit"
    assert "units" in LEARNING.assumptions[0]
    # A third party's claim for rows is converted, and covers the truth.
    assert compose([Claimed(claimed, "1e-5", "them", per="row", at_most=3)]).delta(true) > 1e-5
    with pytest.raises(EventError, match="per unit"):
        Claimed(claimed, "1e-5", "them", at_most=3)


# Two looks, the second chosen after the first. First: randomised response with odds 3. Then either randomised response
# with odds 2, or something that tells everything with probability 1/6 and nothing otherwise. At e^epsilon = 4:
FIRST, THEN, FAILS, X = Fraction(3), Fraction(2), Fraction(1, 6), Fraction(4)


def _after(odds, x):
    """Exact profile of randomised response at ``e^g = x``, for all x > 0."""
    high, low = odds / (1 + odds), 1 / (1 + odds)
    return max(high - x * low, Fraction(0)) + max(low - x * high, Fraction(0))


def _failing(x):
    return FAILS + (1 - FAILS) * max(1 - x, Fraction(0))


def test_composing_distributions_until_the_budget_is_spent_is_no_filter():
    """Either second look keeps within (log 4, 1/6) beside the first; choosing by the first answer does not.

    Regehr, Hu, Leeman, Manurangsi, Tholoniat, Lécuyer 2026 (arXiv 2602.15815) show when such filters are free, and that
    for privacy profiles in general they are not; the same in terms of trade-off curves in arXiv 2602.06756. The
    example is ours, in fractions.
    """
    high, low = FIRST / (1 + FIRST), 1 / (1 + FIRST)
    with_response = high * _after(THEN, X / FIRST) + low * _after(THEN, X * FIRST)
    with_failing = high * _failing(X / FIRST) + low * _failing(X * FIRST)
    assert with_response == with_failing == Fraction(1, 6)
    chosen = high * _after(THEN, X / FIRST) + low * _failing(X * FIRST)
    assert chosen == Fraction(5, 24) > Fraction(1, 6)
    # Our distributions see the same in each of the two fixed plans ...
    first = RandomizedResponse(math.log(3))
    fixed = [first, RandomizedResponse(math.log(2))], [first, Claimed("1e-3", float(FAILS), "them")]
    for plan in fixed:
        assert compose(plan).delta(math.log(4)) == pytest.approx(1 / 6, rel=1e-2)
    # ... and nothing of ours stops by them: whoever chooses as the run goes is held to a sum of mu^2 fixed beforehand,
    # and to kinds that never fail.
    for kind in ("claimed", "subsampled_gaussian", "thresholding", "private_selection", "post_processing"):
        with pytest.raises(PlanError, match="kinds must be"):
            AdaptivePlan(1.0, {kind})
    assert sorted(FILTER_KINDS) == ["exponential_mechanism", "gaussian", "laplace", "randomized_response"]
    meter = Meter(FixedPlan(fixed[0]))
    meter.charge(first)
    with pytest.raises(UnplannedEvent):
        meter.charge(fixed[1][1])


SECONDS = [RandomizedResponse(0.9), ExponentialMechanism(1.8), Laplace(0.9), Gaussian(1.4)]


def test_a_mixture_chosen_as_the_run_goes_stays_within_the_gaussian_filter():
    """Randomised response, then by its answer any of four looks: within delta_Gauss of the filter's capacity, all g."""
    first = RandomizedResponse(math.log(3))
    mu = math.sqrt(first.mu_squared + max(each.mu_squared for each in SECONDS))
    plan = AdaptivePlan(mu)
    grid = np.linspace(-4, 4, 33)
    shifted = {
        (each, sign): [profile(each, g - sign * math.log(3)) for g in grid] for each in SECONDS for sign in (1, -1)
    }
    bound = [gauss(g, str(plan.capacity.sqrt())) for g in grid]
    for up in SECONDS:
        for down in SECONDS:
            meter = Meter(plan)
            meter.charge(first)
            meter.charge(up)
            for i in range(len(grid)):
                assert 0.75 * shifted[up, 1][i] + 0.25 * shifted[down, -1][i] <= bound[i] + 1e-12
    with pytest.raises(UnplannedEvent, match="exceeds"):
        meter.charge(Gaussian(1.0))


def test_peers_1_a_selection_called_monotonic_spends_four_times_its_budget():
    """Without the 2 in the exponent eta doubles, and mu^2 is four times as much. See test_events for the scores."""
    for eta in (0.01, 0.1):
        ratio = ExponentialMechanism(2 * eta).mu_squared / ExponentialMechanism(eta).mu_squared
        assert float(ratio) == pytest.approx(4, rel=1e-3)


def test_peers_2_delta_of_one_key_does_not_cover_a_unit_of_many():
    event = Thresholding(1.0, "1e-6")
    for k in (2, 10, 1000):
        of_one = k + k * norm.isf(1e-6)  # one key with all rows
        of_each = 1 + k * norm.isf(1e-6)  # one key of k
        assert event.threshold(k) >= of_one > of_each
        assert -math.expm1(k * norm.logcdf((event.threshold(k) - 1) / k)) <= 1e-6
    assert -math.expm1(1000 * norm.logcdf((1 + 1000 * norm.isf(1e-6) - 1) / 1000)) > 9e-4


@pytest.mark.parametrize("event", [ExponentialMechanism(0.5), RandomizedResponse(0.5), Laplace(2.0), Gaussian(3.0)])
def test_peers_8_counts_are_not_ignored(event):
    once, often = compose([event]), compose([event] * 10)
    assert often.epsilon(1e-6) > 1.5 * once.epsilon(1e-6)
    if not isinstance(event, Gaussian):
        exact = responses(Fraction(math.exp(0.5)), 0, 10, Fraction(math.exp(2.0)))
        if isinstance(event, RandomizedResponse):
            assert often.delta(2.0) == pytest.approx(float(exact), rel=1e-3)
    read = plan_from_json(FixedPlan([event] * 10).to_json())
    assert read.events == (event,) * 10
    assert epsilon_interval((read,), 1e-6).low > 1.5 * once.epsilon(1e-6)


@pytest.mark.parametrize(
    "made", [Gaussian, Laplace, lambda z: SubsampledGaussian(z, 0.1, 10), lambda z: Thresholding(z, 1e-9)]
)
@pytest.mark.parametrize("noise", [float("nan"), math.inf, 0, -1.0, "nan", Decimal("NaN"), Decimal("Infinity")])
def test_peers_8_noise_that_is_no_number_yields_no_epsilon(made, noise):
    with pytest.raises(EventError):
        made(noise)


def test_peers_8_exchanging_a_unit_is_not_adding_one():
    """Every event of the kernel is about adding or removing; a claim about exchanging says what it assumes."""
    assert {kind.relation for kind in KINDS.values() if kind is not Claimed} == {ADD_OR_REMOVE}
    claim = Claimed(1, "1e-9", "them", relation=REPLACE)
    assert any("number of rows is public" in each for each in claim.assumptions)
    assert not any("number of rows" in each for each in Claimed(1, "1e-9", "them").assumptions)


def test_peers_8_the_central_limit_is_below_the_truth():
    """mu = q sqrt(T (e^(1/sigma^2) - 1)), Bu et al. 2020: an approximation, below even an optimistic distribution."""
    q, z, steps = 0.01, 0.6, 200
    mu = q * math.sqrt(steps * math.expm1(z**-2))
    limit = gauss_epsilon(mu, 1e-6)
    one = library.from_gaussian_mechanism(
        z, pessimistic_estimate=False, sampling_prob=q, value_discretization_interval=1e-3
    )
    truth = one.self_compose(steps).get_epsilon_for_delta(1e-6)
    assert limit < 0.5 * truth
    assert compose([SubsampledGaussian(z, q, steps)]).epsilon(1e-6) >= truth
    assert epsilon_interval((SubsampledGaussian(z, q, steps),), 1e-6).high >= truth


def test_peers_8_the_larger_direction_counts_and_nothing_is_wasted():
    """min for max would report the unit added, which is less; nor is the budget left unused."""
    pair = compose([SubsampledGaussian(0.6, 0.05, 20)]).pair
    remove, add = (side.epsilon(1e-6) for side in (pair.remove, pair.add))
    assert add < 0.9 * remove
    assert pair.epsilon(1e-6) >= remove
    cap = mu_squared_cap(Budget(1, "1e-9"))
    assert Profile(cap).epsilon("1e-9") > 0.999


def test_peers_15_a_budget_is_not_refused_its_own_split():
    budget = Budget(0.3, "3e-9")
    parts = [Budget(0.1, "1e-9")] * 3
    assert sum(part.epsilon for part in parts) == budget.epsilon
    assert sum(part.delta for part in parts) == budget.delta
    assert 0.1 + 0.1 + 0.1 > 0.3  # in floats it would have been refused
    lifetime = Lifetime.of(budget, "sum")
    spent = Charge()
    for part in parts:
        charge = Charge(epsilon=part.epsilon, delta=part.delta)
        assert lifetime.admits(spent, charge)
        spent = spent + charge
    assert not lifetime.admits(spent, Charge(epsilon=Decimal("1e-30")))
    meter = Meter(AdaptivePlan(0.7))
    for _ in range(49):
        meter.charge(Gaussian.from_mu(0.1))


def test_a_fixed_number_of_runs_is_that_many_compositions():
    """Best of ten, always ten: no selection among runs covers it, and it costs what ten runs cost."""
    selection = PrivateSelection([RandomizedResponse(1.0)], TruncatedNegativeBinomial(1.0, 0.1), 0)
    assert selection.epsilon == pytest.approx(3.0, rel=1e-9)
    # The best of exactly ten, shown: 1 - q^10 against 1 - q'^10, and the all-low answer with odds e^10.
    high = 1 / (1 + math.exp(-1.0))
    p, q = (high**10, 1 - high**10), ((1 - high) ** 10, 1 - (1 - high) ** 10)
    assert math.log(p[0] / q[0]) == pytest.approx(10)
    assert hockey_stick(p, q, selection.epsilon) > 0.04
    assert compose([RandomizedResponse(1.0)] * 10).delta(selection.epsilon) >= hockey_stick(p, q, selection.epsilon)

"""The Gaussian profile against published figures, numerical integration, and the second accountant."""

import math
import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from accountants import (
    AdaptivePlan,
    Allowance,
    Budget,
    BudgetError,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    PlanError,
    Profile,
    compose,
    mu_squared_cap,
    numerical_slack,
)
from accountants.crosscheck import Interval, epsilon_interval

GRID = [(0.01, 1e-12), (0.1, 1e-9), (0.5, 1e-6), (1.0, 1e-9), (1.0, 1e-5), (3.0, 1e-8), (10.0, 1e-9)]


def test_published_gaussian_figures():
    # Balle and Wang 2018, analytic Gaussian mechanism.
    assert compose([Gaussian(1.0)]).epsilon(1e-5) == pytest.approx(4.377178, abs=1e-6)
    assert 1 / math.sqrt(mu_squared_cap(Budget(1, 1e-5))) == pytest.approx(3.730632, abs=1e-5)


@pytest.mark.parametrize("mu", [0.05, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 3.0])
def test_delta_is_the_hockey_stick_divergence(mu, epsilon):
    def positive_part(x):
        return max(0.0, norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x, 0))

    crossing = epsilon / mu + mu / 2
    integral, _ = quad(positive_part, crossing, crossing + 40 / max(mu, 1), epsabs=1e-14, limit=400)
    assert Profile(Decimal(mu) ** 2).delta(epsilon) == pytest.approx(integral, rel=1e-6, abs=1e-13)


def balle_wang(mu, delta):
    """Epsilon of the Gaussian mechanism by Balle and Wang 2018, Theorem 8, in plain floats and by root finding."""

    def excess(epsilon):
        upper, lower = norm.logcdf(mu / 2 - epsilon / mu), norm.logcdf(-mu / 2 - epsilon / mu)
        return math.exp(upper) - math.exp(epsilon + lower) - delta

    return brentq(excess, 1e-9, 100, xtol=1e-12)


@pytest.mark.parametrize("events", [[3.0], [8.0] * 14, [20.0, 31.5, 40.0], [2.0] + [50.0] * 100])
@pytest.mark.parametrize("delta", [1e-9, 1e-6])
def test_all_gaussian_plans_equal_balle_wang(events, delta):
    mu = math.sqrt(sum(z**-2 for z in events))
    plan = FixedPlan([Gaussian(z) for z in events])
    assert Profile(plan.capacity).epsilon(delta) == pytest.approx(balle_wang(mu, delta), rel=1e-6)


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_budget_is_spent_from_below_and_nearly_whole(epsilon, delta):
    budget = Budget(epsilon, delta)
    spent = Profile(mu_squared_cap(budget)).epsilon(budget.delta - numerical_slack(budget.epsilon))
    assert epsilon * 0.999 <= spent <= epsilon


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_second_accountant_confirms_the_first(epsilon, delta):
    mu = math.sqrt(mu_squared_cap(Budget(epsilon, delta)))
    plan = AdaptivePlan(mu)
    interval = epsilon_interval((plan,), delta)
    assert interval.confirms(Profile(plan.capacity).epsilon(delta))
    # ... and would not confirm an accountant that is off by one part in a thousand.
    assert not interval.confirms(Profile(plan.capacity * Decimal("1.001")).epsilon(delta))
    assert not interval.confirms(Profile(plan.capacity * Decimal("0.999")).epsilon(delta))


def test_wide_intervals_confirm_nothing():
    assert not Interval(0.9, 1.0).confirms(0.95)


@given(st.floats(0.02, 8.0), st.floats(1e-11, 1e-3))
@settings(max_examples=25, deadline=None)
def test_epsilon_and_delta_invert_each_other_on_the_safe_side(mu, delta):
    profile = Profile(Decimal(mu) ** 2)
    epsilon = profile.epsilon(delta)
    assert profile.delta(epsilon) <= math.nextafter(delta, 1)  # a float delta means the decimal it prints as
    if epsilon > 1e-3:
        assert profile.delta(epsilon * 0.999) > delta


def test_delta0_is_never_forgiven():
    profile = Profile(Decimal("0.01"), Decimal("1e-9"))
    assert profile.delta(50.0) >= 1e-9
    with pytest.raises(BudgetError, match="no epsilon is enough"):
        profile.epsilon(1e-9)


def test_nothing_asked_still_tells_two_tables_apart_below_zero():
    """``max(0, 1 - e^g)``: what any mechanism has at negative g, none at all included."""
    assert Profile(Decimal(0)).delta(-1) == pytest.approx(-math.expm1(-1), rel=1e-15)
    assert Profile(Decimal(0)).delta(1) == 0
    assert 0 < Profile(Decimal("1e-40")).delta(1) < 1e-300  # far below the least exponent of a decimal
    assert Profile(Decimal("1e-30")).delta(-1) == pytest.approx(Profile(Decimal(0)).delta(-1), rel=1e-12)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-9), (0.01, 1e-12), (10.0, 1e-6)])
def test_calibration_uses_the_allowance_from_below(epsilon, delta):
    allowance = Allowance(Budget(epsilon, delta), frame=(Gaussian(5000.0),))

    def build(scale):
        selections = [ExponentialMechanism.from_mu(0.1 / scale)] * 13
        return FixedPlan([Gaussian(3 * scale), *selections, Gaussian(2 * scale)])

    plan = allowance.calibrate(build)
    assert Decimal("0.999999") <= plan.capacity / allowance.mu_squared <= 1


def test_a_thousand_events_calibrate_quickly():
    start = time.perf_counter()
    Allowance(Budget(1.0, 1e-9)).calibrate(lambda s: FixedPlan([Gaussian(100 * s)] * 1000))
    assert time.perf_counter() - start < 10  # a bound that only a hang breaks; the benchmark measures


def test_slack_larger_than_delta_is_refused():
    with pytest.raises(PlanError, match="slack"):
        mu_squared_cap(Budget(30, 1e-9))


def test_frame_beyond_the_budget_is_refused():
    with pytest.raises(PlanError, match="frame"):
        Allowance(Budget(0.1), frame=(Gaussian(1.0),)).mu_squared


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "x", None, True])
def test_meaningless_epsilon_raises(value):
    with pytest.raises(BudgetError, match="epsilon"):
        Budget(value)


@pytest.mark.parametrize("value", [0, 1, 2, -1e-9, float("nan"), "1e", None])
def test_meaningless_delta_raises(value):
    with pytest.raises(BudgetError, match="delta"):
        Budget(1, value)


def test_budgets_are_exact_decimals():
    assert sum((Budget(0.1).epsilon for _ in range(3)), Decimal(0)) == Budget(0.3).epsilon
    assert Budget.from_json(Budget(0.1, 1e-9).to_json()) == Budget(0.1, 1e-9)


def test_mu_is_rounded_up():
    for value in np.random.default_rng(0).uniform(1e-4, 4, 50):
        squared = Decimal(value)
        assert Decimal(Profile(squared).mu) ** 2 >= squared

"""Calibration: what is spent comes within 0.1 % of the budget, from below, quickly and in little memory."""

import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from accountants import (
    AdaptivePlan,
    Allowance,
    Budget,
    Claimed,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Laplace,
    PlanError,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    calibrate,
    compose,
    declared_delta0,
    mu_squared_cap,
    numerical_slack,
)
from accountants.crosscheck import epsilon_interval

EPSILONS = [0.01, 0.1, 1.0, 3.0, 10.0]


def spent(events, budget):
    return compose(events).epsilon(budget.delta) / float(budget.epsilon)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("delta", ["1e-5", "1e-9", "1e-12"])
def test_gaussian_plans(epsilon, delta):
    budget = Budget(epsilon, delta)
    assert 0.999 <= spent(calibrate(lambda s: [Gaussian(s), Gaussian(3 * s), Gaussian(s / 2)], budget), budget) <= 1


@pytest.mark.parametrize(
    ("epsilon", "delta", "q", "steps"),
    [
        (0.01, "1e-5", 0.01, 100),
        (0.01, "1e-11", 0.05, 100),
        (0.1, "1e-9", 0.01, 1000),
        (1.0, "1e-11", 0.01, 1000),
        (1.0, "1e-5", 256 / 60000, 14062),
        (3.0, "1e-8", 0.1, 200),
        (10.0, "1e-7", 0.5, 50),
    ],
)
def test_dp_sgd_plans(epsilon, delta, q, steps):
    budget = Budget(epsilon, delta)
    assert 0.999 <= spent(calibrate(lambda s: [SubsampledGaussian(s, q, steps)], budget), budget) <= 1


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 5.0])
@pytest.mark.parametrize(
    "build",
    [
        lambda s: [ExponentialMechanism(min(1 / s, 100))] * 12,
        lambda s: [Laplace(s)] * 5,
        lambda s: [RandomizedResponse(min(1 / s, 100))],
        lambda s: [
            Gaussian(10 * s),
            ExponentialMechanism(min(0.1 / s, 100)),
            SubsampledGaussian(max(s, 0.02), 0.02, 50),
        ],
        lambda s: [Gaussian(s), Thresholding(2 * s, "1e-8"), Claimed("0.01", "1e-9", "them")],
    ],
)
def test_mixed_plans(build, epsilon):
    budget = Budget(epsilon, "1e-6")
    assert 0.999 <= spent(calibrate(build, budget), budget) <= 1


def test_a_plan_built_in_another_type_beside_a_filter():
    budget = Budget(1, "1e-6")
    plan = calibrate(
        lambda s: FixedPlan([SubsampledGaussian(s, 0.01, 100)]),
        budget,
        lambda plan: plan.events,
        lambda _: Decimal("0.01"),
    )
    beside = compose(plan.events, Decimal("0.01")).epsilon(budget.delta)
    assert 0.999 <= beside <= 1
    assert compose(plan.events).epsilon(budget.delta) < 0.99


def test_ten_thousand_steps_in_seconds():
    """About half a second on an idle machine; the bound leaves room for a busy one."""
    start = time.perf_counter()
    events = calibrate(lambda s: [SubsampledGaussian(s, 0.0123, 10_000)], Budget(1, "1e-9"))
    assert time.perf_counter() - start < 5
    assert 0.999 <= spent(events, Budget(1, "1e-9")) <= 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_is_bounded_where_epsilon_is_small():
    """In a process of its own: the most it ever held, libraries included. About 150 MB."""
    code = (
        "from pathlib import Path; from accountants import *\n"
        "looks = lambda s: [SubsampledGaussian(s, 0.02, 2000), ExponentialMechanism(1 / s)]\n"
        "calibrate(looks, Budget('0.01', '1e-9'))\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peak = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(peak) < 400e3  # kB


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, "1e-8"), (1, "1e-9"), (4, "1e-6")])
def test_an_allowance_for_dp_sgd_holds_both_accountants(epsilon, delta):
    budget, frame = Budget(epsilon, delta), (Gaussian(200.0 / epsilon),)
    plan = Allowance(budget, frame).calibrate(lambda s: FixedPlan([SubsampledGaussian(s, 0.01, 500)]))
    left = budget.delta - numerical_slack(budget.epsilon)
    first = compose((*plan.events, *frame)).epsilon(left)
    second = epsilon_interval((plan, *frame), float(left))
    assert 0.99 * epsilon <= first <= epsilon
    assert 0.99 * epsilon <= second.high <= epsilon
    assert second.confirms(first)
    aside = declared_delta0(plan, budget)
    assert 0 < aside <= budget.delta / 2


def test_looks_in_closed_form_are_held_against_mu_squared():
    """What fits a release then fits an account opened for the same budget."""
    budget, frame = Budget(1, "1e-9"), (Gaussian(500.0),)
    plan = Allowance(budget, frame).calibrate(
        lambda s: FixedPlan([Gaussian(s), Laplace(9 * s), ExponentialMechanism(min(0.1 / s, 1.0))])
    )
    together = plan.capacity + frame[0].mu_squared
    assert mu_squared_cap(budget) * (1 - Decimal("1e-9")) <= together <= mu_squared_cap(budget)
    assert declared_delta0(plan, budget) == 0


def test_a_filter_beside_a_claim_is_calibrated_by_distribution():
    budget, frame = Budget(1, "1e-8"), (Claimed("0.2", "1e-9", "them"),)
    plan = Allowance(budget, frame).calibrate(lambda s: AdaptivePlan(1 / s))
    left = budget.delta - numerical_slack(budget.epsilon)
    first = compose(frame, plan.capacity).epsilon(left)
    assert 0.99 <= first <= 1
    assert epsilon_interval((plan, *frame), float(left)).high <= 1


def test_what_cannot_be_calibrated_says_so():
    with pytest.raises(PlanError, match="no noise scale"):
        calibrate(lambda s: [Gaussian(1.0)], Budget("0.1", "1e-9"))
    with pytest.raises(PlanError, match="must depend on the scale"):
        calibrate(lambda s: [Gaussian(1e9)], Budget("0.1", "1e-9"))
    with pytest.raises(PlanError, match="no noise scale"):
        calibrate(lambda s: [Claimed(1, "1e-6", "them"), Gaussian(min(s, 1e12))], Budget(2, "1e-9"))

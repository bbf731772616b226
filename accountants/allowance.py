"""A budget being shared out: what is left for a plan after the frame's own looks and the numerical slack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from accountants.budget import Budget
from accountants.calibration import calibrate
from accountants.composition import mu_squared_of
from accountants.crosscheck import epsilon_interval
from accountants.errors import PlanError
from accountants.events import FILTER_KINDS, Event, SubsampledGaussian
from accountants.exact import DOWN, ceil_decimal, floor_float, precise, to_mp
from accountants.plan import AdaptivePlan, FixedPlan
from accountants.profile import mu_squared_within

NUMERICAL_DISTANCE = Decimal(2) ** -58
"""tau: total variation distance between what runs and the ideal mechanism, over a lifetime of 2^40 draws."""

P = TypeVar("P", FixedPlan, AdaptivePlan)


def numerical_slack(epsilon: Decimal) -> Decimal:
    """``(1 + e^epsilon) * tau``, rounded up: the delta that a distance of tau can cost."""
    with precise() as mp:
        growth = mp.exp(min(to_mp(mp, epsilon), mp.mpf(10_000)))  # beyond that it exceeds any delta all the same
        return ceil_decimal((1 + growth) * to_mp(mp, NUMERICAL_DISTANCE))


def mu_squared_cap(budget: Budget, delta0: Decimal = Decimal(0)) -> Decimal:
    """The mu^2 that `budget` allows, slack and `delta0` taken off delta first, by *both* accountants, rounded down.

    Raises:
        PlanError: slack and `delta0` eat the delta.
    """
    slack = numerical_slack(budget.epsilon)
    if slack >= budget.delta:
        smaller = "a smaller epsilon (1 is common, above 10 protects little)" if budget.epsilon > 10 else ""
        larger = "a larger delta (1e-9 is common)" if not smaller or budget.delta <= numerical_slack(Decimal(1)) else ""
        raise PlanError(
            f"at epsilon {budget.epsilon} the numerical slack of the samplers is {slack:.3g} and exceeds delta "
            f"{budget.delta}; choose {' and '.join(filter(None, (smaller, larger)))}"
        )
    delta = DOWN.divide(DOWN.subtract(DOWN.subtract(budget.delta, slack), delta0), 1 - delta0)
    if delta <= 0:
        raise PlanError(
            f"delta0 {delta0:.3g} and the samplers' slack {slack:.3g} leave nothing of delta {budget.delta}; "
            "set less aside, or declare a larger delta"
        )
    cap, step = mu_squared_within(budget.epsilon, delta), Decimal("1e-13")
    while _high((AdaptivePlan(float(DOWN.sqrt(cap))),), delta) > budget.epsilon:
        cap, step = DOWN.multiply(cap, 1 - step), 2 * step
        if step > Decimal("1e-3"):
            raise PlanError(
                f"the two accountants disagree by more than 0.1 % at {budget}; choose a larger epsilon or delta"
            )
    return cap


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a generator's plan may cost.

    Attributes:
        budget: the release's declared budget.
        frame: events that run beside the generator's plan and share its budget.
    """

    budget: Budget
    frame: tuple[Event, ...] = ()

    @property
    def mu_squared(self) -> Decimal:
        """mu^2 left for the plan.

        Raises:
            PlanError: the frame alone exceeds the budget.
        """
        left = DOWN.subtract(mu_squared_cap(self.budget), mu_squared_of(self.frame))
        if left <= 0:
            raise PlanError(f"the frame's looks alone exceed {self.budget}; give them less or raise epsilon")
        return left

    def calibrate(self, build: Callable[[float], P]) -> P:
        """The plan ``build(scale)`` with the least noise that fits, from below.

        Plans of which every look has mu^2 in closed form are held against the mu^2 of the budget (to within 1e-9): what
        fits a release then fits an account opened for the same budget. Others (DP-SGD) are held against epsilon of
        their privacy loss distribution (to within 0.1 %), and against the second accountant's upper bound.

        Args:
            build: a plan for a noise scale above 0; more scale must never cost more.

        Raises:
            PlanError: no scale up to 1e15 fits.
        """
        if self._needs_distribution(build(1e6)):
            return self._numerically(build)
        cap = self.mu_squared

        def fits(scale: float) -> bool:
            return build(scale).capacity <= cap

        low, high = 0.0, 1.0
        while not fits(high):
            low, high = high, high * 2
            if high > 1e15:
                raise PlanError(
                    f"no noise scale keeps the plan within {self.budget}; plan fewer looks or raise epsilon"
                )
        while low == 0.0:
            low, high = (low, high / 2) if fits(high / 2) else (high / 2, high)
            if high < 1e-15:
                raise PlanError("the plan costs nothing at any noise scale; its events must depend on the scale")
        while high > low * (1 + 1e-12):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if fits(middle) else (middle, high)
        return build(high)

    def _needs_distribution(self, plan: FixedPlan | AdaptivePlan) -> bool:
        events = plan.events if isinstance(plan, FixedPlan) else ()
        return any(event.kind not in FILTER_KINDS for event in (*events, *self.frame))

    def _numerically(self, build: Callable[[float], P]) -> P:
        epsilon = self.budget.epsilon
        delta = DOWN.subtract(self.budget.delta, numerical_slack(epsilon))
        if delta <= 0:
            mu_squared_cap(self.budget)  # says what is wrong
        share = Decimal(1)
        while share > Decimal("0.98"):
            aimed = Budget(DOWN.multiply(epsilon, share), delta)
            plan = calibrate(build, aimed, self._events, _filter_mu_squared)
            if _high((plan, *self.frame), delta) <= epsilon:
                return plan
            share -= Decimal("0.001")
        raise PlanError(
            f"the two accountants disagree by more than 2 % at {self.budget}; choose a larger epsilon or delta"
        )

    def _events(self, plan: FixedPlan | AdaptivePlan) -> tuple[Event, ...]:
        return (*(plan.events if isinstance(plan, FixedPlan) else ()), *self.frame)


def _filter_mu_squared(plan: FixedPlan | AdaptivePlan) -> Decimal:
    return Decimal(0) if isinstance(plan, FixedPlan) else plan.capacity


def declared_delta0(plan: FixedPlan | AdaptivePlan, budget: Budget) -> Decimal:
    """What a claim sets aside so that a lifetime can add its looks on samples up: a hundredth of delta, if that is
    enough.

    0 for plans without such looks.
    """
    events = plan.events if isinstance(plan, FixedPlan) else ()
    steps = sum(event.steps for event in events if isinstance(event, SubsampledGaussian))
    if not steps:
        return Decimal(0)
    # At least twice what a distribution of so many steps cannot tell from nothing (`accountants.pld`).
    return min(max(budget.delta / 100, Decimal("1e-11"), Decimal(2 * steps) * Decimal(2) ** -50), budget.delta / 2)


def _high(parts: tuple[FixedPlan | AdaptivePlan | Event, ...], delta: Decimal) -> float:
    interval = epsilon_interval(parts, floor_float(delta))
    return 0.0 if interval is None else interval.high

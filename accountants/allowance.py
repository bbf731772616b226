"""A budget being shared out: what is left for a plan after the frame's own looks and the numerical slack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from accountants.budget import Budget
from accountants.composition import mu_squared_of
from accountants.crosscheck import epsilon_interval
from accountants.errors import PlanError
from accountants.events import Event
from accountants.exact import DOWN, ceil_decimal, precise, to_mp
from accountants.plan import AdaptivePlan, FixedPlan
from accountants.profile import mu_squared_within

NUMERICAL_DISTANCE = Decimal(2) ** -58
"""tau: total variation distance between what runs and the ideal mechanism, over a lifetime of 2^40 draws."""

P = TypeVar("P", FixedPlan, AdaptivePlan)


def numerical_slack(epsilon: Decimal) -> Decimal:
    """``(1 + e^epsilon) * tau``, rounded up: the delta that a distance of tau can cost."""
    with precise() as mp:
        return ceil_decimal((1 + mp.exp(to_mp(mp, epsilon))) * to_mp(mp, NUMERICAL_DISTANCE))


def mu_squared_cap(budget: Budget) -> Decimal:
    """The mu^2 that `budget` allows, the slack taken off delta first, by *both* accountants, rounded down.

    Raises:
        PlanError: the slack eats the delta.
    """
    delta = DOWN.subtract(budget.delta, numerical_slack(budget.epsilon))
    if delta <= 0:
        raise PlanError(
            f"at epsilon {budget.epsilon} the numerical slack of the samplers is "
            f"{numerical_slack(budget.epsilon):.3g} and exceeds delta {budget.delta}; "
            "choose a smaller epsilon (1 is common, above 10 protects little)"
        )
    cap, step = mu_squared_within(budget.epsilon, delta), Decimal("1e-13")
    while epsilon_interval((AdaptivePlan(float(DOWN.sqrt(cap))),), float(delta)).high > budget.epsilon:
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
        """The plan ``build(scale)`` with the least noise that fits, from below (mu^2 within 1e-9).

        Args:
            build: a plan for a noise scale above 0; more scale must never cost more.

        Raises:
            PlanError: no scale up to 1e15 fits.
        """
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

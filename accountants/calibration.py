"""Calibration: the least noise whose composition stays within a budget, found from below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from accountants.budget import Budget
from accountants.composition import NumericalProfile, compose
from accountants.errors import BudgetError, PlanError
from accountants.events import Event
from accountants.pld import COARSE
from accountants.profile import Profile

T = TypeVar("T")
WITHIN = 5e-4
"""Epsilon spent is at least this close to the budget, as a share of it."""

_LARGEST = 1e15


def calibrate(
    build: Callable[[float], T],
    budget: Budget,
    events: Callable[[T], Iterable[Event]] = lambda built: built,  # type: ignore[assignment,return-value]
    mu_squared: Callable[[T], Decimal] = lambda built: Decimal(0),
) -> T:
    """``build(scale)`` with the least noise within `budget`; it spends at least 99.9 % of epsilon.

    Args:
        build: a plan for a noise scale above 0; more scale must never cost more.
        budget: (epsilon, delta), any slack already taken off.
        events: the events of what `build` returns (by default it returns events).
        mu_squared: capacity of filters in it, if any.

    Raises:
        PlanError: no scale up to 1e15 fits, or the cost does not depend on the scale.

    >>> from accountants import Gaussian
    >>> (event,) = calibrate(lambda s: [Gaussian(s)], Budget(1, 1e-5))
    >>> round(event.noise_multiplier, 2)
    3.73
    """
    target = float(budget.epsilon)

    def epsilon(scale: float, *, coarse: bool = False) -> float:
        built = build(scale)
        profile = compose(events(built), mu_squared(built))
        if coarse and isinstance(profile, NumericalProfile):
            profile = NumericalProfile(profile.parts, COARSE)
        return _epsilon(profile, budget.delta)

    # Coarse first: it is an upper bound all the same, and close to where the fine grid ends.
    low, high = _bracket(lambda scale: epsilon(scale, coarse=True), target, budget)
    low, high = _narrowed(lambda scale: epsilon(scale, coarse=True), target, low, high, 2e-3)
    low = high * 0.99
    while _cheap(epsilon, low) <= target:
        low, high = low * 0.99, low
    high = _narrowed(epsilon, target, low, high, WITHIN)[1]
    return build(high)


def _epsilon(profile: Profile | NumericalProfile, delta: Decimal) -> float:
    try:
        return profile.epsilon(delta)
    except BudgetError:
        return math.inf


def _bracket(epsilon: Callable[[float], float], target: float, budget: Budget) -> tuple[float, float]:
    low, high = 0.0, 1.0
    while not _cheap(epsilon, high) <= target:
        low, high = high, high * 4
        if high > _LARGEST:
            raise PlanError(f"no noise scale keeps the plan within {budget}; plan fewer looks or raise epsilon")
    while low == 0.0:
        half = high / 4
        low, high = (0.0, half) if _cheap(epsilon, half) <= target else (half, high)
        if high < 1 / _LARGEST:
            raise PlanError("the plan costs nothing at any noise scale; its events must depend on the scale")
    return low, high


def _cheap(epsilon: Callable[[float], float], scale: float) -> float:
    """Epsilon, infinite where the scale is below what the plan's events admit."""
    try:
        return epsilon(scale)
    except ValueError:
        return math.inf


def _narrowed(
    epsilon: Callable[[float], float], target: float, low: float, high: float, within: float
) -> tuple[float, float]:
    """The bracket, until what `high` spends is within that share of `target`: safeguarded false position, on logs."""
    at_low, at_high = _cheap(epsilon, low), epsilon(high)
    while at_high < target * (1 - within) and high > low * (1 + 1e-13):
        middle = math.sqrt(low * high)
        if math.isfinite(at_low) and at_high > 0:
            rise = math.log(at_low / at_high)
            share = math.log(target * (1 - within / 2) / at_high) / rise if rise > 0 else 0.5
            middle = high * (low / high) ** min(max(share, 0.02), 0.98)
        at = _cheap(epsilon, middle)
        low, high, at_low, at_high = (low, middle, at_low, at) if at <= target else (middle, high, at, at_high)
    return low, high


__all__ = ["WITHIN", "calibrate"]

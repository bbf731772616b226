"""A privacy profile in a few lines for people: what it means at several deltas, for the odds, for an attacker."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context, Decimal

from accountants.allowance import numerical_slack
from accountants.budget import Budget
from accountants.composition import NumericalProfile
from accountants.errors import BudgetError
from accountants.events import ADD_OR_REMOVE
from accountants.exact import DOWN
from accountants.lifetime import Lifetime
from accountants.profile import Profile
from accountants.reading import FALSE_POSITIVES, read

DELTAS = tuple(Decimal(text) for text in ("1e-5", "1e-6", "1e-7", "1e-8", "1e-9", "1e-10"))


def explain(
    profile: Profile | NumericalProfile,
    budget: Budget,
    relation: str = ADD_OR_REMOVE,
    mu_squared: Decimal | None = None,
) -> list[str]:
    """What `profile`, declared as `budget`, promises. Figures are upper bounds, the samplers' slack included.

    Args:
        profile, budget, relation: what is explained.
        mu_squared: of a Gaussian mechanism that dominates one that is none: what a lifetime is charged.
    """
    slack = numerical_slack(budget.epsilon)
    mu = profile.mu
    charged = "" if mu_squared is None else f"; charged as the Gaussian of mu {float(mu_squared) ** 0.5:.5g} above it"
    points = ", ".join(
        f"{_up(epsilon)} at {delta.normalize():e}"
        for delta in sorted({*DELTAS, budget.delta}, reverse=True)
        if (epsilon := _epsilon(profile, delta, slack)) is not None
    )
    half = budget.epsilon / 2
    missed = min(1.0, profile.delta(half) + float(slack))
    power = min(1.0, 1 - profile.tradeoff(FALSE_POSITIVES) + float(slack))
    return [
        f"declared: {budget}",
        f"epsilon {points}",
        f"delta   {_up(missed)} at epsilon {half.normalize():f}",
        f"mu      {_up(mu)}" if mu is not None else f"mu      none: it is not Gaussian for every epsilon{charged}",
        _odds(budget, relation),
        _attack(min(power, _declared(budget)), relation),
    ]


def explain_lifetime(lifetime: Lifetime, relation: str) -> list[str]:
    """The same for all releases of a dataset together, at their cap."""
    capped = lifetime_profile(lifetime)
    if capped is not None:
        return explain(capped, lifetime.budget, relation)
    budget = lifetime.budget
    return [
        f"declared: {budget}, epsilons and deltas of the releases add up",
        _odds(budget, relation),
        _attack(_declared(budget), relation),
    ]


def lifetime_profile(lifetime: Lifetime) -> Profile | None:
    """The profile at the cap; None for a `sum` filter, of which only the declared point is known."""
    return None if lifetime.mu_squared is None else Profile(lifetime.mu_squared, lifetime.delta0)


def _up(figure: float) -> str:
    """Four digits, rounded up."""
    return f"{float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(figure)):.4g}"


def _odds(budget: Budget, relation: str) -> str:
    event = "a unit is in the table" if relation == ADD_OR_REMOVE else "a unit's rows are not blank"
    return f"odds    that {event} change by a factor of at most {read(budget).odds}"


def _attack(power: float, relation: str) -> str:
    share = math.ceil(power * 10_000) / 100  # rounded up, as every figure
    whom = "in the table" if relation == ADD_OR_REMOVE else "whose rows are not blank"
    return f"attack  at 1 % false positives a test finds at most {share:.2f}% of the units {whom} (guessing: 1 %)"


def _declared(budget: Budget) -> float:
    return float(read(budget).true_positives)


def _epsilon(profile: Profile | NumericalProfile, delta: Decimal, slack: Decimal) -> float | None:
    left = DOWN.subtract(delta, slack)
    if left <= 0:
        return None
    try:
        return profile.epsilon(left)
    except BudgetError:
        return None


__all__ = ["DELTAS", "explain", "explain_lifetime", "lifetime_profile"]

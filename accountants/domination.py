"""From a privacy loss distribution to the currency of accounts: the Gaussian that dominates it, but for delta0.

A composition may be charged (mu^2, delta0) only if ``delta(g) <= delta0 + (1 - delta0) delta_Gauss(g; mu)`` for
**every** g, in both directions. Reading mu off the one point (epsilon, delta) would not do: DP-SGD's profile has a
heavier tail than the Gaussian through that point. See docs/proofs/domination.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr, ndtr

from accountants.errors import PlanError
from accountants.events import Event, SubsampledGaussian
from accountants.exact import UP, ceil_float
from accountants.parts import Parts
from accountants.pld import Direction, pair_of

_ERROR = 1e-13
"""More than the Gaussian profile computed in floats is off by, anywhere."""


def charge_of(events: Iterable[Event], mu_squared: Decimal, delta0: Decimal) -> tuple[Decimal, Decimal]:
    """(mu^2, delta0) that dominates `events` beside filters of capacity `mu_squared`, rounded up.

    Args:
        events: fixed beforehand.
        mu_squared: capacity of filters.
        delta0: declared for looks on samples (DP-SGD), beside what other events fail with. 0 charges them as if every
            unit took part in every step.

    Raises:
        PlanError: delta0 is too small for a distribution in double precision to be dominated.
    """
    parts = Parts.of(events, mu_squared)
    sampled = tuple((look, count) for look, count in parts.looks if isinstance(look, SubsampledGaussian))
    if not sampled or not delta0:
        return parts.closed_mu_squared, parts.delta0
    rest = Parts(parts.mu_squared, Decimal(0), tuple(item for item in parts.looks if item not in sampled))
    alone = Parts(looks=sampled)
    best = min(dominating_mu_squared(alone, delta0), alone.closed_mu_squared)
    return UP.add(rest.closed_mu_squared, best), UP.add(parts.delta0, delta0)


def tolerance(events: Iterable[Event]) -> Decimal:
    """By how much, as a share, mu^2 of the same looks may come out otherwise elsewhere, or in another version.

    The search ends within 1e-6, and last bits may end it one step later. For looks on samples delta0 is held against
    the far tail of a distribution in double precision: last bits of one function move mu^2 by .01 % for hundreds of
    steps and by .3 % for thousands, finer or coarser grids by .6 %.
    """
    return Decimal("0.01" if any(isinstance(event, SubsampledGaussian) for event in events) else "2e-6")


@lru_cache(maxsize=64)
def dominating_mu_squared(parts: Parts, delta0: Decimal) -> Decimal:
    """The least mu^2 (relative 1e-6) whose Gaussian, with delta0, dominates the distribution of `parts`, rounded up.

    Raises:
        PlanError: delta0 is below what the distribution's tail and its rounding come to.
    """
    pair, fails = pair_of(parts), float(delta0)
    floor = max(pair.remove.infinite, pair.add.infinite) + pair.guard
    if floor + _ERROR > fails:
        raise PlanError(
            f"delta0 {delta0:.3g} is below {floor:.3g}, the least that a privacy loss distribution in double "
            "precision can tell from nothing; declare a larger delta0"
        )
    sides = (pair.remove, pair.add)

    def holds(mu: float) -> bool:
        return all(dominated(side, pair.guard, mu, fails) for side in sides)

    high = 1.0
    while not holds(high):
        high *= 2
        if high > 1e6:
            raise PlanError(
                f"no Gaussian dominates these looks at delta0 {delta0:.3g}; add noise or declare a larger delta0"
            )
    low = high / 2
    while low > 1e-9 and holds(low):
        low, high = low / 2, low
    while high > low * (1 + 5e-7):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    exact = Decimal(ceil_float(Decimal(high)))
    return UP.multiply(exact, exact)


def dominated(side: Direction, guard: float, mu: float, delta0: float) -> bool:
    """Whether ``side(g) + guard <= delta0 + (1 - delta0) delta_Gauss(g; mu)`` for every g >= 0.

    Between two knots the left side is linear in ``x = e^g`` and the right side is convex, so it lies above its
    tangent at
    the left knot: comparing both ends with that tangent settles the whole cell. Above the last knot the left side is
    constant and below delta0. For g < 0 it follows from the other direction at -g.
    """
    start = max(int(np.searchsorted(side.losses, 0.0, side="right")) - 1, 0)
    losses, deltas = side.losses[start:], side.deltas[start:] + guard
    within = losses <= 600.0
    losses, deltas = losses[within], deltas[within]
    if not losses.size or losses[0] > 0:
        losses = np.insert(losses, 0, 0.0)
        deltas = np.insert(deltas, 0, float(side.at(np.zeros(1))[0]) + guard)
    upper, lower = -losses / mu + mu / 2, -losses / mu - mu / 2
    gaussian = ndtr(upper) - np.exp(losses + log_ndtr(lower))
    bound = delta0 + (1 - delta0) * gaussian - _ERROR
    if not bool(np.all(deltas <= bound)):
        return False
    # d delta_Gauss / dx = -Phi(-g/mu - mu/2), and x' - x = e^g (e^step - 1).
    fall = (1 - delta0) * np.exp(losses[:-1] + log_ndtr(lower[:-1])) * np.expm1(np.diff(losses))
    return bool(np.all(deltas[1:] <= bound[:-1] - fall))


__all__ = ["charge_of", "dominated", "dominating_mu_squared"]

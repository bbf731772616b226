"""Composition of events whose number and parameters are fixed, beside filters at their capacity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import final

import numpy as np

from accountants.budget import Budget
from accountants.errors import BudgetError, EventError
from accountants.events import Event, SubsampledGaussian
from accountants.exact import UP, ceil_float, floor_float, real
from accountants.parts import Parts
from accountants.pld import FINE, Direction, Pair, pair_of
from accountants.profile import Profile
from accountants.renyi import renyi_epsilon

_ENOUGH = 1000
"""From so many times its guard on, the distribution's epsilon is not improved by other bounds."""
_ROUND = 1 + 1e-12
"""Epsilon read off a grid in floats is raised by this factor."""


def mu_squared_of(events: Iterable[Event]) -> Decimal:
    """Sum of mu^2 over the events in closed form, rounded up (Dong, Roth, Su 2022, Corollary 2)."""
    total = Decimal(0)
    for event in events:
        total = UP.add(total, event.mu_squared)
    return total


def delta0_of(events: Iterable[Event]) -> Decimal:
    """Sum of delta0 over the events, rounded up."""
    total = Decimal(0)
    for event in events:
        total = UP.add(total, event.delta0)
    return total


@final
@dataclass(frozen=True, slots=True)
class NumericalProfile:
    """An upper bound on a composition's privacy profile: one privacy loss distribution, and a closed form beside it.

    It holds for every real ``g`` and in both directions. Where several bounds hold, the lowest counts. Where delta is
    near what the distribution's rounding can hide (2e-12), Rényi bounds stand in, of the whole or, for the best
    split of delta, of the looks on samples alone beside the closed form of the rest.

    Attributes:
        parts: what is composed.
        fineness: of the grid.
    """

    parts: Parts
    fineness: int = FINE

    @property
    def closed(self) -> Profile:
        """The closed form: every part by the Gaussian that dominates it."""
        return Profile(self.parts.closed_mu_squared, self.parts.delta0)

    @property
    def mu(self) -> None:
        """None: a composition that is not Gaussian has no mu of its own."""
        return None

    @property
    def pair(self) -> Pair:
        """The privacy loss distribution of all but `delta0`."""
        return pair_of(self.parts, self.fineness)

    def delta(self, epsilon: float | Decimal) -> float:
        """The smallest proven delta at `epsilon` (any finite real), rounded up."""
        exact = real("epsilon", epsilon, BudgetError)
        pure = self.parts.pure_epsilon
        if pure is not None and exact >= pure:
            return 0.0
        delta0 = ceil_float(self.parts.delta0)
        numerical = delta0 + (1 - delta0) * self.pair.delta(floor_float(exact))
        return min(1.0, numerical * _ROUND, self.closed.delta(exact))

    def epsilon(self, delta: float | Decimal) -> float:
        """The smallest proven epsilon at `delta`, rounded up; 0 where delta alone covers it.

        Args:
            delta: above 0 and below 1; also 0 where every look is pure.

        Raises:
            BudgetError: delta out of range, or no epsilon is enough.
        """
        pure = self.parts.pure_epsilon
        if pure is not None and real("delta", delta, BudgetError) == 0:
            return ceil_float(pure)
        exact = Budget(1, delta).delta
        best = min(self.closed.epsilon(exact), math.inf if pure is None else ceil_float(pure))
        if best == 0.0:
            return best
        left = floor_float((exact - self.parts.delta0) / (1 - self.parts.delta0))
        if left >= _ENOUGH * self.pair.guard:
            return min(best, self.pair.epsilon(left) * _ROUND)
        return min(best, self.pair.epsilon(left) * _ROUND, renyi_epsilon(self.parts, left), self._split(left))

    def _split(self, delta: float) -> float:
        """The best split of delta between looks on samples, by Rényi, and all else, in closed form."""
        sampled = tuple(item for item in self.parts.looks if isinstance(item[0], SubsampledGaussian))
        rest = tuple(item for item in self.parts.looks if item not in sampled)
        other = Profile(Parts(self.parts.mu_squared, Decimal(0), rest).closed_mu_squared)
        if not sampled or not other.mu_squared:
            return math.inf
        shares = [2.0**-k for k in range(1, 12)]
        alone = Parts(looks=sampled)
        return min(
            renyi_epsilon(alone, delta * share) + other.epsilon(floor_float(Decimal(delta * (1 - share))))
            for share in (*shares, *(1 - share for share in shares[1:]))
        )

    def tradeoff(self, false_positive_rate: float | Decimal) -> float:
        """The least false-negative rate of any test at that false-positive rate, rounded down.

        The largest of ``1 - delta(g) - e^g alpha`` and ``e^-g (1 - delta(g) - alpha)`` over g (Dong, Roth, Su 2022,
        Proposition 6).
        """
        alpha, delta0 = float(false_positive_rate), ceil_float(self.parts.delta0)
        remove, add = (self._powers(side, alpha, delta0) for side in (self.pair.remove, self.pair.add))
        # One pair of tables: a test of either hypothesis against the other is bounded by its own direction.
        return max(0.0, min(1 - alpha, max(self.closed.tradeoff(alpha), min(remove, add)) - 1e-12))

    def _powers(self, side: Direction, alpha: float, delta0: float) -> float:
        deltas = delta0 + (1 - delta0) * np.minimum(side.deltas + self.pair.guard, 1.0)
        return float(np.max(1 - deltas - side.scale * alpha, initial=0.0))


def compose(events: Iterable[Event], mu_squared: Decimal = Decimal(0)) -> Profile | NumericalProfile:
    """The profile of all `events` run one after another, each free to use the answers of those before.

    Gaussian noise, thresholds and filters compose in closed form; whatever else there is makes one privacy loss
    distribution of the whole.

    Args:
        events: their number and parameters are fixed beforehand.
        mu_squared: capacity of filters that run beside them.

    Raises:
        EventError: not events, or one event outside a list.

    >>> from accountants import Gaussian
    >>> f"{compose([Gaussian(1.0)]).epsilon(delta=1e-5):.4f}"
    '4.3772'
    """
    if not isinstance(events, Iterable):
        raise EventError(f"compose takes a list of events, got {type(events).__name__}; write compose([...])")
    parts = Parts.of(events, mu_squared)
    return NumericalProfile(parts) if parts.looks else Profile(parts.mu_squared, parts.delta0)


__all__ = ["NumericalProfile", "compose", "delta0_of", "mu_squared_of"]

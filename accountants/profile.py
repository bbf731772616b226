"""Privacy profiles in closed form: what (epsilon, delta) a Gaussian-dominated mechanism satisfies.

Everything is computed by mpmath at 60 digits and rounded to the safe side: epsilon, delta and mu of a
mechanism upwards, the mu that a budget allows downwards. ``crosscheck.py`` does the same with other code.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from typing import Any

from accountants.budget import Budget
from accountants.errors import BudgetError
from accountants.exact import UP, ceil_decimal, ceil_float, floor_decimal, floor_float, precise, real, to_mp

_BISECTIONS = 80


def _delta_gauss(mp: Any, epsilon: Any, mu: Any) -> Any:
    """``Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2)``: Balle, Wang 2018, Theorem 8."""
    if mu == 0:
        return max(mp.mpf(0), -mp.expm1(epsilon))
    upper, lower = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
    return (mp.erfc(-upper / mp.sqrt(2)) - mp.exp(epsilon) * mp.erfc(-lower / mp.sqrt(2))) / 2


@dataclass(frozen=True, slots=True)
class Profile:
    """An upper bound on a mechanism's privacy profile: ``delta(g) <= delta0 + (1 - delta0) * delta_Gauss(g; mu)``.

    It holds for every real ``g`` and in both directions (a unit added, a unit removed).

    Attributes:
        mu_squared: mu^2 of the Gaussian mechanism that dominates it (Dong, Roth, Su 2022), rounded up.
        delta0: probability of no protection at all, added on top. Zero for everything Gaussian or bounded-range.
    """

    mu_squared: Decimal
    delta0: Decimal = Decimal(0)

    @property
    def mu(self) -> float | None:
        """mu, rounded up; None where the mechanism may fail outright, for it is then mu-GDP for no mu."""
        return None if self.delta0 else ceil_float(UP.sqrt(self.mu_squared).next_plus(UP))

    def delta(self, epsilon: float | Decimal) -> float:
        """The smallest proven delta at `epsilon` (any finite real), rounded up."""
        exact = real("epsilon", epsilon, BudgetError)
        with precise() as mp:
            return min(1.0, ceil_float(ceil_decimal(self._delta(mp, to_mp(mp, exact)))))

    def epsilon(self, delta: float | Decimal) -> float:
        """The smallest proven epsilon at `delta`, rounded up; 0 where delta alone covers it.

        Raises:
            BudgetError: delta out of range, or not above `delta0`, so that no epsilon is enough.
        """
        exact = Budget(1, delta).delta
        if exact <= self.delta0:
            raise BudgetError(
                f"no epsilon is enough at delta {exact}: the mechanism fails with probability {_short(self.delta0)}; "
                "ask at a larger delta"
            )
        with precise() as mp:
            target = to_mp(mp, exact)
            if self._delta(mp, mp.mpf(0)) <= target:
                return 0.0
            low, high = mp.mpf(0), mp.mpf(1)
            while self._delta(mp, high) > target:
                low, high = high, 2 * high
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                low, high = (low, middle) if self._delta(mp, middle) <= target else (middle, high)
            return ceil_float(ceil_decimal(high))

    def tradeoff(self, false_positive_rate: float | Decimal) -> float:
        """The least false-negative rate of any test at that false-positive rate, rounded down.

        ``Phi(Phi^-1(1 - alpha) - mu)`` (Dong, Roth, Su 2022, eq. 6); with delta0, that of ``alpha/(1 - delta0)`` times
        ``1 - delta0``.

        Raises:
            BudgetError: not a rate from 0 to 1.
        """
        alpha = real("false_positive_rate", false_positive_rate, BudgetError)
        if not 0 <= alpha <= 1:
            raise BudgetError(f"a false-positive rate is from 0 to 1, got {false_positive_rate!r}")
        with precise() as mp:
            whole = 1 - to_mp(mp, self.delta0)
            rest = 1 - to_mp(mp, alpha) / whole
            if rest <= 0 or alpha == 0:
                return 0.0 if rest <= 0 else floor_float(floor_decimal(whole))
            threshold = mp.sqrt(2) * mp.erfinv(2 * rest - 1)
            missed = whole * mp.ncdf(threshold - mp.sqrt(to_mp(mp, self.mu_squared)))
            return max(0.0, floor_float(floor_decimal(missed)))

    def _delta(self, mp: Any, epsilon: Any) -> Any:
        delta0 = to_mp(mp, self.delta0)
        return delta0 + (1 - delta0) * _delta_gauss(mp, epsilon, mp.sqrt(to_mp(mp, self.mu_squared)))


def _short(probability: Decimal) -> str:
    """Three digits, rounded up."""
    return f"{Context(prec=3, rounding=ROUND_CEILING).plus(probability).normalize():e}"


@lru_cache(maxsize=256)
def mu_squared_within(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest mu^2 whose Gaussian profile stays within (epsilon, delta), rounded down (relative 1e-20)."""
    with precise() as mp:
        eps, target = to_mp(mp, epsilon), to_mp(mp, delta)
        low, high = mp.mpf(0), mp.mpf(1)
        while _delta_gauss(mp, eps, high) <= target:
            low, high = high, 2 * high
        while low == 0:
            low, high = (high / 2, high) if _delta_gauss(mp, eps, high / 2) <= target else (low, high / 2)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if _delta_gauss(mp, eps, middle) <= target else (low, middle)
        return floor_decimal(low * low)

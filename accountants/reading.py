"""What a guarantee means for one person: figures that need no epsilon to be understood."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from accountants.budget import Budget
from accountants.exact import ceil_decimal, precise, to_mp

FALSE_POSITIVES = Decimal("0.01")
"""The false-positive rate at which an attacker is judged."""

CURVE = tuple(
    Decimal(rate)
    for rate in (
        *("0", "0.001", "0.002", "0.005", "0.01", "0.02", "0.03", "0.05", "0.075", "0.1", "0.15", "0.2", "0.25"),
        *("0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"),
    )
)
"""The false-positive rates at which a trade-off curve is given: denser where it bends."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Bounds on any attacker, whatever they know and compute. Both rounded up.

    Attributes:
        odds: the most that the odds "this unit is in the table" can be multiplied or divided by: ``e^epsilon``
            (but for events of probability delta).
        true_positives: the best true-positive rate of a test "is this unit in the table?" that raises a false
            alarm for one outsider in a hundred. Guessing has 0.01.
    """

    odds: Decimal
    true_positives: Decimal


def read(
    budget: Budget,
    mu_squared: Decimal | None = None,
    slack: Decimal = Decimal(0),
    delta0: Decimal = Decimal(0),
) -> Reading:
    """What `budget` means. The arguments are those of `best_true_positives`.

    >>> read(Budget(1)).odds
    Decimal('2.72')
    """
    with precise() as mp:
        growth = mp.exp(min(to_mp(mp, budget.epsilon), mp.mpf(10_000)))
        return Reading(_up(growth, "0.01"), best_true_positives(budget, FALSE_POSITIVES, mu_squared, slack, delta0))


def best_true_positives(
    budget: Budget,
    false_positives: Decimal,
    mu_squared: Decimal | None = None,
    slack: Decimal = Decimal(0),
    delta0: Decimal = Decimal(0),
) -> Decimal:
    """The best true-positive rate of any test for one unit's presence with this false-positive rate, rounded up.

    Args:
        budget: the declared (epsilon, delta).
        false_positives: from 0 to 1.
        mu_squared: where the mechanism is dominated by a Gaussian, its mu^2. The trade-off curve
            ``Phi(mu - Phi^-1(1 - alpha))`` (Dong, Roth, Su 2022, eq. 6) is then used as well as the budget.
        slack: probability added to the curve: the distance between what ran and the ideal mechanism.
        delta0: the chance that the mechanism protects nothing, where it is Gaussian otherwise: the curve is then
            ``delta0 + (1 - delta0) Phi(mu - Phi^-1(1 - alpha/(1 - delta0)))``.

    >>> best_true_positives(Budget(1), Decimal("0.5"))
    Decimal('0.8161')
    """
    with precise() as mp:
        epsilon, delta, alpha = to_mp(mp, budget.epsilon), to_mp(mp, budget.delta), to_mp(mp, false_positives)
        growth = mp.exp(min(epsilon, mp.mpf(10_000)))
        best = min(growth * alpha + delta, 1 - (1 - alpha - delta) / growth, mp.mpf(1))
        if mu_squared is not None and 0 < false_positives < 1 - delta0:
            failing = to_mp(mp, delta0)
            quantile = mp.sqrt(2) * mp.erfinv(1 - 2 * alpha / (1 - failing))
            gaussian = mp.ncdf(mp.sqrt(to_mp(mp, mu_squared)) - quantile)
            best = min(best, failing + (1 - failing) * gaussian + to_mp(mp, slack))
        return min(_up(best, "0.0001"), Decimal(1))


def trade_off(
    budget: Budget,
    mu_squared: Decimal | None = None,
    slack: Decimal = Decimal(0),
    delta0: Decimal = Decimal(0),
) -> tuple[tuple[Decimal, Decimal], ...]:
    """The trade-off curve: ``(false-positive rate, best true-positive rate)`` at each rate of `CURVE`."""
    return tuple((rate, best_true_positives(budget, rate, mu_squared, slack, delta0)) for rate in CURVE)


def _up(value: Any, step: str) -> Decimal:
    exact = ceil_decimal(value)
    if exact >= Decimal("1e9"):
        return Context(prec=3, rounding=ROUND_CEILING).plus(exact)
    return exact.quantize(Decimal(step), rounding=ROUND_CEILING)


__all__ = ["CURVE", "FALSE_POSITIVES", "Reading", "best_true_positives", "read", "trade_off"]

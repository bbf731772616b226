"""Public facts about a table that a plan may use: declared in the schema, never read from rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context

from accountants import Budget
from accountants.figures import small
from accountants.policy import DEFAULT_POLICY

_TWO_DOWN = Context(prec=2, rounding=ROUND_FLOOR)


@dataclass(frozen=True, slots=True)
class Hints:
    """Public facts a plan may use, all declared in the schema.

    Attributes:
        at_most: rows a unit contributes at most (``k``).
        about_rows: the declared rough number of rows, or None.
        ordered: attributes whose codes have a meaningful order (ordinals, binned numbers, dates).
        missing: code of the missing cell, for each attribute that has one.
        out_of_domain: code of the out-of-domain cell, for each attribute (always the last code).
        fine: for each attribute on a fine grid (``bins: auto``) where its in-domain cells ``0..m-1`` start and
            end on the column's scale: m + 1 increasing numbers.
        logarithmic: those of them whose scale is the logarithm of the values.
    """

    at_most: int = 1
    about_rows: int | None = None
    ordered: frozenset[str] = frozenset()
    missing: Mapping[str, int] = field(default_factory=dict)
    out_of_domain: Mapping[str, int] = field(default_factory=dict)
    fine: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    logarithmic: frozenset[str] = frozenset()


def too_loose(budget: Budget, rows: int | None) -> str:
    """Why a delta promises nobody anything (one over the declared rows, or more) or is above what the default policy
    admits; empty where it is neither."""
    most = DEFAULT_POLICY.max_delta
    if rows is not None and budget.delta * rows >= 1:
        below = _TWO_DOWN.divide(1, rows)
        return (
            f"delta {small(budget.delta)} is not below 1 over the {rows:,} declared rows ({small(below)}): that much "
            f"would allow to publish a row or more as they are; the default policy admits at most {small(most)}. "
            "Take a far smaller one, such as the default 1e-9"
        )
    if budget.delta > most:
        return (
            f"delta {small(budget.delta)} is above {small(most)}, the most that the default policy admits: a release "
            "would be refused; take a smaller one, such as the default 1e-9"
        )
    return ""

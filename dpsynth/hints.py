"""Public facts about a table that a plan may use: declared in the schema, never read from rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accountants import Budget


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


def too_loose(budget: Budget, rows: int) -> str:
    """Why a delta of one over the declared rows, or more, promises nobody anything; empty where it is smaller."""
    if budget.delta * rows < 1:
        return ""
    return (
        f"delta {budget.delta.normalize():e} is not below 1 over the {rows:,} declared rows: that much would allow to "
        "publish a row or more as they are; take a far smaller one, such as the default 1e-9"
    )

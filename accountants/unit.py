"""The privacy unit: whose presence is hidden, and how many rows of theirs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accountants.errors import BudgetError

RELATION = "add_or_remove_one_unit"


@dataclass(frozen=True, slots=True)
class PrivacyUnit:
    """Neighbouring tables differ by all rows of one unit, added or removed.

    Attributes:
        column: the column that names the unit, or None where each row is its own unit.
        at_most: rows kept of any unit (``k``); 1 where the unit is the row.

    Raises:
        BudgetError: `at_most` below 1, or above 1 without a unit column.
    """

    column: str | None = None
    at_most: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.at_most, bool) or not isinstance(self.at_most, int) or self.at_most < 1:
            raise BudgetError(f"at_most must be a whole number of at least 1, got {self.at_most!r}")
        if self.column is None and self.at_most != 1:
            raise BudgetError(
                f"at_most is {self.at_most} but no unit column is declared; name the unit column, "
                "or leave at_most out (each row is then its own unit)"
            )

    def to_json(self) -> dict[str, Any]:
        """As the ledger and the certificate record it."""
        return {"column": self.column, "at_most": self.at_most, "relation": RELATION}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> PrivacyUnit:
        """The inverse of `to_json`."""
        if body.get("relation") != RELATION:
            raise BudgetError(f"relation must be {RELATION!r}, got {body.get('relation')!r}")
        return cls(body["column"], body["at_most"])

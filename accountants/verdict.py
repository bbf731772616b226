"""What the gate says: admitted and what it costs, or refused by which rule, with the figures and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, final

from accountants.errors import GateRefused
from accountants.lifetime import Charge


class Rule(StrEnum):
    """Every rule the gate refuses by."""

    NUMERICS = "numerics"
    """The noise is none, seeded, or of a class that is not admitted."""
    CLAIM = "claim"
    """The claim contradicts itself: its looks cost more than the budget it declares, or a field means nothing."""
    ACCOUNTANTS = "accountants"
    """The two accountants do not agree that the claim stays within its budget, or no second one knows its looks."""
    POLICY = "policy"
    """A ceiling, a list or a label cap of the policy."""
    UNIT = "unit"
    """Another privacy unit than the account's earlier releases."""
    LIFETIME = "lifetime"
    """More than is left of the dataset's lifetime budget."""
    CHAIN = "chain"
    """The ledger's chain is broken."""
    MODEL = "model"
    """The model is not the one that a committed release of this account recorded."""
    TABLE = "table"
    """The table is on no draw row of this account."""
    PRIVATE = "private"
    """What was handed over is real rows, or was computed from them outside the charged looks."""


@final
@dataclass(frozen=True, slots=True)
class Refused:
    """No, by which rule, with the figures and the way out."""

    rule: Rule
    reason: str
    way_out: str

    def raise_(self) -> NoReturn:
        """Raise as an error.

        Raises:
            GateRefused: always.
        """
        raise GateRefused(self.rule.value, self.reason, self.way_out)


@final
@dataclass(frozen=True, slots=True)
class Admitted:
    """Yes.

    Attributes:
        charge: what the account is charged (zero where a table leaves: its release was charged when reserved).
        release: the id of the release that made a table; None for a reservation.
    """

    charge: Charge
    release: str | None = None

    def raise_(self) -> None:
        """Nothing is raised."""

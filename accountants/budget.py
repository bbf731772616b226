"""A privacy budget: epsilon and delta as exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from accountants.errors import BudgetError
from accountants.exact import positive, real


@dataclass(frozen=True, slots=True)
class Budget:
    """An (epsilon, delta) that may be spent. Floats mean the decimal they print as, so ``0.1`` is a tenth.

    Attributes:
        epsilon: above 0.
        delta: above 0 and below 1. Never derived from the number of rows. Default 1e-9.

    Raises:
        BudgetError: out of range, NaN, or not a number.

    >>> Budget(0.3).epsilon == Budget(0.1).epsilon + Budget(0.2).epsilon
    True
    """

    epsilon: Decimal
    delta: Decimal = Decimal("1e-9")

    def __init__(self, epsilon: float | str | Decimal, delta: float | str | Decimal = Decimal("1e-9")) -> None:
        object.__setattr__(self, "epsilon", positive("epsilon", epsilon, BudgetError))
        exact = real("delta", delta, BudgetError)
        if not 0 < exact < 1:
            raise BudgetError(
                f"delta must be above 0 and below 1, got {delta!r}; it is the chance the guarantee does not hold, "
                "1e-9 is a good choice"
            )
        object.__setattr__(self, "delta", exact)

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:f} at delta {self.delta.normalize():e}"

    def to_json(self) -> dict[str, Any]:
        """``{"epsilon": "1.0", "delta": "1e-9"}``: decimal strings, exact."""
        return {"epsilon": str(self.epsilon), "delta": str(self.delta)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Budget:
        """The inverse of `to_json`."""
        return cls(body["epsilon"], body["delta"])

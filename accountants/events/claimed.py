"""What others say: a third party's (epsilon, delta), converted before it is charged; and work on answers alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, final

from accountants.errors import EventError
from accountants.events.base import ADD_OR_REMOVE, REPLACE, KernelEvent, Unit, probability, whole
from accountants.events.pure import MAX_ETA, pure_mu_squared
from accountants.exact import UP, ceil_decimal, precise, real, to_mp

_LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_ROWS = "number of rows is public: the claim is about exchanging a unit, not about adding or removing one"


@final
@dataclass(frozen=True, slots=True)
class Claimed:
    """A third party's claim of (epsilon, delta), taken at its word and charged for what it says of one unit.

    Attributes:
        epsilon, delta: as claimed. Decimals; a float means the decimal it prints as.
        source: who claims it, e.g. ``diffprivlib``; policy admits sources by this name.
        per: what the claim protects: a ``unit``, or a ``row`` of which a unit has up to `at_most`.
        at_most: rows of one unit that the mechanism saw at most; 1 where the claim is per unit.
        relation: neighbours of the claim: `ADD_OR_REMOVE` ("add_or_remove_one_unit"), or `REPLACE` ("replace_one_unit")
            where one unit (or row) is exchanged.
        assumed: what else it rests on, in phrases.

    **Guarantee.** (epsilon, delta) for rows and k rows a unit is ``(k epsilon, delta (e^(k epsilon) - 1)/(e^epsilon
    - 1))`` for the unit (group privacy: Vadhan 2017, Lemma 2.2). That is dominated by failing with probability delta
    and else by randomised response (Kairouz, Oh, Viswanath 2015): ``mu_squared`` of the pure epsilon, ``delta0`` =
    delta. Reading a mu off the point (epsilon, delta) would not be valid. A claim about exchanging a unit is charged
    as it is, and carries the assumption that the number of rows is public.

    Raises:
        EventError: not numbers, out of range, more than epsilon 100 once converted, or labels that are no text.
    """

    kind: ClassVar[str] = "claimed"
    epsilon: Decimal
    delta: Decimal
    source: str
    per: Unit = Unit.UNIT
    at_most: int = 1
    relation: str = ADD_OR_REMOVE
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        epsilon = real("epsilon", self.epsilon, EventError)
        if not 0 < epsilon <= Decimal(MAX_ETA):
            raise EventError(f"epsilon must be above 0 and at most {MAX_ETA:g}, got {self.epsilon!r}")
        object.__setattr__(self, "epsilon", epsilon)
        object.__setattr__(self, "delta", probability("delta", self.delta, zero=True))
        object.__setattr__(self, "at_most", whole("at_most", self.at_most, 1, 10**6))
        if self.per not in tuple(Unit):
            raise EventError(f"per must be one of {[str(u) for u in Unit]}, got {self.per!r}")
        object.__setattr__(self, "per", Unit(self.per))
        if self.per is Unit.UNIT and self.at_most != 1:
            raise EventError(
                f"at_most is {self.at_most} but the claim is per unit; give per='row', or leave at_most out"
            )
        if self.relation not in (ADD_OR_REMOVE, REPLACE):
            raise EventError(f"relation must be {ADD_OR_REMOVE!r} or {REPLACE!r}, got {self.relation!r}")
        object.__setattr__(self, "assumed", _texts("assumed", self.assumed))
        _texts("source", (self.source,))
        if self.converted[0] > Decimal(MAX_ETA) or self.converted[1] >= 1:
            raise EventError(
                f"the claim means epsilon {self.converted[0]:.6g} and delta {self.converted[1]:.3g} for a unit of "
                f"{self.at_most} rows, which protects nothing; claim less or bound the rows of a unit"
            )

    @property
    def unit(self) -> Unit:
        """What the claim itself protects; the charge protects the unit."""
        return self.per

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the charge rests on."""
        rows = (f"no unit has more than {self.at_most} rows in the table the third party used",)
        return (
            f"{self.source} keeps the guarantee it claims",
            *(rows if self.per is Unit.ROW else ()),
            *((_ROWS,) if self.relation == REPLACE else ()),
            *self.assumed,
        )

    @property
    def converted(self) -> tuple[Decimal, Decimal]:
        """(epsilon, delta) for one unit, rounded up."""
        return _grouped(self.epsilon, self.delta, self.at_most)

    @property
    def mu_squared(self) -> Decimal:
        """mu^2 of the converted epsilon, as for any pure mechanism, rounded up."""
        return pure_mu_squared(self.converted[0])

    @property
    def delta0(self) -> Decimal:
        """The converted delta."""
        return self.converted[1]


@final
@dataclass(frozen=True, slots=True)
class PostProcessing(KernelEvent):
    """Work on answers already given: costs nothing, stands in a record for completeness."""

    kind: ClassVar[str] = "post_processing"
    mu_squared: ClassVar[Decimal] = Decimal(0)
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = ()


@lru_cache(maxsize=4096)
def _grouped(epsilon: Decimal, delta: Decimal, k: int) -> tuple[Decimal, Decimal]:
    total = UP.multiply(Decimal(k), epsilon)
    if k == 1 or total > 10_000:
        return total, delta if k == 1 else Decimal(1)
    with precise() as mp:
        growth = mp.expm1(to_mp(mp, total)) / mp.expm1(to_mp(mp, epsilon))
        return total, min(ceil_decimal(to_mp(mp, delta) * growth), Decimal(1)) if delta else delta


def _texts(name: str, values: object) -> tuple[str, ...]:
    texts = tuple(values) if isinstance(values, tuple | list) else (values,)
    for text in texts:
        if not isinstance(text, str) or not _LABEL.fullmatch(text):
            raise EventError(f"{name} must be 1 to 100 printable characters, got {text!r}")
    return texts


__all__ = ["Claimed", "PostProcessing"]

"""What every event states beside its parameters: whom it protects, against which neighbours, assuming what."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from accountants.errors import EventError
from accountants.exact import DOWN, positive_float, real

ADD_OR_REMOVE = "add_or_remove_one_unit"
"""Neighbouring tables: one, and the same with one more unit. The relation of all that the kernel does."""
REPLACE = "replace_one_unit"
"""Neighbouring tables of equal size, one unit exchanged: it says nothing of the number of rows, then public."""
BLANK = "blank_one_unit"
"""Neighbouring tables of equal size, one unit's rows blank in one of them. A look that takes the number of rows for
public reads a blank row as some row fixed beforehand, every other look leaves it out: looks of both relations above
keep their guarantee under this one. Zero-out adjacency (Kairouz et al. 2021, "Practical and private (deep) learning
without sampling or shuffling")."""


class Unit(StrEnum):
    """Whose presence an event hides."""

    UNIT = "unit"
    """One privacy unit, with all its kept rows."""
    ROW = "row"
    """One row only; a unit has several."""


class KernelEvent:
    """What is the same for every look of the kernel: per unit, one unit added or removed, nothing assumed.

    Events are final; this holds constants and no behaviour that one of them overrides.
    """

    __slots__ = ()

    unit: ClassVar[Unit] = Unit.UNIT
    relation: ClassVar[str] = ADD_OR_REMOVE


def together(relations: Iterable[str]) -> str:
    """The relation under which looks made for `relations` add up: their own where all are `ADD_OR_REMOVE`."""
    return ADD_OR_REMOVE if set(relations) <= {ADD_OR_REMOVE} else BLANK


def squared(mu: float) -> Decimal:
    """mu^2, rounded down.

    Raises:
        EventError: not a finite number above 0.
    """
    exact = Decimal(positive_float("mu", mu, EventError))
    return DOWN.multiply(exact, exact)


def ranged(name: str, value: object, least: float, most: float, why: str) -> float:
    """`value` as a float in ``[least, most]``.

    Raises:
        EventError: not a finite number, or out of that range.
    """
    number = positive_float(name, value, EventError)
    if not least <= number <= most:
        raise EventError(f"{name} must lie between {least:g} and {most:g}, got {number!r}; {why}")
    return number


def probability(name: str, value: object, *, zero: bool = False) -> Decimal:
    """`value` as an exact decimal in (0, 1), or [0, 1) with `zero`.

    Raises:
        EventError: it is not.
    """
    exact = real(name, value, EventError)
    if not (0 <= exact < 1 if zero else 0 < exact < 1):
        raise EventError(f"{name} must be {'at least' if zero else 'above'} 0 and below 1, got {value!r}")
    return exact


def whole(name: str, value: object, least: int, most: int) -> int:
    """`value` as a whole number in ``[least, most]``.

    Raises:
        EventError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise EventError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    return value


__all__ = [
    "ADD_OR_REMOVE",
    "BLANK",
    "REPLACE",
    "KernelEvent",
    "Unit",
    "probability",
    "ranged",
    "squared",
    "together",
    "whole",
]

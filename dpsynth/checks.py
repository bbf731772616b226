"""Checks on what a schema declares, field by field. Each returns the normal form or says what is wrong."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from typing import Any, TypeVar

from dpsynth.text import UNREADABLE, canonical, cell_text

Value = bool | int | float | str
"""A declared category."""

Bound = TypeVar("Bound", int, float, date, datetime)

AUTO = "auto"
"""In place of a number of bins: a fine grid, merged by noisy counts."""
DEFAULT_BINS = 16
MOST_ATOMS = 100
MOST_CELLS = 100_000
DIGITS = 15
"""Significant decimal digits that a double always keeps: the limit for bounds and decimals together."""


def text_name(name: str, what: str) -> str:
    """A name without control characters.

    Raises:
        ValueError: it is empty or holds characters that do not print.
    """
    if not name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise ValueError(f"{what} must be printable text that is not empty, got {name!r}")
    return name


def categories(raw: Any) -> tuple[Value, ...]:
    """The declared categories: stripped, integral floats as integers, no two that read the same.

    Raises:
        ValueError: none, too many, an empty one, two that read the same, or something that is no category.
    """
    if not isinstance(raw, (list, tuple)):
        raise ValueError(f"'values' must be a list, got {raw!r}")
    if not raw:
        raise ValueError("'values' is empty; list at least one value")
    if len(raw) > MOST_CELLS:
        raise ValueError(f"'values' lists {len(raw)} values; at most {MOST_CELLS} are allowed")
    seen: dict[str, Any] = {}
    kept = []
    for value in raw:
        normal = _category(value)
        text = canonical(cell_text(normal) or "")
        if text is None:
            raise ValueError("'values' holds an empty value; declare nulls with 'missing: true' instead")
        if UNREADABLE in text or "\r" in text:
            raise ValueError(
                f"'values' holds {value!r}; a value must be text that UTF-8 can hold, without NUL or carriage return"
            )
        if text in seen:
            raise ValueError(f"'values' holds {seen[text]!r} and {value!r}, which read the same; list each value once")
        seen[text] = value
        kept.append(normal)
    return tuple(kept)


def _category(value: Any) -> Value:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or (isinstance(value, float) and isfinite(value) and not value.is_integer()):
        return value
    if isinstance(value, (int, float)) and isfinite(value):
        return int(value) if abs(value) < 2**53 else str(int(value))
    if isinstance(value, date):
        return cell_text(value) or ""
    if value is None:
        return ""
    raise ValueError(f"'values' holds {value!r}; a value must be text, a finite number, true or false")


def integer_bins(raw: Any) -> Any:
    """A count of bins, integer edges or ``auto``.

    Raises:
        ValueError: neither.
    """
    return _bins(raw, _integer)


def float_bins(raw: Any) -> Any:
    """A count of bins, finite edges as floats, or ``auto``.

    Raises:
        ValueError: neither.
    """
    return _bins(raw, _finite)


def day_bins(raw: Any) -> Any:
    """A count of bins, dates or ``auto``.

    Raises:
        ValueError: neither.
    """
    return _bins(raw, day)


def moment_bins(raw: Any) -> Any:
    """A count of bins, moments or ``auto``.

    Raises:
        ValueError: neither.
    """
    return _bins(raw, moment)


def integer_atoms(raw: Any) -> tuple[int, ...] | None:
    """Whole numbers with a cell of their own, in order.

    Raises:
        ValueError: no list of different whole numbers, or too long a list.
    """
    return _atoms(raw, lambda value: _integer(value, "'atoms'"))


def float_atoms(raw: Any) -> tuple[float, ...] | None:
    """Finite numbers with a cell of their own, in order, as floats.

    Raises:
        ValueError: no list of different finite numbers, or too long a list.
    """
    return _atoms(raw, lambda value: _finite(value, "'atoms'"))


def day_atoms(raw: Any) -> tuple[date, ...] | None:
    """Dates with a cell of their own, in order.

    Raises:
        ValueError: no list of different dates, or too long a list.
    """
    return _atoms(raw, day)


def moment_atoms(raw: Any) -> tuple[datetime, ...] | None:
    """Moments with a cell of their own, in order.

    Raises:
        ValueError: no list of different moments, or too long a list.
    """
    return _atoms(raw, moment)


def _atoms(raw: Any, value: Callable[[Any], Bound]) -> tuple[Bound, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, (list, tuple)) or not raw:
        raise ValueError(f"'atoms' must be a list of values, got {raw!r}")
    if len(raw) > MOST_ATOMS:
        raise ValueError(f"'atoms' lists {len(raw)} values; at most {MOST_ATOMS} are allowed")
    atoms = tuple(sorted(value(each) for each in raw))
    twice = next((low for low, high in pairwise(atoms) if low == high), None)
    if twice is not None:
        raise ValueError(f"'atoms' holds {_plain(twice)} twice; list each value once")
    return atoms


def _bins(raw: Any, edge: Callable[[Any], Bound]) -> str | int | tuple[Bound, ...]:
    if raw == AUTO:
        return AUTO
    if isinstance(raw, (list, tuple)):
        edges = tuple(edge(each) for each in raw)
        if len(edges) < 2:
            raise ValueError(f"'bins' needs two edges or more, got {_shown(edges)}; or give a number of bins")
        for low, high in pairwise(edges):
            if not low < high:
                raise ValueError(f"the edges in 'bins' must increase, got {low} before {high}")
        return edges
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"'bins' must be a whole number, a list of edges or {AUTO}, got {raw!r}")
    if not 1 <= raw <= MOST_CELLS:
        raise ValueError(f"'bins' must lie between 1 and {MOST_CELLS}, got {raw}")
    return raw


def _integer(raw: Any, where: str = "the edges in 'bins'") -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"{where} must be whole numbers, got {raw!r}")
    return raw


def _finite(raw: Any, where: str = "the edges in 'bins'") -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not isfinite(raw):
        raise ValueError(f"{where} must be finite numbers, got {raw!r}")
    return float(raw)


def day(raw: Any) -> date:
    """A date, from itself or its ISO text.

    Raises:
        ValueError: anything else.
    """
    if isinstance(raw, date) and not isinstance(raw, datetime):
        return raw
    parsed = None
    if isinstance(raw, str):
        try:
            parsed = date.fromisoformat(raw)
        except ValueError:
            parsed = None
    if parsed is None:
        raise ValueError(f"a date must be written like 2020-12-31, got {str(raw)!r}")
    return parsed


def moment(raw: Any) -> datetime:
    """A moment to the second, without a zone, from itself, a date (midnight) or its ISO text.

    Raises:
        ValueError: anything else.
    """
    if isinstance(raw, date) and not isinstance(raw, datetime):
        raw = datetime(raw.year, raw.month, raw.day)
    parsed = raw if isinstance(raw, datetime) else None
    if isinstance(raw, str):
        try:
            parsed = datetime.fromisoformat(raw)
        except ValueError:
            parsed = None
    if parsed is None or parsed.tzinfo is not None or parsed.microsecond:
        raise ValueError(
            f"a moment must be written like 2020-12-31 23:59:59, whole seconds and no zone, got {str(raw)!r}"
        )
    return parsed


def with_bounds_from_edges(data: Any) -> Any:
    """`data` with 'min' and 'max' taken from explicit edges where they are left out."""
    if isinstance(data, dict) and isinstance(edges := data.get("bins"), (list, tuple)) and len(edges) > 1:
        return {"min": edges[0], "max": edges[-1], **data}
    return data


def with_decimals(data: Any) -> Any:
    """`data` with 'decimals' chosen from the bounds, edges and atoms where it is left out."""
    if not isinstance(data, dict) or data.get("decimals") is not None:
        return data
    listed = [data.get("bins"), data.get("atoms")]
    inner = [each for given in listed if isinstance(given, (list, tuple)) for each in given]
    bounds = [data.get("min"), data.get("max"), *inner]
    numbers = [b for b in bounds if isinstance(b, (int, float)) and isfinite(b)]
    decimals = max((_decimals(b) for b in numbers), default=0)
    span = max(numbers, default=0) - min(numbers, default=0)
    largest = max((abs(b) for b in numbers), default=0)
    while decimals < DIGITS and (decimals < 2 or span * 10**decimals < 1000):
        if largest * 10 ** (decimals + 1) > 10**DIGITS:
            break
        decimals += 1
    return {**data, "decimals": decimals}


def check_range(
    low: Bound, high: Bound, bins: str | int | Sequence[Bound], scale: str, atoms: Sequence[Bound] | None
) -> None:
    """Bounds are finite and in order, edges run from one to the other, atoms lie between them, a logarithm exists.

    Raises:
        ValueError: they do not.
    """
    for which, bound in (("min", low), ("max", high)):
        if isinstance(bound, float) and not isfinite(bound):
            raise ValueError(f"{which!r} must be a finite number, got {bound}")
    if not low < high:
        raise ValueError(f"'min' must be less than 'max', got {_plain(low)} and {_plain(high)}")
    if atoms is not None and bins != AUTO:
        raise ValueError(f"'atoms' go with 'bins: {AUTO}'; add it, or give the edges in 'bins' yourself")
    if atoms and not (low <= atoms[0] and atoms[-1] <= high):
        outside = atoms[0] if atoms[0] < low else atoms[-1]
        raise ValueError(f"'atoms' holds {_plain(outside)}, outside 'min' {_plain(low)} and 'max' {_plain(high)}")
    if not isinstance(bins, (int, str)) and (bins[0] != low or bins[-1] != high):
        raise ValueError(
            f"the edges in 'bins' must run from 'min' {_plain(low)} to 'max' {_plain(high)}, "
            f"got {_plain(bins[0])} to {_plain(bins[-1])}"
        )
    if scale == "log" and isinstance(low, (int, float)) and low < 0:
        raise ValueError(f"'scale: log' needs 'min' of at least 0, got {_plain(low)}; use linear")


def check_size(low: float, high: float, decimals: int) -> None:
    """Bounds and decimals together stay within what a double keeps.

    Raises:
        ValueError: they do not.
    """
    for which, bound in (("min", low), ("max", high)):
        if abs(bound) * 10**decimals > 10**DIGITS:
            raise ValueError(
                f"{which!r} {_plain(bound)} with {decimals} decimals needs more than {DIGITS} digits; "
                "give fewer decimals or a narrower range"
            )


def check_decimals(bound: float, decimals: int) -> None:
    """The bound is a multiple of the last decimal.

    Raises:
        ValueError: it is not.
    """
    if _decimals(bound) > decimals:
        raise ValueError(
            f"{_plain(bound)} cannot be written with 'decimals: {decimals}'; "
            f"round it, or give {_decimals(bound)} decimals"
        )


def on_grid(number: float, decimals: int) -> int:
    """The number in units of the last decimal, exactly (see `check_decimals`)."""
    return int(Decimal(repr(number)).scaleb(decimals))


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _plain(bound: object) -> str:
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _shown(edges: Sequence[object]) -> str:
    return "[" + ", ".join(_plain(edge) for edge in edges) + "]"


__all__ = [
    "AUTO",
    "DEFAULT_BINS",
    "DIGITS",
    "MOST_ATOMS",
    "MOST_CELLS",
    "Value",
    "categories",
    "check_decimals",
    "check_range",
    "check_size",
    "day",
    "day_atoms",
    "day_bins",
    "float_atoms",
    "float_bins",
    "integer_atoms",
    "integer_bins",
    "moment",
    "moment_atoms",
    "moment_bins",
    "on_grid",
    "text_name",
    "with_bounds_from_edges",
    "with_decimals",
]

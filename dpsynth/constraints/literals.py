"""Conditions read against the columns: which codes meet them, and their one canonical spelling."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth import checks
from dpsynth.columns import BinnedBase, Boolean, Categorical, Coded, ColumnBase, Date, Datetime, Float, Integer, Ordinal
from dpsynth.constraints.declared import Item, Range
from dpsynth.derived import Derived
from dpsynth.text import canonical, cell_text

Mask = NDArray[np.bool_]

_SHOWN = 8


def null_codes(column: ColumnBase) -> Mask:
    """Which codes are released as an empty cell: the missing one if declared, and the out-of-domain one."""
    return np.arange(column.size) >= column.cells


def edges_of(column: ColumnBase) -> NDArray[np.int64]:
    """Grid points at which cells begin, and the one beyond the last: of a derived column the cells of its step.

    A listed value is one point.
    """
    if isinstance(column, Derived):
        return np.asarray(column.steps.edges, dtype=np.int64)
    if isinstance(column, BinnedBase):
        return np.asarray(column.partition.edges, dtype=np.int64)
    return np.arange(column.cells + 1)


def literal(column: ColumnBase, items: tuple[Item, ...]) -> tuple[Mask, tuple[Item, ...]]:
    """The codes of a column that meet a condition, shape (size,), and the condition in canonical form.

    Raises:
        ValueError: a value or range that the column cannot have, or that ends inside one of its bins.
    """
    mask, kept = np.zeros(column.size, dtype=bool), list[Item]()
    for item in items:
        if item is None:
            if not column.missing:
                raise ValueError(
                    f"the condition on {column.name!r} asks for an empty cell, which the column does not declare; "
                    "add 'missing: true' to it"
                )
            mask |= null_codes(column)
        elif isinstance(item, Range):
            codes, item = _range(column, item)
            mask[: column.cells] |= codes
        else:
            code, item = _value(column, item)
            mask[code] = True
        if item not in kept or any(type(each) is not type(item) for each in kept if each == item):
            kept.append(item)
    return mask, tuple(kept)


def _value(column: ColumnBase, raw: Any) -> tuple[int, Any]:
    if isinstance(column, (Categorical, Ordinal, Boolean)):
        return _listed(column, raw)
    point, value = _point(column, raw)
    edges = edges_of(column)
    if not edges[0] <= point < edges[-1]:
        raise ValueError(f"the condition on {column.name!r} asks for {value}, which is outside {_bounds(column)}")
    code = int(np.searchsorted(edges, point, side="right")) - 1
    if edges[code + 1] - edges[code] > 1:
        raise ValueError(
            f"the condition on {column.name!r} asks for {value}, which shares the bin {_label(column, code)} with "
            "other values; give it a bin of its own in 'bins', or a range that ends where bins do"
        )
    return code, value


def _listed(column: Categorical | Ordinal | Boolean, raw: Any) -> tuple[int, Any]:
    values: tuple[Any, ...] = (False, True) if isinstance(column, Boolean) else column.values
    known = {canonical(cell_text(value) or "") or "": i for i, value in enumerate(values)}
    text = canonical(cell_text(raw) or "")
    code = known.get(text or "")
    if code is not None:
        return code, values[code]
    near = get_close_matches(text or "", list(known), n=1)
    shown = ", ".join(list(known)[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {shown}"
    hint += "; an empty cell is written null" if text in ("missing", "NA", "nan", "None") else ""
    raise ValueError(f"the condition on {column.name!r} names the unknown value {raw!r}; {hint}")


def _range(column: ColumnBase, wanted: Range) -> tuple[Mask, Range]:
    if not column.ordered and not isinstance(column, Coded):
        raise ValueError(f"the condition on {column.name!r} is a range, but its values have no order; list the values")
    edges = edges_of(column)
    low, high, bounds = int(edges[0]), int(edges[-1]), {}
    for key, raw in wanted.bounds().items():
        point, bounds[key] = _listed(column, raw) if isinstance(column, Ordinal) else _point(column, raw)
        if key in ("min", "above"):
            low = max(low, point + (key == "above"))
            _on_edge(column, key, bounds[key], low, edges)
        else:
            high = min(high, point + (key == "max"))
            _on_edge(column, key, bounds[key], high, edges)
    if low >= high:
        raise ValueError(f"the range of {column.name!r} holds no value of the column, which has {_bounds(column)}")
    return (edges[:-1] >= low) & (edges[1:] <= high), Range(**bounds)


def _on_edge(column: ColumnBase, key: str, value: Any, end: int, edges: NDArray[np.int64]) -> None:
    if end in edges or not edges[0] < end < edges[-1]:
        return
    code = int(np.searchsorted(edges, end, side="right")) - 1
    other = {"max": "below", "above": "min"}.get(key)
    hint = f"write '{other}: {value}', or " if other is not None and end - 1 in edges else ""
    does = "begins" if key in ("min", "above") else "ends"
    raise ValueError(
        f"the range of {column.name!r} {does} at '{key}: {value}', inside the bin {_label(column, code)}; {hint}"
        "let it do so where a bin does, or add the edge to 'bins'"
    )


def _point(column: ColumnBase, raw: Any) -> tuple[int, Any]:
    """A number or date in grid units, and as the column's type has it."""
    number = not isinstance(raw, bool) and isinstance(raw, (int, float))
    if isinstance(column, Date):
        value = checks.day(raw)
        return (value - date(1970, 1, 1)).days, value
    if isinstance(column, Datetime):
        moment = checks.moment(raw)
        return (moment - datetime(1970, 1, 1)) // timedelta(seconds=1), moment
    if isinstance(column, Float) and number:
        checks.check_size(float(raw), float(raw), column.decimals)
        checks.check_decimals(float(raw), column.decimals)
        return checks.on_grid(float(raw), column.decimals), float(raw)
    if isinstance(column, (Integer, Coded)) and number and float(raw).is_integer():
        return int(raw), int(raw)
    wanted = "a number" if isinstance(column, Float) else "a whole number"
    raise ValueError(f"the condition on {column.name!r} must be {wanted}, got {raw!r}")


def _bounds(column: ColumnBase) -> str:
    if isinstance(column, (Integer, Float, Date, Datetime)):
        return f"{column.min} to {column.max}"
    return f"0 to {column.cells - 1}" if isinstance(column, Coded) else f"{column.cells} values"


def _label(column: ColumnBase, code: int) -> str:
    from dpsynth.codec import codec

    return codec(column).labels()[code]


__all__ = ["Mask", "edges_of", "literal", "null_codes"]

"""A finished table held against the constraints, value by value. It shares no code with what enforces them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.columns import Boolean, Categorical, Coded, ColumnBase, Float, Ordinal
from dpsynth.constraints.declared import Conditions, Constraint, Forbid, Implies, Item, Order, Range, Total
from dpsynth.text import canonical, cell_text


@dataclass(frozen=True, slots=True)
class Checked:
    """One constraint on one table.

    Attributes:
        title, says: its name, and what it says.
        broken: rows that break it.
    """

    title: str
    says: str
    broken: int


def check(columns: Sequence[ColumnBase], constraints: Sequence[Constraint], frame: pd.DataFrame) -> list[Checked]:
    """How many rows of `frame` break each constraint. `frame` must be public: a synthetic table.

    Args:
        columns: of the schema.
        constraints: to check, in canonical form.
        frame: values as a release has them.
    """
    by_name = {column.name: column for column in columns}
    return [Checked(c.title, str(c), int((~_held(by_name, c, frame)).sum())) for c in constraints]


def _held(columns: dict[str, ColumnBase], constraint: Constraint, frame: pd.DataFrame) -> Any:
    match constraint:
        case Forbid(where=where):
            return ~_met(columns, where, frame)
        case Implies(when=when, then=then):
            return ~_met(columns, when, frame) | _met(columns, then, frame)
        case Order(order=order, strict=strict):
            held = np.ones(len(frame), dtype=bool)
            for low, high in pairwise(order):
                a, b = _numbers(columns[low], frame[low]), _numbers(columns[high], frame[high])
                both = frame[low].notna().to_numpy() & frame[high].notna().to_numpy()
                held &= ~both | np.array([x < y or (x == y and not strict) for x, y in zip(a, b, strict=True)])
            return held
        case Total(total=total, parts=parts):
            full = frame[[total, *parts]].notna().all(axis=1).to_numpy()
            added = [sum(row, Decimal(0)) for row in zip(*(_numbers(columns[p], frame[p]) for p in parts), strict=True)]
            same = np.array([x == y for x, y in zip(_numbers(columns[total], frame[total]), added, strict=True)])
            return ~full | same
    raise TypeError(f"no check for {type(constraint).__name__}")


def _met(columns: dict[str, ColumnBase], conditions: Conditions, frame: pd.DataFrame) -> Any:
    met = np.ones(len(frame), dtype=bool)
    for name, items in conditions:
        met &= np.logical_or.reduce([_among(columns[name], item, frame[name]) for item in items])
    return met


def _among(column: ColumnBase, item: Item, cells: pd.Series[Any]) -> Any:
    full = cells.notna().to_numpy()
    if item is None:
        return ~full
    if isinstance(item, Range):
        values = _numbers(column, cells)
        met = full.copy()
        for key, bound in item.bounds().items():
            end = _numbers(column, pd.Series([bound]))[0]
            compare = {"min": "__ge__", "above": "__gt__", "max": "__le__", "below": "__lt__"}[key]
            met &= np.array([bool(getattr(value, compare)(end)) for value in values])
        return met
    if isinstance(column, (Categorical, Ordinal, Boolean)):
        wanted = canonical(cell_text(item) or "")
        return full & np.array([canonical(cell_text(cell) or "") == wanted for cell in cells.astype(object)])
    end = _numbers(column, pd.Series([item]))[0]
    return full & np.array([value == end for value in _numbers(column, cells)])


def _numbers(column: ColumnBase, cells: pd.Series[Any]) -> list[Decimal]:
    """Each cell as an exact number: an ordinal's rank, a float at its decimals, a date in seconds; 0 where empty."""
    if isinstance(column, Ordinal):
        ranks = {canonical(cell_text(value) or ""): Decimal(i) for i, value in enumerate(column.values)}
        return [ranks.get(canonical(cell_text(cell) or ""), Decimal(0)) for cell in cells.astype(object)]
    if isinstance(column, Float):
        return [_decimal(f"{float(c):.{column.decimals}f}") if pd.notna(c) else Decimal(0) for c in cells]
    if isinstance(column, (Coded, Boolean)) or not hasattr(column, "partition") or not _dated(cells):
        return [Decimal(int(c)) if pd.notna(c) else Decimal(0) for c in cells]
    moments = pd.to_datetime(cells)
    return [Decimal(int(c.timestamp())) if pd.notna(c) else Decimal(0) for c in moments]


def _decimal(text: str) -> Decimal:
    return Decimal(text)


def _dated(cells: pd.Series[Any]) -> bool:
    filled = cells.dropna()
    return len(filled) > 0 and hasattr(filled.iloc[0], "year")


__all__ = ["Checked", "check"]

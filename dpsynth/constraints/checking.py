"""A finished table held against the constraints, value by value. It shares no code with what enforces them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.columns import Boolean, Categorical, ColumnBase, Date, Datetime, Float, Ordinal
from dpsynth.constraints.declared import Conditions, Constraint, Forbid, Implies, Item, Order, Range, Total
from dpsynth.text import canonical, cell_text

Flags = NDArray[np.bool_]


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
    table = _Table({column.name: column for column in columns}, frame)
    return [Checked(c.title, str(c), int((~table.held(c)).sum())) for c in constraints]


@dataclass(frozen=True, slots=True)
class _Table:
    columns: Mapping[str, ColumnBase]
    frame: pd.DataFrame

    def held(self, constraint: Constraint) -> Flags:
        """Which rows satisfy a constraint."""
        match constraint:
            case Forbid(where=where):
                return ~self._met(where)
            case Implies(when=when, then=then):
                return ~self._met(when) | self._met(then)
            case Order(order=order, strict=strict):
                held = np.ones(len(self.frame), dtype=bool)
                scale = self._decimals(order)
                for low, high in pairwise(order):
                    a, b = self._numbers(low, scale), self._numbers(high, scale)
                    held &= ~(self._full(low) & self._full(high)) | (a < b) | ((a == b) & (not strict))
                return held
            case Total(total=total, parts=parts):
                full = np.logical_and.reduce([self._full(name) for name in (total, *parts)])
                scale = self._decimals((total, *parts))
                added = np.add.reduce([self._numbers(part, scale) for part in parts])
                return np.asarray(~full | (self._numbers(total, scale) == added))
        raise TypeError(f"no check for {type(constraint).__name__}")

    def _met(self, conditions: Conditions) -> Flags:
        met = np.ones(len(self.frame), dtype=bool)
        for name, items in conditions:
            met &= np.logical_or.reduce([self._among(name, item) for item in items])
        return met

    def _full(self, name: str) -> Flags:
        return np.asarray(self.frame[name].notna(), dtype=bool)

    def _among(self, name: str, item: Item) -> Flags:
        column, full = self.columns[name], self._full(name)
        if item is None:
            return ~full
        if isinstance(item, Range):
            met = full
            for key, bound in item.bounds().items():
                cells, end = self._numbers(name), _number(column, bound)
                met = met & {"min": cells >= end, "above": cells > end, "max": cells <= end, "below": cells < end}[key]
            return met
        if isinstance(column, (Categorical, Ordinal, Boolean)):
            wanted = canonical(cell_text(item) or "")
            return np.asarray(full & self._each(name, lambda text: text == wanted, bool))
        return np.asarray(full & (self._numbers(name) == _number(column, item)))

    def _each(self, name: str, judge: Any, dtype: Any) -> NDArray[Any]:
        """A function of the text of each cell, called once for each distinct one."""
        places, distinct = pd.factorize(self.frame[name].astype(object))
        judged = [judge(canonical(cell_text(cell) or "")) for cell in distinct]
        return np.array([*judged, judge(None)], dtype=dtype)[places]

    def _decimals(self, names: Sequence[str]) -> int:
        return max(_decimals(self.columns[name]) for name in names)

    def _numbers(self, name: str, decimals: int | None = None) -> NDArray[np.int64]:
        """Each cell as a whole number: in units of a decimal, in seconds, or an ordinal's rank; 0 where empty."""
        column, cells = self.columns[name], self.frame[name]
        if isinstance(column, Ordinal):
            ranks = {canonical(cell_text(value) or ""): rank for rank, value in enumerate(column.values)}
            return self._each(name, lambda text: ranks.get(text, 0), np.int64)
        if isinstance(column, (Date, Datetime)):
            moments = pd.to_datetime(cells).fillna(pd.Timestamp(0)).to_numpy(dtype="datetime64[s]")
            return np.asarray(moments.astype(np.int64))
        own = _decimals(column)
        scaled = np.rint(cells.astype("Float64").to_numpy(dtype=np.float64, na_value=0.0) * 10**own).astype(np.int64)
        return np.asarray(scaled * 10 ** ((own if decimals is None else decimals) - own))


def _decimals(column: ColumnBase) -> int:
    return column.decimals if isinstance(column, Float) else 0


def _number(column: ColumnBase, value: Any) -> int:
    return int(_Table({column.name: column}, pd.DataFrame({column.name: [value]}))._numbers(column.name)[0])


__all__ = ["Checked", "check"]

"""Columns encoded relative to others of their row: what an `order` of dates or a `total` makes of one of its columns.

Two dates of one row lie a few days apart, and years away from those of other rows: no bins of the dates show the days.
And a total says nothing that its parts do not. So one date is encoded as it is and the other by its distance from it,
and a total as "the sum of its parts": such a constraint then holds by construction, and what is counted is the
distance.
Which columns, and on what grid, follows from the schema alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import InstanceOf

from dpsynth import grids
from dpsynth.bins import Bins
from dpsynth.columns import BinnedBase, ColumnBase, Date, Datetime, Float, Integer
from dpsynth.constraints.declared import Conditions, Constraint, Forbid, Implies, Order, Total

MOST_ALONE = 16
"""Most cells of its own: few rows use them, and noise would drown finer ones."""

_HOUR = 3600

Integers = NDArray[np.int64]


class Derived(ColumnBase):
    """A column as it is encoded: cells of a step beyond its base, then cells of its own where a base cell may be empty.

    Where no base cell is empty, the column's value is the sum of theirs plus (`sign` 1) or minus (-1) a step; a total's
    step is zero. Where one is empty, the row has the column's own cell instead.

    Attributes:
        own: the column as declared.
        base: columns its value is computed from.
        sign: of the step.
        steps: cells of the step, in grid units.
        alone: whether cells of its own follow those of the step, for rows with an empty base cell.
        source: place of the constraint.
    """

    own: InstanceOf[BinnedBase]
    base: tuple[str, ...]
    sign: int
    steps: InstanceOf[Bins]
    alone: bool
    source: int

    @property
    def cells(self) -> int:
        """Of the step, and its own."""
        return len(self.steps) + (len(self.rest) if self.alone else 0)

    @property
    def ordered(self) -> bool:
        """If it has steps to be ordered."""
        return self.cells > 1

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest value of the column, in grid units."""
        edges = self.own.partition.edges
        return edges[0], edges[-1] - 1

    @cached_property
    def runs(self) -> Integers:
        """Which of the cells of its own each code of the column as declared falls into, shape (own.cells,)."""
        cells = self.own.cells
        starts = {0, 1, cells - 1, *np.linspace(1, cells - 1, MOST_ALONE - 1).round().astype(int).tolist()}
        first = np.isin(np.arange(cells), list(starts)) if cells > MOST_ALONE else np.ones(cells, dtype=bool)
        return np.cumsum(first) - 1

    @cached_property
    def rest(self) -> Bins:
        """The cells of its own: those declared, or neighbours together; the first and the last are never merged."""
        edges, firsts = self.own.partition.edges, np.flatnonzero(np.diff(self.runs, prepend=-1))
        return Bins((*(edges[first] for first in firsts), edges[-1]), self.own.partition.log)

    @property
    def fine(self) -> bool:
        """Whether its cells are to be merged by their noisy counts."""
        return self.cells > 1

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Where its cells start and end, the steps before its own, in widths of a mean cell; shape (cells + 1,)."""
        parts = [self.steps.positions, *([self.rest.positions] if self.alone else [])]
        widths = np.concatenate([np.diff(at) / np.diff(at).mean() for at in parts])
        return np.concatenate([[0.0], np.cumsum(widths)])

    def encode(self, own: NDArray[Any], base_empty: NDArray[np.bool_], steps: Integers) -> Integers:
        """Codes, shape (rows,); each depends on its row alone.

        Args:
            own: codes of the column as declared.
            base_empty: whether a base cell is empty.
            steps: the step in grid units, anything where a cell is empty; the nearest cell counts.
        """
        own = np.asarray(own, dtype=np.int64)
        code = np.searchsorted(np.asarray(self.steps.edges[1:-1], dtype=np.int64), steps, side="right")
        alone = len(self.steps) + self.runs[np.minimum(own, self.own.cells - 1)]
        elsewhere = alone if self.alone else np.full(len(own), self.outside_code)
        code = np.where(base_empty, elsewhere, code)
        code = np.where(own == self.own.outside_code, self.outside_code, code)
        return np.where(own == self.own.missing_code, self.cells, code) if self.own.missing else code

    def agreeing(self, own: int) -> NDArray[np.bool_]:
        """Which codes a cell of the column may have in some row, given its code as declared; shape (size,)."""
        codes = np.zeros(self.size, dtype=bool)
        if own < self.own.cells:
            codes[: len(self.steps)] = True
            if self.alone:
                codes[len(self.steps) + self.runs[own]] = True
        else:
            codes[own - self.own.cells + self.cells] = True
        return codes


def derive(columns: Sequence[ColumnBase], constraints: Sequence[Constraint]) -> tuple[Derived, ...]:
    """The columns that constraints let derive from others, in no order.

    A column is derived where no other constraint speaks of it, but of its being empty. Of dates in an `order`, one of
    the narrowest bounds is the base of all others: of those within twice the narrowest one that is never missing, then
    the last, since many rows may end on the day that a table does. Numbers in an order often have such heaps, which
    their distance would hide, and stay as they are unless it says ``derive``.
    """
    known = {column.name: column for column in columns}
    mentions = Counter(name for constraint in constraints for name in _compared(constraint))
    found: dict[str, Derived] = {}
    based: set[str] = set()
    for source, constraint in enumerate(constraints):
        for made in _candidates(constraint, known, source):
            names, base = {d.name for d in made}, {b for d in made for b in d.base}
            if all(mentions[name] == 1 for name in names) and not names & based and not base & found.keys():
                found |= {d.name: d for d in made}
                based |= base
                break
    return tuple(found.values())


def _compared(constraint: Constraint) -> Iterator[str]:
    """The columns of whose values a constraint speaks, not only of their being empty."""
    conditions: list[Conditions] = []
    if isinstance(constraint, Forbid):
        conditions = [constraint.where]
    elif isinstance(constraint, Implies):
        conditions = [constraint.when, constraint.then]
    empty = {name for where in conditions for name, items in where if set(items) == {None}}
    full = {name for where in conditions for name, items in where if set(items) != {None}}
    return (name for name in constraint.columns if name not in empty - full)


def _candidates(constraint: Constraint, known: Mapping[str, ColumnBase], source: int) -> Iterator[list[Derived]]:
    """Ways to derive columns by one constraint, the best first."""
    columns = [known[name] for name in constraint.columns]
    if isinstance(constraint, Total) and constraint.derive is not False:
        total = known[constraint.total]
        if isinstance(total, BinnedBase) and all(isinstance(c, Integer | Float) for c in columns):
            alone = any(known[name].missing for name in constraint.parts)
            yield [_derived(total, constraint.parts, 1, Bins((0, 1)), alone, source)]
    if isinstance(constraint, Order) and constraint.derive is not False:
        kinds = Date | Datetime | Integer | Float if constraint.derive else Date | Datetime
        binned = [c for c in columns if isinstance(c, kinds) and _grid(c) == _grid(columns[0])]
        if len(binned) < len(columns):
            return
        for base in _bases(binned):
            if base.missing and len(binned) > 2:
                continue  # without the base the others would have to be compared with each other
            place = binned.index(base)
            yield [
                _derived(c, (base.name,), sign, _steps(base, c, sign, constraint.strict), base.missing, source)
                for at, c in enumerate(binned)
                if (sign := (at > place) - (at < place))
            ]


def _bases(columns: Sequence[BinnedBase]) -> list[BinnedBase]:
    """Which columns of an order may be the base, the best first."""
    widths = [c.partition.edges[-1] - c.partition.edges[0] for c in columns]
    rank = [(widths[at] > 2 * min(widths), column.missing, -at) for at, column in enumerate(columns)]
    return [columns[at] for at in sorted(range(len(columns)), key=rank.__getitem__)]


def _grid(column: ColumnBase) -> tuple[type, int]:
    """What columns must share to be measured from each other: their kind, and grid units in 1.0."""
    kind = type(column) if isinstance(column, Date | Datetime) else Float
    return kind, column.unit if isinstance(column, Float) else 1


def _derived(own: BinnedBase, base: tuple[str, ...], sign: int, steps: Bins, alone: bool, source: int) -> Derived:
    return Derived(
        name=own.name,
        label=own.label,
        description=own.description,
        missing=own.missing,
        own=own,
        base=base,
        sign=sign,
        steps=steps,
        alone=alone,
        source=source,
    )


def _steps(base: BinnedBase, other: BinnedBase, sign: int, strict: bool) -> Bins:
    """The grid of the distance between two columns: short ones one by one, long ones in cells that widen."""
    first, last = (base, other) if sign > 0 else (other, base)
    most = last.partition.edges[-1] - 1 - first.partition.edges[0]
    log = _HOUR if isinstance(base, Datetime) else _grid(base)[1]
    return grids.numbers(int(strict), max(most, int(strict)), log, ())


__all__ = ["Derived", "derive"]

"""What constraints say about codes: clauses over sets of codes, and comparisons and sums over grid points.

A forbidden combination and an implication are clauses: one of several columns must lie in a set of codes. Orderings and
totals speak of numbers; a code stands for the grid points of its bin, and a combination of codes is *possible* if some
points inside the bins satisfy them. Columns that share a constraint, directly or through others, form a component;
components have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.bins import Bins
from dpsynth.columns import BinnedBase, Boolean, Coded, ColumnBase, Date, Datetime, Float, Integer, Ordinal
from dpsynth.constraints.declared import Conditions, Constraint, Forbid, Implies, Order, Total
from dpsynth.constraints.literals import Mask, edges_of, literal, null_codes
from dpsynth.derived import Derived

Integers = NDArray[np.int64]

_DAY = 86400
_LARGEST = 2**61
"""Beyond this, sums of grid points could leave 64 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """At least one of the columns has a code in its set.

    Attributes:
        columns: the columns, each once.
        allowed: for each column whether a code is in the set, shape (size,).
        source: place of the constraint it comes from.
        derives: whether it only says which cells of a derived column go with an empty base.
    """

    columns: tuple[str, ...]
    allowed: tuple[Mask, ...]
    source: int
    derives: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where neither cell is empty, ``low + gap <= high`` in grid points."""

    low: str
    high: str
    gap: int
    source: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Both columns."""
        return (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Sum:
    """Where no cell is empty, ``total`` is the sum of ``parts`` in grid points."""

    total: str
    parts: tuple[str, ...]
    source: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The total and its parts."""
        return (self.total, *self.parts)


@dataclass(frozen=True, slots=True)
class Bounded:
    """Where no cell is empty, the value of a derived column lies in its bounds: ``low <= parts and signs <= high``.

    Attributes:
        derived: the column; a row in which it is fixed has its value for both bounds.
        parts: its base, and itself for its step.
        signs: 1 or -1 for each part.
        low, high: bounds in grid points.
        source: place of the constraint.
    """

    derived: str
    parts: tuple[str, ...]
    signs: tuple[int, ...]
    low: int
    high: int
    source: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The base, and the column itself."""
        return self.parts


Tie = Comparison | Sum | Bounded


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The numbers a column's codes stand for, in grid units that all columns compared with it share.

    Attributes:
        low, high: the least and greatest grid point of each code, shape (size,); 0 for empty cells.
        null: whether a code is an empty cell, or a derived column's cell without a step, shape (size,).
        step: grid units between neighbouring values of the column.
        bins: draws inside a bin; None where each code is one value.
    """

    low: Integers
    high: Integers
    null: Mask
    step: int
    bins: Bins | None


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """Columns tied together by constraints, and everything that ties them.

    Attributes:
        columns: in schema order.
        sizes: of their code domains.
        ordered: those whose neighbouring codes are neighbouring values.
        nulls: for each column which codes are empty cells.
        outside: for each column its out-of-domain code.
        clauses, comparisons, sums, bounded: the ties.
        grids: of the columns that are compared or added.
        derived: columns encoded relative to others; their grid is that of the step.
    """

    columns: tuple[str, ...]
    sizes: Mapping[str, int]
    ordered: frozenset[str]
    nulls: Mapping[str, Mask]
    outside: Mapping[str, int]
    clauses: tuple[Clause, ...]
    comparisons: tuple[Comparison, ...]
    sums: tuple[Sum, ...]
    bounded: tuple[Bounded, ...]
    grids: Mapping[str, Grid]
    derived: Mapping[str, Derived]

    @property
    def numeric(self) -> tuple[Tie, ...]:
        """Comparisons, sums and bounds."""
        return (*self.comparisons, *self.sums, *self.bounded)

    def meets_clauses(self, codes: Mapping[str, NDArray[Any]]) -> Mask:
        """Which rows satisfy every clause, shape (rows,)."""
        held = np.ones(len(codes[self.columns[0]]), dtype=bool)
        for clause in self.clauses:
            held &= np.logical_or.reduce([a[codes[c]] for c, a in zip(clause.columns, clause.allowed, strict=True)])
        return held


class Rules:
    """All constraints of a schema, read against its columns. Immutable.

    Args:
        columns: of the schema, in order.
        constraints: as declared.
        derived: columns to read as they are encoded, relative to others; constraints must be in canonical form then.

    Raises:
        ValueError: a constraint names a column or a value that is not there, or compares what cannot be compared.
            The message begins with the constraint.
    """

    def __init__(
        self, columns: Sequence[ColumnBase], constraints: Sequence[Constraint], derived: Sequence[Derived] = ()
    ) -> None:
        self.derived: Mapping[str, Derived] = {d.name: d for d in derived}
        self._columns: dict[str, ColumnBase] = {c.name: self.derived.get(c.name, c) for c in columns}
        self.clauses: list[Clause] = []
        self.comparisons: list[Comparison] = []
        self.sums: list[Sum] = []
        self.bounded: list[Bounded] = []
        self.constraints: tuple[Constraint, ...] = tuple(
            self._read(source, constraint) for source, constraint in enumerate(constraints)
        )

    def _read(self, source: int, constraint: Constraint) -> Constraint:
        """Take a constraint in, and give it back in canonical form."""
        from dpsynth.declared import unknown

        for name in constraint.columns:
            if name not in self._columns:
                raise ValueError(f"constraint {constraint.title!r}: {unknown('column', name, self._columns)}")
        problem = ""
        if made := [d for d in self.derived.values() if d.source == source]:
            self._derive(constraint, made)
            return constraint
        try:
            match constraint:
                case Forbid(where=where):
                    literals, where = self._literals(where)
                    self._add(source, [(c, ~mask) for c, mask in literals])
                    return constraint.model_copy(update={"where": where})
                case Implies(when=when, then=then):
                    literals, when = self._literals(when)
                    wanted, then = self._literals(then)
                    for name, mask in wanted:
                        self._add(source, [*((c, ~other) for c, other in literals), (name, mask)])
                    return constraint.model_copy(update={"when": when, "then": then})
                case Order(order=order, strict=strict):
                    self._comparable(order)
                    self.comparisons += [Comparison(a, b, int(strict), source) for a, b in pairwise(order)]
                case Total(total=total, parts=parts):
                    self._summable((total, *parts))
                    self.sums.append(Sum(total, parts, source))
        except ValueError as error:
            problem = str(error)
        if problem:
            raise ValueError(f"constraint {constraint.title!r}: {problem}")
        return constraint

    def _derive(self, constraint: Constraint, made: Sequence[Derived]) -> None:
        """What is left of a constraint by which columns are derived: which cells go together, and bounds."""
        for each in made:
            step = np.arange(each.size) < len(each.steps)
            own = ~step & ~null_codes(each)
            empty = [(name, null_codes(self._columns[name])) for name in each.base]
            for name, null in empty:
                self._add(each.source, [(name, ~null), (each.name, ~step)], derives=True)
            self._add(each.source, [*empty, (each.name, ~own)], derives=True)
            low, high = each.bounds
            signs = (*(1 for _ in each.base), each.sign)
            self.bounded.append(Bounded(each.name, (*each.base, each.name), signs, low, high, each.source))
        if isinstance(constraint, Order):
            places = [self.derived.get(name) for name in constraint.order]
            for a, b in pairwise(places):
                if a is not None and b is not None:
                    inner, outer = (a, b) if b.sign > 0 else (b, a)
                    self.comparisons.append(Comparison(inner.name, outer.name, int(constraint.strict), a.source))

    def _literals(self, conditions: Conditions) -> tuple[list[tuple[str, Mask]], Conditions]:
        places = list(self._columns)
        ordered = sorted(conditions, key=lambda condition: places.index(condition[0]))
        read = [(name, *literal(self._columns[name], items)) for name, items in ordered]
        return [(name, mask) for name, mask, _ in read], tuple((name, items) for name, _, items in read)

    def _add(self, source: int, literals: Iterable[tuple[str, Mask]], *, derives: bool = False) -> None:
        allowed: dict[str, Mask] = {}
        for name, mask in literals:
            allowed[name] = allowed[name] | mask if name in allowed else mask
        if not any(mask.all() for mask in allowed.values()):
            self.clauses.append(Clause(tuple(allowed), tuple(allowed.values()), source, derives))

    def _comparable(self, names: Iterable[str]) -> None:
        columns = [self._columns[name] for name in names]
        values = {column.values if isinstance(column, Ordinal) else None for column in columns}
        if len({_family(column) for column in columns} - {None}) != 1 or None in map(_family, columns):
            kinds = ", ".join(f"{c.name} is {getattr(c, 'type', '?')}" for c in columns)
            raise ValueError(f"numbers compare with numbers, dates with dates, ordinals with ordinals; {kinds}")
        if len(values) != 1:
            raise ValueError("ordinals compare only if they list the same 'values' in the same order")

    def _summable(self, names: Iterable[str]) -> None:
        columns = [self._columns[name] for name in names]
        odd = next((c for c in columns if _family(c) != "number"), None)
        if odd is not None:
            raise ValueError(f"only numbers add up; {odd.name} is {getattr(odd, 'type', '?')}")
        if len({_unit(column) for column in columns}) > 1:
            shown = ", ".join(f"{c.name} has {c.decimals if isinstance(c, Float) else 0}" for c in columns)
            raise ValueError(f"a total and its parts need equal 'decimals' (integers have 0); {shown}")

    def __bool__(self) -> bool:
        return bool(self.constraints)

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """Columns by what ties them together, in schema order."""
        ties: list[Clause | Tie] = [*self.clauses, *self.comparisons, *self.sums, *self.bounded]
        scales = self._scales()
        return tuple(self._component(names, scales) for names in self._connected(tie.columns for tie in ties))

    def _component(self, names: tuple[str, ...], scales: Mapping[str, int]) -> Component:
        columns = {name: self._columns[name] for name in names}
        return Component(
            columns=names,
            sizes={name: column.size for name, column in columns.items()},
            ordered=frozenset(name for name, column in columns.items() if column.ordered),
            nulls={name: null_codes(column) for name, column in columns.items()},
            outside={name: column.outside_code for name, column in columns.items()},
            clauses=tuple(c for c in self.clauses if c.columns[0] in columns),
            comparisons=tuple(c for c in self.comparisons if c.low in columns),
            sums=tuple(s for s in self.sums if s.total in columns),
            bounded=tuple(_scaled(b, scales[b.derived]) for b in self.bounded if b.derived in columns),
            grids={name: _grid(column, scales[name]) for name, column in columns.items() if name in scales},
            derived={name: each for name, each in self.derived.items() if name in columns},
        )

    def _scales(self) -> dict[str, int]:
        """For every compared or added column the common grid units in one of its own."""
        scales: dict[str, int] = {}
        ties: list[Tie] = [*self.comparisons, *self.sums, *self.bounded]
        for names in self._connected(tie.columns for tie in ties):
            columns = [self._columns[name] for name in names]
            finest = max(_unit(column) for column in columns)
            scales |= {column.name: finest // _unit(column) for column in columns}
            reach = sum(int(np.abs(edges_of(column)).max()) * scales[column.name] for column in columns)
            if reach > _LARGEST:
                raise ValueError(
                    f"the columns {', '.join(names)} cannot be compared: their bounds at the finest of their decimals "
                    "need more than 18 digits; give fewer decimals or a narrower range"
                )
        return scales

    def _connected(self, groups: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
        root = {name: name for name in self._columns}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        named: set[str] = set()
        for group in groups:
            named.update(group)
            for name in group[1:]:
                root[find(name)] = find(group[0])
        together: dict[str, list[str]] = {}
        for name in self._columns:
            if name in named:
                together.setdefault(find(name), []).append(name)
        return (tuple(names) for names in together.values())


def _family(column: ColumnBase) -> str | None:
    if isinstance(column, (Integer, Float, Coded, Boolean)):
        return "number"
    if isinstance(column, (Date, Datetime)):
        return "moment"
    return "ordinal" if isinstance(column, Ordinal) else None


def _unit(column: ColumnBase) -> int:
    """Grid units of its own in one day for dates, in 1.0 for numbers."""
    column = column.own if isinstance(column, Derived) else column
    if isinstance(column, Float):
        return column.unit
    return _DAY if isinstance(column, Datetime) else 1


def _scaled(bounded: Bounded, step: int) -> Bounded:
    return replace(bounded, low=bounded.low * step, high=bounded.high * step)


def _grid(column: ColumnBase, step: int) -> Grid:
    edges = edges_of(column)
    cells = len(edges) - 1
    low, high = np.zeros(column.size, dtype=np.int64), np.zeros(column.size, dtype=np.int64)
    low[:cells], high[:cells] = edges[:-1] * step, (edges[1:] - 1) * step
    bins = column.steps if isinstance(column, Derived) else column.partition if isinstance(column, BinnedBase) else None
    return Grid(low, high, np.arange(column.size) >= cells, step, bins)


__all__ = ["Bounded", "Clause", "Comparison", "Component", "Grid", "Integers", "Rules", "Sum", "Tie"]

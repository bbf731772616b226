"""Boxes of numbers: interval reasoning about orderings and sums, and points drawn inside bins that satisfy them.

A row's box gives each compared column an interval. `narrow` shrinks it to what orderings and sums leave (bounds
consistency, Apt 2003, section 7.5). Where no two constraints close a cycle, a box that does not come out empty holds a
solution; where they do it may not, so `place` looks again at what it drew and says which rows it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.literals import Mask
from dpsynth.constraints.rules import Bounded, Comparison, Component, Integers, Sum, Tie

_DRAWS = 12
"""Times a row's points are drawn freely before they are drawn one by one."""
_TRIES = 3


@dataclass(slots=True, eq=False)
class Boxes:
    """One box for every row.

    Attributes:
        component: whose columns they are.
        low, high: for each compared column the interval of each row, shape (rows,); replaced, never written to.
        null: for each compared column whether a row's cell is empty.
        live: for each tie of numbers whether it binds a row, shape (rows,).
        values: for some derived columns the value that each row must keep.
    """

    component: Component
    low: dict[str, Integers]
    high: dict[str, Integers]
    null: dict[str, Mask]
    live: list[Mask]
    values: Mapping[str, Integers]

    @classmethod
    def of(cls, component: Component, codes: Mapping[str, NDArray[Any]], fixed: Mapping[str, Integers]) -> Boxes:
        """The boxes that codes stand for.

        Args:
            component: its columns must all be in `codes`.
            codes: base codes, by column.
            fixed: points (in common grid units) that rows must keep, by column; of a derived column its value.
        """
        low, high, null = {}, {}, {}
        values = {name: at for name, at in fixed.items() if name in component.derived}
        for name, grid in component.grids.items():
            at = codes[name]
            low[name], high[name], null[name] = grid.low[at], grid.high[at], grid.null[at]
            if name in fixed and name not in values:
                low[name] = high[name] = np.where(null[name], 0, fixed[name])
        live = [~np.logical_or.reduce([null[name] for name in tie.columns]) for tie in component.numeric]
        return cls(component, low, high, null, live, values)

    def narrow(self) -> None:
        """Shrink every interval to what the others leave of it, until nothing changes or it has gone on for long."""
        ties = self.component.numeric
        for _ in range(2 * len(ties) + 4):
            changed = False
            for tie, live in zip(ties, self.live, strict=True):
                changed |= self._narrowed(tie, live)
            if not changed:
                return

    def possible(self) -> Mask:
        """Which boxes are not empty, shape (rows,)."""
        held = np.ones(len(self.live[0]), dtype=bool)
        for name in self.low:
            held &= self.low[name] <= self.high[name]
        return held

    def satisfied(self, points: Mapping[str, Integers]) -> Mask:
        """Which rows' points satisfy everything and lie inside their box, shape (rows,)."""
        held = np.ones(len(self.live[0]), dtype=bool)
        for name in self.low:
            held &= self.null[name] | ((self.low[name] <= points[name]) & (points[name] <= self.high[name]))
        for tie, live in zip(self.component.numeric, self.live, strict=True):
            if isinstance(tie, Comparison):
                met = points[tie.low] + tie.gap <= points[tie.high]
            elif isinstance(tie, Sum):
                met = points[tie.total] == _added(points, tie)
            else:
                low, high = self._bounds(tie)
                value = np.add.reduce([s * points[name] for name, s in zip(tie.parts, tie.signs, strict=True)])
                met = (low <= value) & (value <= high)
            held &= ~live | met
        return held

    def _narrowed(self, tie: Tie, live: Mask) -> bool:
        if isinstance(tie, Comparison):
            return self._order(tie, live)
        return self._sum(tie, live) if isinstance(tie, Sum) else self._within(tie, live)

    def _bounds(self, tie: Bounded) -> tuple[Integers, Integers]:
        if tie.derived in self.values:
            return self.values[tie.derived], self.values[tie.derived]
        return np.asarray(tie.low), np.asarray(tie.high)

    def _within(self, tie: Bounded, live: Mask) -> bool:
        low, high = self._bounds(tie)
        signs = dict(zip(tie.parts, tie.signs, strict=True))
        least = {n: self.low[n] if s > 0 else -self.high[n] for n, s in signs.items()}
        most = {n: self.high[n] if s > 0 else -self.low[n] for n, s in signs.items()}
        below, above = np.add.reduce(list(least.values())), np.add.reduce(list(most.values()))
        changed = False
        for name, sign in signs.items():
            floor, ceiling = low - (above - most[name]), high - (below - least[name])
            changed |= self._raise(name, floor if sign > 0 else -ceiling, live)
            changed |= self._lower(name, ceiling if sign > 0 else -floor, live)
        return changed

    def _order(self, tie: Comparison, live: Mask) -> bool:
        raised = self._raise(tie.high, self.low[tie.low] + tie.gap, live)
        return self._lower(tie.low, self.high[tie.high] - tie.gap, live) or raised

    def _sum(self, tie: Sum, live: Mask) -> bool:
        least, most = _added(self.low, tie), _added(self.high, tie)
        changed = self._raise(tie.total, least, live)
        changed |= self._lower(tie.total, most, live)
        for part in tie.parts:
            changed |= self._raise(part, self.low[tie.total] - (most - self.high[part]), live)
            changed |= self._lower(part, self.high[tie.total] - (least - self.low[part]), live)
        return changed

    def _raise(self, name: str, bound: Integers, live: Mask) -> bool:
        step = self.component.grids[name].step
        new = np.where(live, np.maximum(self.low[name], -(-bound // step) * step), self.low[name])
        changed = bool((new != self.low[name]).any())
        self.low[name] = new
        return changed

    def _lower(self, name: str, bound: Integers, live: Mask) -> bool:
        step = self.component.grids[name].step
        new = np.where(live, np.minimum(self.high[name], bound // step * step), self.high[name])
        changed = bool((new != self.high[name]).any())
        self.high[name] = new
        return changed

    def rows(self, which: NDArray[Any]) -> Boxes:
        """The boxes of some rows."""
        return Boxes(
            self.component,
            {n: a[which] for n, a in self.low.items()},
            {n: a[which] for n, a in self.high.items()},
            {n: a[which] for n, a in self.null.items()},
            [a[which] for a in self.live],
            {n: a[which] for n, a in self.values.items()},
        )


def possible(component: Component, codes: Mapping[str, NDArray[Any]], fixed: Mapping[str, Integers]) -> Mask:
    """Which rows' codes satisfy the clauses and leave room for numbers that satisfy the rest, shape (rows,)."""
    held = component.meets_clauses(codes)
    if component.numeric:
        boxes = Boxes.of(component, codes, fixed)
        boxes.narrow()
        held &= boxes.possible()
    return held


def place(
    component: Component,
    codes: Mapping[str, NDArray[Any]],
    fixed: Mapping[str, Integers],
    rng: np.random.Generator,
) -> tuple[dict[str, Integers], Mask]:
    """Points inside every row's bins that satisfy orderings and sums, and which rows have them.

    Points are drawn as if columns were independent, a total as the sum of its parts, and drawn again in the rows
    that break a constraint: the distribution inside the bins is the independent one given the constraints. Rows
    that still break one after `_DRAWS` draws get their points column by column, each evenly from what the columns
    before leave of its bin.

    Returns:
        Points in common grid units by column (anything where a cell is empty), and whether they satisfy everything.
    """
    boxes = Boxes.of(component, codes, fixed)
    points = _free(component, codes, fixed, boxes.null, rng)
    held = boxes.satisfied(points)
    for _ in range(_DRAWS):
        wrong = np.flatnonzero(~held)
        if not len(wrong):
            return points, held
        some = boxes.rows(wrong)
        again = _free(component, _rows(codes, wrong), _rows(fixed, wrong), some.null, rng)
        held[wrong] = some.satisfied(again)
        for name, drawn in again.items():
            points[name][wrong] = drawn
    for _ in range(_TRIES):
        wrong = np.flatnonzero(~held)
        if not len(wrong):
            break
        some = boxes.rows(wrong)
        again = _one_by_one(some.rows(np.arange(len(wrong))), rng)
        held[wrong] = some.satisfied(again)
        for name, drawn in again.items():
            points[name][wrong] = drawn
    return points, held


def with_totals(
    component: Component, codes: Mapping[str, NDArray[Any]], fixed: Mapping[str, Integers], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """The codes with every total that is not fixed moved to the bin of a sum of points drawn from its parts' bins.

    Totals stay where a cell of theirs is empty, and where the sum lies outside the total's bounds.
    """
    null = {name: grid.null[codes[name]] for name, grid in component.grids.items()}
    points, moved = _free(component, codes, fixed, null, rng), dict(codes)
    for tie in component.sums:
        grid = component.grids[tie.total]
        low, high = grid.low[~grid.null], grid.high[~grid.null]
        code = np.maximum(np.searchsorted(low, points[tie.total], side="right") - 1, 0)
        inside = (low[code] <= points[tie.total]) & (points[tie.total] <= high[code]) & ~null[tie.total]
        if tie.total not in fixed:
            moved[tie.total] = np.where(inside, code, codes[tie.total])
    return moved


def _rows(columns: Mapping[str, NDArray[Any]], which: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: cells[which] for name, cells in columns.items()}


def _free(
    component: Component,
    codes: Mapping[str, NDArray[Any]],
    fixed: Mapping[str, Integers],
    null: Mapping[str, Mask],
    rng: np.random.Generator,
) -> dict[str, Integers]:
    points = {}
    for name, grid in component.grids.items():
        if grid.bins is None:
            points[name] = grid.low[codes[name]]
        else:
            points[name] = grid.bins.draw(np.where(null[name], 0, codes[name]).astype(np.int64), rng) * grid.step
        if name in fixed and name not in component.derived:
            points[name] = np.where(null[name], 0, fixed[name])
    for tie in _parts_first(component):
        empty = np.logical_or.reduce([null[name] for name in tie.columns])
        if tie.total not in fixed:
            points[tie.total] = np.where(empty, points[tie.total], _added(points, tie))
    return points


def _added(numbers: Mapping[str, Integers], tie: Sum) -> Integers:
    added = numbers[tie.parts[0]]
    for part in tie.parts[1:]:
        added = added + numbers[part]
    return added


def _parts_first(component: Component) -> list[Sum]:
    """The sums, each after those that make its parts where there is such an order."""
    left, ordered = list(component.sums), list[Sum]()
    while left:
        free = [s for s in left if not any(other.total in s.parts for other in left)] or left[:1]
        ordered += free
        left = [s for s in left if s not in free]
    return ordered


def _one_by_one(boxes: Boxes, rng: np.random.Generator) -> dict[str, Integers]:
    points = {}
    for name, grid in boxes.component.grids.items():
        boxes.narrow()
        room = np.maximum(boxes.high[name] - boxes.low[name], 0) // grid.step
        points[name] = boxes.low[name] + grid.step * rng.integers(0, room + 1)
        boxes.low[name] = boxes.high[name] = points[name]
    return points


__all__ = ["Boxes", "place", "possible", "with_totals"]

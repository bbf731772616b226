"""Drawn rows made to satisfy the constraints, with as little change to them as possible.

Component by component, in the rows that break it, in this order:

1. a derived column is drawn again where its cell is not of the kind that its base asks for (see `aligning`);
2. cells that the model had merged are drawn again inside their merged cells, as long as that can mend the row;
3. its columns are drawn again from the model, given every other column of the row: the model's own conditional
   distribution given the constraints, which leaves the margins of all other columns as they were;
4. where a total still does not fit, it is moved to the sum of its parts as they are drawn again;
5. what these draws did not mend (see `DRAWS`) gets the nearest combination of codes that satisfies it (see `search`),
   which is deterministic and always ends;
6. numbers and dates that are compared or added are drawn inside their bins together (see `boxes`).

Where values are given of a derived column, rows that have nearly those come first (see `values`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.aligning import align
from dpsynth.constraints.boxes import place, possible, with_totals
from dpsynth.constraints.literals import Mask
from dpsynth.constraints.rules import Component, Integers, Rules
from dpsynth.constraints.search import Found, SearchEnded, nearest, upto
from dpsynth.constraints.values import MOST_DRAWN, Resample, Value, draw_near
from dpsynth.domain import Codes

DRAWS = (1, 2, 4, 8, 16, 32)
"""How often a row's columns are drawn again in one go, try by try."""
Spread = Callable[[Codes, np.random.Generator], Codes]
"""The same columns of the same rows, with cells that the model had merged drawn anew inside them."""


class Impossible(ValueError):
    """Columns that are given leave no row that satisfies the constraints. Its text names columns and constraints."""


@dataclass(slots=True)
class Tally:
    """What was done, in rows.

    Attributes:
        broken: rows that broke something as they were drawn (a row counts once for each component).
        redrawn: of those, mended by drawing again.
        repaired: of those, given the nearest combination.
    """

    broken: int = 0
    redrawn: int = 0
    repaired: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Enforced:
    """Rows that satisfy every constraint.

    Attributes:
        codes: base codes by column.
        points: for compared and added columns, the number each cell holds, in the column's own grid units.
        tally: what it took.
    """

    codes: Mapping[str, Integers]
    points: Mapping[str, Integers]
    tally: Tally = field(default_factory=Tally)


def enforce(
    rules: Rules,
    codes: Codes,
    rng: np.random.Generator,
    resample: Resample,
    spread: Spread | None = None,
    fixed: Mapping[str, Integers | None] | None = None,
    values: Mapping[str, Value] | None = None,
) -> Enforced:
    """The rows with every constraint satisfied.

    Args:
        rules: what must hold.
        codes: drawn rows, all columns.
        rng: draws again, and inside bins.
        resample: the model.
        spread: what the model does last, None if it merges no cells.
        fixed: columns that rows must keep, each with the number that every cell stands for in the column's own grid
            units, or None where it is not a number.
        values: derived columns whose values rows must have, although their codes may be others.

    Raises:
        Impossible: the fixed columns leave no row that satisfies the constraints.
    """
    out = {name: np.asarray(column).astype(np.int64) for name, column in codes.items()}
    points: dict[str, Integers] = {}
    tally = Tally()
    fixed, values = fixed or {}, values or {}
    if values:
        draw_near(rules, out, values, fixed, resample, rng)
    for component in rules.components:
        keep = {name: fixed[name] for name in component.columns if name in fixed}
        must = {name: values[name] for name in component.columns if name in values}
        work = _Work(rules, component, out, keep, must, rng, tally)
        work.redraw(resample, spread)
        points |= work.place()
    return Enforced(out, points, tally)


@dataclass(slots=True, eq=False)
class _Work:
    """One component's rows on their way. `codes` is written to."""

    rules: Rules
    component: Component
    codes: dict[str, Integers]
    keep: Mapping[str, Integers | None]
    values: Mapping[str, Value]
    rng: np.random.Generator
    tally: Tally
    fixed: dict[str, Integers] = field(init=False)
    agree: dict[str, Mask] = field(init=False)
    witness: Found | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        grids, derived = self.component.grids, self.component.derived
        self.fixed = {n: p * grids[n].step for n, p in self.keep.items() if p is not None and n in grids}
        self.fixed |= {n: value.points * grids[n].step for n, value in self.values.items()}
        self.agree = {n: np.stack([derived[n].agreeing(c) for c in range(derived[n].own.size)]) for n in self.values}

    def _own(self) -> dict[str, Integers]:
        return {name: self.codes[name] for name in self.component.columns}

    def _possible(self, codes: Codes, rows: Integers) -> Mask:
        held = possible(self.component, codes, {n: at[rows] for n, at in self.fixed.items()})
        for name, value in self.values.items():
            held &= self.agree[name][value.codes[rows], codes[name]]
        return held

    def _broken(self) -> Integers:
        every = np.arange(len(self.codes[self.component.columns[0]]))
        return np.flatnonzero(~self._possible(self._own(), every))

    def redraw(self, resample: Resample, spread: Spread | None) -> None:
        """Draw the component's columns again where they break it, first inside merged cells; then repair."""
        for name, derived in self.component.derived.items():
            if name not in self.keep:
                align(self.component, derived, self.codes, partial(self._one, resample, name), self.rng)
        bad = self._broken()
        self.tally.broken += len(bad)
        free = [name for name in self.component.columns if name not in self.keep]
        rest = [name for name in self.codes if name not in free]
        before = len(bad)
        if spread is not None:
            inside = spread
            bad = self._draw(bad, free, lambda rows: inside({n: self.codes[n][rows] for n in free}, self.rng))
        bad = self._draw(bad, free, lambda rows: resample(len(rows), self.rng, {n: self.codes[n][rows] for n in rest}))
        if any(tie.total in free for tie in self.component.sums):
            bad = self._draw(bad, free, lambda rows: self._with_totals(resample, rest, rows))
        self.tally.redrawn += before - len(bad)
        self._repair(bad)

    def _one(self, resample: Resample, name: str, rows: Integers) -> NDArray[Any]:
        """A column drawn again in some rows, given all others."""
        return resample(len(rows), self.rng, {n: at[rows] for n, at in self.codes.items() if n != name})[name]

    def _with_totals(self, resample: Resample, rest: list[str], rows: Integers) -> Codes:
        drawn = resample(len(rows), self.rng, {n: self.codes[n][rows] for n in rest})
        own = {n: self.codes[n][rows] if n in self.keep else np.asarray(drawn[n]) for n in self.component.columns}
        moved = with_totals(self.component, own, {n: at[rows] for n, at in self.fixed.items()}, self.rng)
        return {n: own[n] if n in self.keep else moved[n] for n in own}

    def _draw(self, bad: Integers, free: list[str], draw: Callable[[Integers], Codes]) -> Integers:
        """Draw the free columns of some rows until they satisfy the component; the rows that never did."""
        for times in DRAWS if free else ():
            if not len(bad):
                break
            times = max(1, min(times, MOST_DRAWN // len(bad)))
            rows = np.repeat(bad, times)
            drawn = draw(rows)
            tried = {n: drawn[n] if n in free else self.codes[n][rows] for n in self.component.columns}
            good = self._possible(tried, rows).reshape(-1, times)
            mended = good.any(axis=1)
            chosen = (np.arange(len(bad)) * times + good.argmax(axis=1))[mended]
            for name in free:
                self.codes[name][bad[mended]] = drawn[name][chosen]
            bad = bad[~mended]
        return bad

    def place(self) -> dict[str, Integers]:
        """Numbers inside the bins, in each column's own grid units."""
        if not self.component.numeric:
            return {}
        placed, held = place(self.component, self._own(), self.fixed, self.rng)
        bad = np.flatnonzero(~held)
        for rows, found in self._repair(bad):
            for name, at in placed.items():
                at[rows] = found.points[name]
        return {name: at // self.component.grids[name].step for name, at in placed.items()}

    def _repair(self, bad: Integers) -> list[tuple[Integers, Found]]:
        """Give rows the nearest combination that satisfies the component; equal rows get the same."""
        if not len(bad):
            return []
        names = self.component.columns
        own = [value.codes[bad] for value in self.values.values()]
        pattern = np.stack([self.codes[n][bad] for n in names] + [at[bad] for at in self.fixed.values()] + own, axis=1)
        distinct, which = np.unique(pattern, axis=0, return_inverse=True)
        done = []
        for place_, row in enumerate(distinct):
            wanted = dict(zip(names, row[: len(names)].tolist(), strict=True))
            at = dict(zip(self.fixed, row[len(names) :].tolist(), strict=False))
            keep = {n: None if n not in at or self._empty(n, wanted[n]) else at[n] for n in self.keep}
            for name, code in zip(self.values, row[len(names) + len(self.fixed) :].tolist(), strict=True):
                each = self.component.derived[name]
                keep[name] = at[name] if code < each.own.cells else None
                wanted[name] = wanted[name] if code < each.own.cells else int(each.agreeing(code).argmax())
            found = self._nearest(wanted, keep)
            rows = bad[which.reshape(-1) == place_]
            for name in names:
                self.codes[name][rows] = found.codes[name]
            done.append((rows, found))
        self.tally.repaired += len(bad)
        return done

    def _empty(self, name: str, code: int) -> bool:
        return bool(self.component.nulls[name][code])

    def _nearest(self, wanted: Mapping[str, int], keep: Mapping[str, int | None]) -> Found:
        none = "can satisfy"
        try:
            found = nearest(self.component, wanted, keep)
        except SearchEnded:
            found, none = None, "was found that satisfies"
            if not keep:  # the row that the schema's own check found
                self.witness = found = self.witness or nearest(self.component)
        if found is None:
            raise Impossible(self._blame(wanted, keep, none))
        return found

    def _blame(self, wanted: Mapping[str, int], keep: Mapping[str, int | None], none: str) -> str:
        sources = sorted({tie.source for tie in (*self.component.clauses, *self.component.numeric)})
        for last in sources:
            try:
                broken = nearest(upto(self.component, last), wanted, keep) is None
            except SearchEnded:
                broken = True
            if broken:
                break
        title = self.rules.constraints[last].title
        alone = "" if last == sources[0] else ", together with the constraints before it"
        return f"with {', '.join(keep)} as given no row {none} the constraint {title!r}{alone}"


__all__ = ["DRAWS", "Enforced", "Impossible", "Resample", "Spread", "Tally", "enforce"]

"""Rows that have given values in derived columns: drawn as a whole, the nearest of several taken and moved there.

A model knows nothing of the sum of two of its columns, so it cannot be conditioned on one. Of several rows drawn
without regard to it, the one that comes nearest is a draw from the model given nearly that value, in all its columns
(rejection sampling where the best of so many is accepted; compare Beaumont, Zhang & Balding 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.aligning import base_empty, grid_points
from dpsynth.constraints.rules import Component, Integers, Rules
from dpsynth.derived import Derived
from dpsynth.domain import Codes

NEAREST_OF = 64
MOST_DRAWN = 400_000
"""Rows drawn in one go."""

Resample = Callable[[int, np.random.Generator, Codes], Codes]
"""Rows from the model given some of their columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What rows must have in a derived column.

    Attributes:
        codes: as the column is declared, not as it is encoded.
        points: in its own grid units, anything where a cell is empty.
    """

    codes: Integers
    points: Integers


def draw_near(
    rules: Rules,
    codes: dict[str, Integers],
    values: Mapping[str, Value],
    kept: Collection[str],
    resample: Resample,
    rng: np.random.Generator,
) -> None:
    """Draw all columns but those kept anew, so that rows have the values of derived columns wherever that can be.

    Args:
        rules: whose components hold the derived columns.
        codes: encoded rows; written to.
        values: by derived column.
        kept: columns to leave as they are.
        resample: the model.
        rng: draws.
    """
    rows, step = len(next(iter(codes.values()))), max(1, MOST_DRAWN // NEAREST_OF)
    for first in range(0, rows, step):
        at = np.arange(first, min(first + step, rows))
        tries = np.repeat(at, NEAREST_OF)
        drawn = resample(len(tries), rng, {name: codes[name][tries] for name in kept})
        found = [
            _Near.of(component, name, drawn, Value(value.codes[tries], value.points[tries]), rng)
            for component in rules.components
            for name, value in values.items()
            if name in component.derived
        ]
        far = np.add.reduce([near.far for near in found]).reshape(len(at), NEAREST_OF)
        chosen = np.arange(len(at)) * NEAREST_OF + far.argmin(axis=1)
        for name in codes:
            if name not in kept:
                codes[name][at] = np.asarray(drawn[name])[chosen]
        for near in found:
            near.move(codes, at, chosen, kept)


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """Rows drawn, and where they are in one derived column.

    Attributes:
        component, derived: whose, and which column.
        points: of it and its base, in common grid units.
        own: the code as declared that the column must have.
        far: distance from the value, as a share of the bounds on the column's scale; 1 if only one cell is empty.
        lacking: grid points from what the base and the step make to the value; 0 where they do not count.
    """

    component: Component
    derived: Derived
    points: Mapping[str, Integers]
    own: Integers
    far: NDArray[np.float64]
    lacking: Integers

    @classmethod
    def of(cls, component: Component, name: str, drawn: Codes, value: Value, rng: np.random.Generator) -> _Near:
        """Rows drawn against what they must have, one value for each."""
        derived, unit = component.derived[name], component.grids[name].step
        code = np.asarray(drawn[name]).astype(np.int64)
        steps, own = code < len(derived.steps), np.clip(code - len(derived.steps), 0, len(derived.rest) - 1)
        points = {n: grid_points(component.grids[n], np.asarray(drawn[n]), rng) for n in (*derived.base, name)}
        total = np.add.reduce([points[base] for base in derived.base]) + derived.sign * points[name]
        at = np.where(steps, total, derived.rest.draw(own, rng) * unit) if derived.alone else total
        far = np.abs(_scaled(derived, at / unit) - _scaled(derived, value.points))
        full, asked = code < derived.cells, value.codes < derived.own.cells
        far = np.where(full & asked, far, np.where(full == asked, 0.0, 1.0))
        far += full & (steps == base_empty(component, derived, drawn))  # the code of a row that cannot be
        lacking = np.where(steps & asked, value.points * unit - total, 0)
        return cls(component, derived, points, value.codes, far, lacking)

    def move(self, codes: dict[str, Integers], rows: Integers, chosen: Integers, kept: Collection[str]) -> None:
        """Make the rows chosen have the value: its own cell, or the base (of several the largest) moved."""
        name, steps = self.derived.name, len(self.derived.steps)
        code, lacking = codes[name][rows], self.lacking[chosen]
        alone = (code >= steps) & (code < self.derived.cells)
        own = np.minimum(self.own[chosen[alone]], self.derived.own.cells - 1)
        codes[name][rows[alone]] = steps + self.derived.runs[own]
        free = [base for base in self.derived.base if base not in kept]
        sizes = np.stack([np.abs(self.points[base][chosen]) for base in free])
        for place, base in enumerate(free):
            moved = (lacking != 0) & (sizes.argmax(axis=0) == place)
            grid = self.component.grids[base]
            at = self.points[base][chosen[moved]] + lacking[moved]
            codes[base][rows[moved]] = np.maximum(np.searchsorted(grid.low[~grid.null], at, side="right") - 1, 0)


def _scaled(derived: Derived, points: NDArray[Any]) -> NDArray[np.float64]:
    """Where values lie between the bounds of the column as declared, on its scale: 0 to 1."""
    bins = derived.own.partition
    at = np.interp(points, bins.edges, bins.positions)
    return np.asarray((at - bins.positions[0]) / (bins.positions[-1] - bins.positions[0]))


__all__ = ["MOST_DRAWN", "Resample", "Value", "draw_near"]

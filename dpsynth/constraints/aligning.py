"""Derived columns brought in line with their base: a step, or a cell of their own where a base cell is empty.

Which of the two a row has follows from its base, so it is the derived column that gives way: what was counted of
the base stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.literals import Mask
from dpsynth.constraints.rules import Component, Grid, Integers
from dpsynth.derived import Derived
from dpsynth.domain import Codes

TRIES = (1, 4, 16)
"""How often a code is drawn again in one go, try by try."""


def base_empty(component: Component, derived: Derived, codes: Codes) -> Mask:
    """Whether a base cell of each row is empty, shape (rows,)."""
    return np.asarray(np.logical_or.reduce([component.nulls[base][codes[base]] for base in derived.base]))


def align(
    component: Component,
    derived: Derived,
    codes: dict[str, Integers],
    redrawn: Callable[[Integers], NDArray[Any]],
    rng: np.random.Generator,
) -> None:
    """Draw the codes of a derived column again where they are not of the kind that their row's base asks for.

    Where the model has next to none of that kind, the step is taken from another row, and so is the value of a cell
    of its own: if the counts say nothing of rows with an empty base cell, they are like the others.

    Args:
        component: of the column.
        derived: the column.
        codes: encoded rows; that column is written to.
        redrawn: its codes from the model for some rows, given all other columns.
        rng: draws.
    """
    name, steps, unit = derived.name, len(derived.steps), component.grids[derived.name].step
    empty, code = base_empty(component, derived, codes), codes[name]
    code[(code < steps) & empty & (not derived.alone)] = derived.outside_code
    code[(code >= steps) & (code < derived.cells) & ~empty & (steps == 1)] = 0
    bad = np.flatnonzero((code < derived.cells) & ((code < steps) == empty))
    for times in TRIES:
        if not len(bad):
            return
        tried = np.asarray(redrawn(np.repeat(bad, times))).reshape(len(bad), times)
        good = (tried < derived.cells) & ((tried >= steps) == empty[bad][:, None])
        mended = good.any(axis=1)
        code[bad[mended]] = tried[mended, good[mended].argmax(axis=1)]
        bad = bad[~mended]
    others = np.flatnonzero((code < steps) & ~empty)
    if not len(others) or not len(bad):
        return
    like = rng.choice(others, len(bad))
    points = [sign * grid_points(component.grids[n], codes[n][like], rng) for n, sign in _summands(derived)]
    value = np.clip(np.add.reduce(points) // unit, *derived.bounds)
    own = np.searchsorted(np.asarray(derived.rest.edges[1:-1]), value, side="right")
    code[bad] = np.where(empty[bad], steps + own, code[like])


def grid_points(grid: Grid, codes: NDArray[Any], rng: np.random.Generator) -> Integers:
    """A grid point inside each code's bin, in common units; 0 for empty cells."""
    null = grid.null[codes]
    if grid.bins is None:
        return np.asarray(grid.low[codes])
    drawn = grid.bins.draw(np.where(null, 0, codes).astype(np.int64), rng) * grid.step
    return np.asarray(np.where(null, 0, drawn))


def _summands(derived: Derived) -> list[tuple[str, int]]:
    return [*((base, 1) for base in derived.base), (derived.name, derived.sign)]


__all__ = ["align", "base_empty", "grid_points"]

"""Fine public grids: the cells of a column with ``bins: auto``, from what its schema says and nothing else.

The grid is finer than what a release can tell apart. It is counted once, with noise, and its cells are merged into bins
by those noisy counts (`dpsynth.generators.binning`). Cells end at round numbers and at the turns of the calendar, and
values that people or files put in place of many others (the bounds, zero, the first day of a month) have a cell each.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dpsynth.bins import Bins

MOST_CELLS = 128
"""Most cells of a column of numbers, the atoms not counted; up to this many grid points each has one of its own.

Finer grids drown in noise where budget and rows are few, and gained nothing measurable where they are not
(experiments/README.md)."""

MOST_TURNS = 256
"""Most cells of a calendar: the days alone are half of them, and mostly empty or heavy."""

_ROUND = (1, 2, 5)
_DAYS_OF_A_MONTH = ((1, 2, 8, 15, 22), (1, 2, 16), (1, 2))
"""Where cells start within a month, from fine to coarse; the first day is always alone."""
_MONTHS_OF_A_YEAR = (1, 4, 7, 10)
_DAY = 86400
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, _DAY)
"""Widths of a cell in seconds that divide a day."""


def numbers(low: int, high: int, log: int | None, atoms: Iterable[int]) -> Bins:
    """The fine grid over ``low..high``: a cell a point, or cells of a round width, or cells even in the logarithm.

    Both bounds, zero and the `atoms` have cells of their own.

    Args:
        low, high: the bounds, in grid units.
        log: grid units per 1.0 for a logarithmic scale, None for a linear one.
        atoms: further points with a cell of their own; those beyond the bounds are left out.
    """
    if high - low < MOST_CELLS:
        return Bins(tuple(range(low, high + 2)), log)
    if log is None:
        edges = _even(low, high, next(s for s in _round_steps() if high // s - low // s < MOST_CELLS))
    else:
        edges = set(Bins.logarithmic(low, high, MOST_CELLS, log).edges)
    return _with_atoms(edges, low, high, log, (low, 0, high, *atoms))


def days(low: int, high: int, atoms: Iterable[int]) -> Bins:
    """The fine grid over days since 1970-01-01: days; or parts of a month, quarter or year, its first day alone."""
    if high - low < MOST_CELLS:
        return Bins(tuple(range(low, high + 2)))
    for starts in _calendars(low, high):
        edges = {low, high + 1, *(int(day) for day in starts if low < day <= high)}
        if len(edges) <= MOST_TURNS:
            return _with_atoms(edges, low, high, None, (low, high, *atoms))
    return numbers(low, high, None, atoms)


def moments(low: int, high: int, atoms: Iterable[int]) -> Bins:
    """The fine grid over seconds since 1970-01-01: steps that divide a day, beyond those the grid of the days."""
    for step in _STEPS:
        if high // step - low // step < MOST_CELLS:
            return _with_atoms(_even(low, high, step), low, high, None, (low, high, *atoms))
    edges = {day * _DAY for day in days(low // _DAY, high // _DAY, ()).edges}
    return _with_atoms({low, high + 1, *(e for e in edges if low < e <= high)}, low, high, None, (low, high, *atoms))


def _round_steps() -> Iterable[int]:
    power = 1
    while True:
        yield from (each * power for each in _ROUND)
        power *= 10


def _even(low: int, high: int, step: int) -> set[int]:
    return {low, high + 1, *range(-(-low // step) * step, high + 1, step)}


def _with_atoms(edges: set[int], low: int, high: int, log: int | None, atoms: Iterable[int]) -> Bins:
    inside = {atom for atom in atoms if low <= atom <= high}
    return Bins(tuple(sorted(edges | inside | {atom + 1 for atom in inside})), log)


def _calendars(low: int, high: int) -> Iterable[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """First days of cells, from fine to coarse: within months, quarters, years."""
    first, last = (np.datetime64(day, "D") for day in (low, high))
    months = np.arange(first.astype("M8[M]"), last.astype("M8[M]") + 1).astype("M8[D]").astype(np.int64)
    for starts in _DAYS_OF_A_MONTH:
        yield np.concatenate([months + day - 1 for day in starts])
    month = months.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12 + 1
    quarters, years = months[np.isin(month, _MONTHS_OF_A_YEAR)], months[month == 1]
    yield np.concatenate([quarters, quarters + 1])
    yield np.concatenate([quarters, years + 1])
    yield np.concatenate([years, years + 1])


__all__ = ["MOST_CELLS", "MOST_TURNS", "days", "moments", "numbers"]

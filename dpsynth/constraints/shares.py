"""How much of each combination of codes satisfies a constraint: what a model multiplies its probabilities by.

A clause holds in all of a combination or in none of it. An ordering or a total may hold in part: the share is that of
points drawn independently inside the bins, so that a model under these weights is the model of independent
points given the constraint.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.rules import Bounded, Comparison, Component, Grid, Integers, Tie

Shares = NDArray[np.float64]

MOST_CELLS = 2_000_000
"""Of a table; larger ones are left to sampling."""
_POINTS = 64
"""Points drawn inside each bin."""
_LEAST = 0.25 / _POINTS
"""The share of a combination that is possible although no point drawn satisfied it."""


def share(component: Component, tie: Tie) -> Shares | None:
    """The share of each combination of base codes that satisfies a tie, axes as its columns; 1 where a cell is empty.

    Returns:
        None if the table would have more than `MOST_CELLS` cells.
    """
    grids = [component.grids[name] for name in tie.columns]
    if prod(len(grid.low) for grid in grids) > MOST_CELLS:
        return None
    if isinstance(tie, Bounded):
        return _bounded(tie, grids)
    return _compared(tie, *grids) if isinstance(tie, Comparison) else _added(grids)


def _points(grid: Grid) -> Integers:
    """Points of each cell that is not empty, shape (cells, points); always the same ones."""
    codes = np.flatnonzero(~grid.null)
    if grid.bins is None:
        return np.repeat(grid.low[codes][:, None], _POINTS, axis=1)
    drawn = grid.bins.draw(np.repeat(codes, _POINTS).astype(np.int64), np.random.default_rng(0))
    return drawn.reshape(len(codes), _POINTS) * grid.step


def _compared(tie: Comparison, low: Grid, high: Grid) -> Shares:
    surely = low.high[:, None] + tie.gap <= high.low[None, :]
    never = low.low[:, None] + tie.gap > high.high[None, :]
    table = np.where(never, 0.0, 1.0)
    ours, theirs = _points(low), _points(high)
    full = ~low.null[:, None] & ~high.null[None, :]
    for a, b in np.argwhere(full & ~surely & ~never):
        table[a, b] = max(float((ours[a][:, None] + tie.gap <= theirs[b][None, :]).mean()), _LEAST)
    return np.where(full, table, 1.0)


def _added(grids: list[Grid]) -> Shares:
    total, parts = grids[0], grids[1:]
    rng = np.random.default_rng(1)
    cells = [int((~grid.null).sum()) for grid in parts]
    added = np.zeros((1, _POINTS), dtype=np.int64)
    low = high = np.zeros(1, dtype=np.int64)
    for grid, count in zip(parts, cells, strict=True):
        mine = rng.permuted(_points(grid), axis=1)
        added = (added[:, None, :] + mine[None, :, :]).reshape(-1, _POINTS)
        low = (low[:, None] + grid.low[None, :count]).ravel()
        high = (high[:, None] + grid.high[None, :count]).ravel()
    kept = int((~total.null).sum())
    table = np.zeros((kept, len(added)))
    code = np.searchsorted(total.low[:kept], added, side="right") - 1
    inside = (code >= 0) & (added <= total.high[np.maximum(code, 0)])
    row = np.broadcast_to(np.arange(len(added))[:, None], code.shape)
    np.add.at(table, (code[inside], row[inside]), 1.0 / _POINTS)
    reach = (low[None, :] <= total.high[:kept, None]) & (high[None, :] >= total.low[:kept, None])
    table = np.where(reach, np.maximum(table, _LEAST), 0.0).reshape(kept, *cells)
    whole = np.ones([len(grid.low) for grid in grids])
    whole[tuple(slice(0, n) for n in table.shape)] = table
    return whole


def _bounded(tie: Bounded, grids: list[Grid]) -> Shares:
    least = most = np.zeros(())
    empty = np.zeros((), dtype=bool)
    for grid, sign in zip(grids, tie.signs, strict=True):
        least = np.add.outer(least, grid.low if sign > 0 else -grid.high)
        most = np.add.outer(most, grid.high if sign > 0 else -grid.low)
        empty = np.logical_or.outer(empty, grid.null)
    table = np.where((most < tie.low) | (least > tie.high), 0.0, 1.0)
    rng = np.random.default_rng(1)
    drawn = [rng.permuted(_points(grid), axis=1) * sign for grid, sign in zip(grids, tie.signs, strict=True)]
    for cell in np.argwhere(~empty & (table > 0) & ((least < tie.low) | (most > tie.high))):
        value = np.add.reduce([points[code] for points, code in zip(drawn, cell, strict=True)])
        table[tuple(cell)] = max(float(((tie.low <= value) & (value <= tie.high)).mean()), _LEAST)
    return np.where(empty, 1.0, table)


__all__ = ["MOST_CELLS", "Shares", "share"]

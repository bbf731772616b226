"""Heaped columns: one value in most rows, and a few rows far apart that may say most (gains, losses, costs).

So few rows drown in a look at all columns. Their fine grids are looked at once more, alone, and together with the
column that is to be predicted: their bins then follow where rows are and what they say of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt

import numpy as np

from dpsynth.generators.binning import MOST_BINS, Binning, constant_runs, weights_within
from dpsynth.graphical import Measurement
from dpsynth.graphical.factor import Array

_MOST = 0.5
"""Share of a column's noisy counts that one cell of its grid holds, beyond which it is heaped."""
_PIECE = 1.25
"""Price of a piece of constant density, in logarithms of the number of cells; and one in that of the classes."""


def heaped(one_ways: Sequence[Measurement], fine: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Columns on fine grids with more than half of their noisy counts in one cell."""
    found = []
    for one_way in one_ways:
        (attribute,) = one_way.clique
        if attribute in fine:
            inside = one_way.values[: len(fine[attribute]) - 1]
            if inside.max() > _MOST * one_way.values.sum():
                found.append(attribute)
    return tuple(found)


def rebinned(
    counts: Array, sigma: float, one_way: Array, variance: Array, positions: Array, threshold: float
) -> Binning:
    """Bins of a heaped column's cells, by how many rows they hold and of which class.

    The counts are cut into runs in which every class has a constant density (`constant_runs`): channels are the sum
    over the classes, where the earlier counts say more, and contrasts between them. A run of less than its noise is
    empty. One of less than `threshold` standard deviations is joined to the neighbour whose rows are of likest classes.

    Args:
        counts: noisy counts of the grid's cells by class, shape (m, classes).
        sigma: standard deviation of their noise.
        one_way: earlier noisy counts of the cells, shape (m,).
        variance: of their noise, shape (m,).
        positions: where the cells start and end, shape (m + 1,), increasing.
        threshold: what a bin must hold at least, in standard deviations of the noise of a cell.
    """
    cells, classes = counts.shape
    widths = np.diff(positions)
    channels = _turned(counts)
    own = classes * sigma**2
    noise = 1.0 / (1.0 / own + 1.0 / variance)  # of a cell's sum
    channels[:, 0] = (counts.sum(axis=1) / own + one_way / variance) * noise / sqrt(classes)
    variances = np.full(counts.shape, sigma**2)
    variances[:, 0] = noise / classes
    price = _PIECE * log(max(cells, 2)) + log(classes)
    held = _turned(channels)
    runs, rows = constant_runs(channels, variances, widths / widths.mean(), price), np.zeros(counts.shape)
    for run in runs:
        if held[run].sum() > sqrt(noise[run].sum()):
            share = widths[run] / widths[run].sum()
            rows[run] = np.outer(share, np.maximum(held[run].sum(axis=0), 0.0))
    codes = _joined(rows, runs, threshold * sqrt(float(noise.mean())))
    return Binning(codes, rows.sum(axis=1), weights_within(rows.sum(axis=1), codes, widths))


def _turned(counts: Array) -> Array:
    """Counts by class as channels: their sum over the root of their number, and contrasts. Orthogonal, its own inverse.

    The reflection that takes the first axis to the diagonal (Householder 1958).
    """
    classes = counts.shape[1]
    normal = np.full(classes, -1.0 / sqrt(classes))
    normal[0] += 1.0
    turned: Array = counts - np.outer(counts @ normal, normal) * (2.0 / max(float(normal @ normal), 1e-300))
    return turned


def _joined(rows: Array, runs: Sequence[slice], least: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The bin of each cell: runs, the smallest joined to a neighbour until each holds `least` rows.

    At most `MOST_BINS`, so that how large they make a model is known before they are looked at.
    """
    starts = [run.start for run in runs]
    held = [rows[run].sum(axis=0) for run in runs]
    everything = rows.sum()
    while len(held) > 1:
        sizes = [float(each.sum()) for each in held]
        small = int(np.argmin(sizes))
        if sizes[small] >= least and len(held) <= MOST_BINS:
            break
        near = [i for i in (small - 1, small + 1) if 0 <= i < len(held)]
        near = [i for i in near if sizes[i] <= _MOST * everything] or near  # the heap stays alone if it can
        if sizes[small] > 0.0:
            own = held[small] / sizes[small]
            into = min(near, key=lambda i: float(np.abs(held[i] / max(sizes[i], 1e-12) - own).sum()))
        else:
            into = min(near, key=lambda i: sizes[i])
        held[into] = held[into] + held[small]
        del held[small], starts[max(small, into)]
    codes = np.zeros(len(rows), dtype=np.int64)
    codes[starts[1:]] = 1
    return np.cumsum(codes)


__all__ = ["heaped", "rebinned"]

"""A row of cells cut into runs so that least is lost, for one run, two runs, and so on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dpsynth.graphical.factor import Array


def partitions(lost: Array) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """The best partition into ``1, 2, ...`` runs: what it loses, and the run of each cell (Fisher 1958).

    Dynamic programming; each further number of runs costs one pass over `lost`, when it is asked for.

    Args:
        lost: what the run of cells ``a..b-1`` loses, at ``[a, b]``, infinite unless ``a < b``; shape (m + 1, m + 1).
    """
    cells, best = len(lost) - 1, lost[0]
    starts: list[NDArray[np.intp]] = []
    for _ in range(cells):
        yield float(best[cells]), _runs(starts, cells)
        through = best[:, None] + lost
        starts.append(np.argmin(through, axis=0))
        best = np.take_along_axis(through, starts[-1][None, :], axis=0)[0]


def _runs(starts: list[NDArray[np.intp]], cells: int) -> NDArray[np.int64]:
    """The run of each cell, from where the last run of every best partition begins."""
    first = np.zeros(cells, dtype=np.int64)
    end = cells
    for found in reversed(starts):
        end = int(found[end])
        first[end] = 1
    first[0] = 0
    return np.cumsum(first)


__all__ = ["partitions"]

"""Whole rows from weighted ones, chosen so that their marginals come out as the weights have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dpsynth.graphical.factor import Array

Integers = NDArray[np.int64]

_BATCH = 2**12
"""Rows, and particles, looked at in one sweep."""
_SWEEPS = 400
"""Most sweeps."""
_PATIENCE = 25
"""Sweeps without a better exchange, at the finest batch, after which the search ends."""
_FEWEST = 1
"""Exchanges of the finest batch: one alone cannot overshoot."""


def herded(weights: Array, cells: Sequence[NDArray[np.int32]], rows: int, rng: np.random.Generator) -> Integers:
    """`rows` indices of particles whose counts in every listed marginal are close to what the weights expect.

    Independent draws would put the sampling error of fresh rows on top of what the weights carry; at 50,000 rows
    that is as much as noise at epsilon 10. Here a systematic sample (Madow 1949) is improved by exchanging
    rows for particles, a batch at a time, that lower the sum of squared differences over expectations, the
    idea of herding (Welling 2009) with the weights as the distribution that particles are proposed from. An exchange
    that does not lower it is undone, and the batch halved.

    Args:
        weights: of the particles, non-negative, summing to 1, shape (particles,).
        cells: for each marginal the cell of every particle.
        rows: how many, at least 1.
        rng: drives everything.

    Returns:
        Indices in random order, shape (rows,).
    """
    running = np.cumsum(weights)
    edges = np.floor(running / running[-1] * rows + rng.random()).astype(np.int64)
    edges[-1] = rows
    chosen = rng.permutation(np.repeat(np.arange(len(weights)), np.diff(np.minimum(edges, rows), prepend=0)))
    if not cells:
        return chosen
    sizes = [int(c.max()) + 1 for c in cells]
    offsets = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
    index = np.stack([c + o for c, o in zip(cells, offsets, strict=True)], axis=1)  # (particles, marginals)
    target = np.concatenate([np.bincount(c, weights, minlength=s) for c, s in zip(cells, sizes, strict=True)]) * rows
    scale = 1.0 / (target + 1.0)
    excess = np.zeros(len(target))
    for first in range(0, rows, _BATCH):
        excess += np.bincount(index[chosen[first : first + _BATCH]].ravel(), minlength=len(target))
    excess -= target
    looked = min(rows, _BATCH)
    batch, idle = max(looked // 8, 1), 0
    for _ in range(_SWEEPS):
        places = rng.choice(rows, looked, replace=False)
        pool = np.searchsorted(running, rng.random(looked) * running[-1], side="right")
        pool = np.minimum(pool, len(weights) - 1)
        leaving, coming = index[chosen[places]], index[pool]
        pull = 2.0 * excess * scale
        gain_out = (pull - scale)[leaving].sum(axis=1)
        gain_in = (-pull - scale)[coming].sum(axis=1)
        out = _largest(gain_out, batch)
        into = _largest(gain_in, batch)
        better = gain_out[out] + gain_in[into] > 0
        out, into = out[better], into[better]
        moved = np.bincount(coming[into].ravel(), minlength=len(target)) - np.bincount(
            leaving[out].ravel(), minlength=len(target)
        )
        if float((moved * (2.0 * excess + moved)) @ scale) < 0:
            chosen[places[out]] = pool[into]
            excess += moved
            idle = 0
        elif batch > _FEWEST:
            batch = max(batch // 2, _FEWEST)
        else:
            idle += 1
            if idle > _PATIENCE:
                break
    return chosen


def _largest(values: Array, count: int) -> NDArray[np.intp]:
    """The places of the largest values, largest first."""
    found = np.argpartition(values, -count)[-count:]
    return found[np.argsort(-values[found])]


__all__ = ["herded"]

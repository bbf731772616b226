"""Adaptive bins: one noisy fine histogram denoised, and its cells merged where merging loses least.

Everything here is a function of noisy counts, of the noise they carry and of the public grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from dpsynth.generators.partition import partitions
from dpsynth.graphical.factor import Array

MOST_BINS = 64
_PIECE = 1.25
"""Price of a piece of the denoised histogram, in logarithms of the number of cells."""
_EMPTY = 1.0
"""Standard deviations of its noise that a piece must hold; otherwise it is taken to be empty."""
_NOISE = 0.7
"""Weight of the noise against the loss. By the distances alone it would be 0.4 (half the mean absolute value of a
normal); where several margins of a column compete for the budget fewer bins did better (experiments/README.md)."""
_NEGLIGIBLE = 1e-9
"""Share of the rows that counts as none."""


@dataclass(frozen=True, slots=True, eq=False)
class Binning:
    """The cells ``0..m-1`` of a fine grid as runs of neighbours.

    Attributes:
        codes: the bin of each cell, rising from 0 in steps of one.
        mass: expected rows in each cell, non-negative and denoised; all zero where nothing stood out of the noise.
        weights: probability of each cell given its bin.
    """

    codes: NDArray[np.int64]
    mass: Array
    weights: Array

    @property
    def held(self) -> Array:
        """Expected rows in each bin."""
        return np.bincount(self.codes, self.mass).astype(np.float64)

    @property
    def smallest(self) -> int:
        """The bin with the fewest rows."""
        return int(np.argmin(self.held))


def binned(
    noisy: Array,
    sigma: Array,
    positions: Array,
    total: float,
    threshold: float,
    inside: tuple[float, float] | None = None,
) -> Binning:
    """Bins for one fine histogram.

    The histogram is denoised (`denoise`); then the number of bins ``B`` and their ends minimise

        ``sqrt(loss) + 0.7 * B^2 * sigma / total``:

    the share of the column's spread that bins hide, as a distance, and the noise that a margin of this column with
    another one of as many bins would carry, were it measured like this one. For an even distribution ``loss`` is
    ``1 / B^2`` and ``B`` comes out as ``(total / (1.4 sigma))^(1/3)``: more rows or budget, more bins. The loss is
    the mean of the shares of variance within the bins, once of the values (on the column's scale) and once of
    their ranks, so that bins follow both where values lie and where rows are; a single value with much of the mass
    gets a bin of its own, since its neighbours are far from it in rank. A bin holds at least `threshold` sigma.

    Args:
        noisy: noisy counts, shape (m,).
        sigma: standard deviations of their noise, shape (m,).
        positions: where the cells start and end, shape (m + 1,), increasing.
        total: estimated number of rows, positive.
        threshold: what a bin must hold at least, in standard deviations of the noise of a cell.
        inside: see `denoise`.
    """
    mass = denoise(noisy, sigma, np.diff(positions), inside)
    codes = _merge(mass, positions, float(np.sqrt(np.mean(sigma**2))), total, threshold)
    return Binning(codes, mass, weights_within(mass, codes, np.diff(positions)))


def denoise(noisy: Array, sigma: Array, widths: Array, inside: tuple[float, float] | None = None) -> Array:
    """Expected counts: the best piecewise constant density, non-negative.

    Minimises ``sum_i (y_i - h_i w_i)^2 / sigma_i^2 + 1.25 log(m) * pieces`` over densities ``h`` that are constant
    on runs of cells, exactly, by dynamic programming (the Potts functional; with sigma known this is Schwarz's
    criterion for change points, Yao 1988). A piece's mass is the sum of its counts, or nothing where that is less
    than its noise; with `inside` all masses together are what is known of them (`_told`). So a stretch without a
    signal is flat, and a single value stays where it stands out.

    Args:
        noisy: noisy counts, shape (m,).
        sigma: standard deviations of their noise, shape (m,).
        widths: of the cells on the column's scale, shape (m,).
        inside: noisy rows of all cells and the variance of that; None where nothing is known.
    """
    mass, widths = np.zeros(len(noisy)), widths / widths.mean()
    pieces = constant_runs(noisy[:, None], sigma[:, None] ** 2, widths, _PIECE * log(max(len(noisy), 2)))
    held = np.array([float(noisy[piece].sum()) for piece in pieces])
    variance = np.array([float(np.sum(sigma[piece] ** 2)) for piece in pieces])
    for piece, rows in zip(pieces, _told(held, variance, inside), strict=True):
        mass[piece] = rows * widths[piece] / widths[piece].sum()
    return mass


def constant_runs(noisy: Array, variance: Array, widths: Array, price: float) -> list[slice]:
    """Runs of cells in which every channel's density is constant: the least squares by variance, plus `price` a run.

    Args:
        noisy: noisy counts, shape (m, channels).
        variance: of their noise, broadcastable to that.
        widths: of the cells, shape (m,).
        price: of a run.
    """
    cells = len(noisy)
    variance = np.broadcast_to(variance, noisy.shape)
    fitted = _sums(widths[:, None] * noisy / variance)
    own = np.square(widths)[:, None] / variance
    norm = _sums(own)
    squares = _sums((np.square(noisy) / variance).sum(axis=1))
    best, start = np.zeros(cells + 1), np.zeros(cells + 1, dtype=np.int64)
    for end in range(1, cells + 1):
        # Differences of running sums lose cells far narrower than the others: a run holds its last cell at least.
        held = np.maximum(norm[end] - norm[:end], own[end - 1])
        explained = (np.square(fitted[end] - fitted[:end]) / held).sum(axis=1)
        cost = best[:end] + np.maximum(squares[end] - squares[:end] - explained, 0.0)
        start[end] = int(np.argmin(cost))
        best[end] = cost[start[end]] + price
    ends = [cells]
    while ends[-1]:
        ends.append(int(start[ends[-1]]))
    return [slice(first, beyond) for beyond, first in pairwise(ends)][::-1]


def _told(held: Array, variance: Array, inside: tuple[float, float] | None) -> Array:
    """Rows of each piece: nothing where that is less than its noise, and together what is known of all.

    A long stretch has much noise, but all rows less those of the rest have little: generalised least squares under the
    noisy sum. What holds less than its noise then is dropped, the least first, and its rows are the others'.

    Args:
        held, variance: noisy rows of each piece, and the variance of their noise.
        inside: noisy rows of all pieces and its variance; None where nothing is known.
    """
    kept = np.ones(len(held), dtype=bool)
    while kept.any():
        rows, noise = np.where(kept, held, 0.0), np.where(kept, variance, 0.0)
        if inside is not None:
            gain = noise / (noise.sum() + inside[1])
            rows, noise = rows + gain * (inside[0] - rows.sum()), noise * (1.0 - gain)
        least = np.where(kept, rows - _EMPTY * np.sqrt(noise), np.inf)
        signal = np.where(kept, rows / np.sqrt(np.maximum(noise, 1e-12)), np.inf)
        if least.min() > 0.0:
            return rows
        kept[int(np.argmin(signal))] = False
    return np.zeros(len(held))


def _merge(mass: Array, positions: Array, sigma: float, total: float, threshold: float) -> NDArray[np.int64]:
    """The bin of each cell: the runs of least loss for every number of bins, then the best number."""
    cells, held, noise = len(mass), float(mass.sum()), sigma / total
    if held == 0.0:
        return np.zeros(cells, dtype=np.int64)
    lost = _lost(mass / held, positions, threshold * sigma / held)
    found, least = np.zeros(cells, dtype=np.int64), np.inf
    for bins, (loss, codes) in enumerate(islice(partitions(lost), MOST_BINS), start=1):
        price = _NOISE * bins**2 * noise
        if price >= least:
            break
        score = sqrt(loss) + price
        if score < least:
            found, least = codes, score
    return found


def _lost(share: Array, positions: Array, least: float) -> Array:
    """What a bin of the cells ``a..b-1`` hides, at ``[a, b]``: its part of the variance, infinite if it is too small.

    The mean over the values and their ranks; shape (m + 1, m + 1).
    """
    cells = len(share)
    held = np.subtract.outer(_sums(share), _sums(share)).T
    lost = np.zeros((cells + 1, cells + 1))
    for place in ((positions[1:] + positions[:-1]) / 2, np.cumsum(share) - share / 2):
        centred = place - float(share @ place)
        spread = float(share @ centred**2)
        if spread > 0.0:
            first, second = _sums(share * centred), _sums(share * centred**2)
            moments = np.square(np.subtract.outer(first, first).T)
            within = np.subtract.outer(second, second).T - moments / np.maximum(held, _NEGLIGIBLE)
            lost += np.maximum(within, 0.0) / (2 * spread)
    lost[held < least] = np.inf
    lost[np.tril_indices(cells + 1)] = np.inf
    lost[0, cells] = min(lost[0, cells], 1.0)  # one bin is always allowed
    return lost


def weights_within(mass: Array, codes: NDArray[np.int64], widths: Array) -> Array:
    """Mass within each bin; by width where a bin holds none."""
    held = np.bincount(codes, mass)
    given = np.where(held[codes] > 0, mass, widths)
    share: Array = given / np.bincount(codes, given)[codes]
    return share


def _sums(values: Array) -> Array:
    """Running sums along the first axis, from nothing."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


__all__ = ["MOST_BINS", "Binning", "binned", "constant_runs", "denoise", "weights_within"]

"""Runs of grid points: how a number or a date is cut into cells, and how a point is drawn inside one.

Everything here counts in whole *grid units*: 1 for an integer, ``10**-decimals`` for a float, a day for a
date, a second for a datetime. On a grid "inside the bin", "inside the bounds" and "at the declared decimals"
are exact statements about integers, so that encoding a drawn point always gives its bin back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, expm1, log, log1p

import numpy as np
from numpy.typing import NDArray

_DIGITS = 3
"""Significant digits kept in logarithmic edges: readable, and far from any platform's last-bit differences."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Adjacent half-open bins: bin ``i`` holds the grid points ``edges[i] <= g < edges[i + 1]``.

    Attributes:
        edges: strictly increasing grid points, at least two; the last lies one beyond the upper bound.
        log: grid units per 1.0 if points are drawn evenly on a logarithmic scale, None for a linear one.

    Raises:
        ValueError: fewer than two edges, or edges that do not increase.
    """

    edges: tuple[int, ...]
    log: int | None = None

    def __post_init__(self) -> None:
        if len(self.edges) < 2 or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"edges must be two or more increasing integers, got {self.edges}")

    def __len__(self) -> int:
        return len(self.edges) - 1

    @classmethod
    def even(cls, low: int, high: int, count: int) -> Bins:
        """`count` bins of equal width (to one grid point) over ``low..high``; one per point if those are fewer."""
        points = high - low + 1
        count = min(count, points)
        return cls(tuple(low + points * i // count for i in range(count + 1)))

    @classmethod
    def logarithmic(cls, low: int, high: int, count: int, unit: int) -> Bins:
        """`count` bins that widen geometrically over ``low..high``, for ``low >= 0``.

        Edges are evenly spaced in ``log(x)`` if ``low > 0`` and in ``log(1 + x)`` if ``low == 0``, where ``x``
        is the value itself (``unit`` grid units make 1.0); inner ones are rounded to three significant
        digits. One bin per point if there are fewer points than bins.
        """
        points = high - low + 1
        count = min(count, points)
        start, stop = _warp(low, low, unit), _warp(high + 1, low, unit)
        raw = [_unwarp(start + (stop - start) * i / count, low, unit) for i in range(1, count)]
        edges = [low]
        for i, value in enumerate(raw, start=1):
            rounded = round(value, _DIGITS - len(str(max(value, 1)))) if value >= 10**_DIGITS else value
            edges.append(min(max(rounded, edges[-1] + 1), high + 1 - (count - i)))
        return cls((*edges, high + 1), log=unit)

    @classmethod
    def explicit(cls, edges: tuple[int, ...], log: int | None = None) -> Bins:
        """Bins from declared edges, the last of which still belongs to the last bin."""
        return cls((*edges[:-1], edges[-1] + 1), log=log)

    @property
    def positions(self) -> NDArray[np.float64]:
        """The edges on the scale that points are drawn evenly on, shape (len(self) + 1,)."""
        edges = np.asarray(self.edges, dtype=np.float64)
        if self.log is None:
            return edges
        return np.log(edges) if self.edges[0] > 0 else np.log1p(edges / self.log)

    def draw(self, codes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One grid point inside each code's bin, even on the bins' scale.

        Args:
            codes: shape (rows,), each in ``[0, len(self))``.
            rng: draws the points.
        """
        edges = np.asarray(self.edges, dtype=np.int64)
        low, high = edges[codes], edges[codes + 1]
        if self.log is None:
            return rng.integers(low, high)
        with np.errstate(over="ignore"):
            warp = self.positions
            at = warp[codes] + (warp[codes + 1] - warp[codes]) * rng.random(len(codes))
            points = np.exp(at) if self.edges[0] > 0 else np.expm1(at) * self.log
        return np.clip(np.floor(points).astype(np.int64), low, high - 1)


def _warp(point: int, low: int, unit: int) -> float:
    return log(point) if low > 0 else log1p(point / unit)


def _unwarp(value: float, low: int, unit: int) -> int:
    return round(exp(value)) if low > 0 else round(expm1(value) * unit)


__all__ = ["Bins"]

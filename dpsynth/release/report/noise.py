"""What noise alone does to a distance between counts: its mean, a bound that it keeps, and what it cannot explain."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chndtrinc, log_ndtr, ndtr, ndtri

Floats = NDArray[np.float64]

_TILTS = np.geomspace(1e-3, 1e2, 160)
"""Where the exponential moment of `distance_bound` is tried, in units of one over the largest sigma."""
_LARGE = 1e6
"""Degrees of freedom and statistic from which the noncentral chi square is taken as normal."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Noisy counts beside the shares of a table.

    Attributes:
        counts: noisy, in rows, shape (cells,).
        variances: of their noise, in rows squared, shape (cells,).
        shares: of the table, shape (cells,), summing to 1.
        rows: of the table.
        total: rows of the real table, as estimated.
    """

    counts: Floats
    variances: Floats
    shares: Floats
    rows: int
    total: float

    @property
    def distance(self) -> float:
        """Total variation distance between counts and table."""
        return 0.5 * float(np.abs(self.counts / self.total - self.shares).sum())

    @property
    def noise(self) -> float:
        """Mean of `distance` where the table is right: noise, and the drawing of finitely many rows."""
        return 0.5 * sqrt(2 / pi) * float(self._deviation.sum())

    @property
    def spread(self) -> float:
        """Standard deviation of `distance` where the table is right."""
        return 0.5 * sqrt(1 - 2 / pi) * float(np.sqrt((self._deviation**2).sum()))

    @property
    def _deviation(self) -> Floats:
        drawing = self.shares * (1 - self.shares) / self.rows
        return np.asarray(np.sqrt(self.variances / self.total**2 + drawing))

    def bound(self, alpha: float) -> float:
        """What the distance between the *real* margin and the table exceeds with probability `alpha` at most.

        By the triangle inequality, so it holds for a table that was fitted to these very counts.
        """
        return min(1.0, self.distance + distance_bound(np.sqrt(self.variances), alpha) / self.total)

    def unseen_bound(self, alpha: float) -> float:
        """The same for a table made without these counts: sharper, since noise and misfit are independent."""
        statistic = float(((self.counts - self.total * self.shares) ** 2 / self.variances).sum())
        most = noncentrality(statistic, self.counts.size, alpha)
        return min(1.0, 0.5 * sqrt(most * float(self.variances.sum())) / self.total)

    @property
    def p_value(self) -> float:
        """At least the chance that noise and drawing alone take counts this far from a table that is right.

        The smaller of two tests, doubled: chi square over all cells for errors that are spread out, and the largest
        standardised difference for errors in one cell. The total is fitted to the counts, since a table of any number
        of rows may be right.
        """
        cells = self.counts.size
        if cells < 2:
            return 1.0
        at_rows = self.total**2 / self.rows
        drawn = (self.shares + 1 / self.rows) / self.rows
        weight = drawn / (drawn + self.variances / self.total**2)
        pooled = self.shares + weight * (np.clip(self.counts / self.total, 0, 1) - self.shares)
        variances = self.variances + at_rows * np.maximum(self.shares, pooled)
        fitted = float((self.counts * self.shares / variances).sum() / (self.shares**2 / variances).sum())
        squares = (self.counts - max(fitted, 0.0) * self.shares) ** 2 / variances
        spread_out = float(chdtrc(cells - 1, squares.sum()))
        one_cell = min(1.0, 2 * cells * float(ndtr(-sqrt(float(squares.max())))))
        return min(1.0, 2 * min(spread_out, one_cell))


def distance_bound(sigma: Floats, alpha: float) -> float:
    """What half the sum of ``|N(0, sigma_c^2)|`` exceeds with probability `alpha` at most.

    Chernoff: ``P(X >= x) <= exp(sum_c log E exp(t |Z_c| / 2) - t x)`` for every t, and
    ``E exp(s |Z|) = 2 exp(s^2/2) Phi(s)`` for a standard normal.
    """
    values, times = np.unique(sigma[sigma > 0], return_counts=True)
    if not values.size:
        return 0.0
    tilts = _TILTS / float(values.max())
    s = 0.5 * tilts[:, None] * values
    moments = (times * (log(2) + s**2 / 2 + log_ndtr(s))).sum(axis=1)
    return float(((moments - log(alpha)) / tilts).min())


def noncentrality(statistic: float, cells: int, alpha: float) -> float:
    """The largest noncentrality under which a chi square of `cells` degrees falls to `statistic` with chance `alpha`.

    An upper confidence bound (1 - alpha) of the squared misfit in units of the noise.
    """
    if statistic + cells < _LARGE:
        return max(0.0, float(chndtrinc(statistic, cells, alpha)))
    # Normal: statistic = cells + lambda - z sqrt(2 cells + 4 lambda), solved for lambda.
    z, short = -float(ndtri(alpha)), statistic - cells
    return max(0.0, short + 2 * z**2 + z * sqrt(max(0.0, 4 * z**2 + 4 * short + 2 * cells)))


__all__ = ["Comparison", "distance_bound", "noncentrality"]

"""Estimates of several tables combined: the rules of multiple imputation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpsynth.errors import NotSupported


@dataclass(frozen=True, slots=True)
class Combined:
    """What several tables say together.

    Attributes:
        estimate: the mean of theirs.
        variance: of it.
        degrees: of freedom of its t distribution.
        within, between: the mean of the tables' own variances, and the variance of their estimates.
        level, low, high: the interval.
    """

    estimate: float
    variance: float
    degrees: float
    within: float
    between: float
    level: float
    low: float
    high: float


def combine(estimates: Sequence[float], variances: Sequence[float], level: float = 0.95) -> Combined:
    """One interval from the estimates of m tables, each of a model fitted to measurements with noise of its own.

    ``T = mean(variances) + (1 + 1/m) * var(estimates)``, on ``(m - 1) (1 + within / ((1 + 1/m) between))^2`` degrees of
    freedom (Rubin 1987). The tables are draws from what the noisy measurements leave open about the *real rows*, as
    imputations are, so that the real rows' own sampling variance is not yet among their differences and is added:
    what any software for multiple imputation does with them. (Synthetic tables of a population, which Raghunathan,
    Reiter and Rubin 2003 combine with a minus, differ by it already.) Drawing the rows of each table adds to the
    differences; the interval errs on the wide side by that.

    Args:
        estimates: one of each table, the same analysis on each.
        variances: squared standard errors as if the table were real; zeros to speak of the real rows alone.
        level: of the interval.

    Raises:
        NotSupported: fewer than two tables, unequal numbers, or something that is no finite number.
    """
    from scipy.stats import t

    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if q.ndim != 1 or q.shape != u.shape or len(q) < 2:
        raise NotSupported(f"combine takes as many variances as estimates, two at least; got {q.size} and {u.size}")
    if not (np.isfinite(q).all() and np.isfinite(u).all() and (u >= 0).all()):
        raise NotSupported("combine takes finite estimates, and variances of at least 0")
    if not 0 < level < 1:
        raise NotSupported(f"level must lie between 0 and 1, got {level}")
    m, within, between = len(q), float(u.mean()), float(q.var(ddof=1))
    spread = (1 + 1 / m) * between
    degrees = (m - 1) * (1 + within / spread) ** 2 if spread > 0 else np.inf
    half = float(t.ppf((1 + level) / 2, degrees)) * (within + spread) ** 0.5
    centre = float(q.mean())
    return Combined(centre, within + spread, float(degrees), within, between, level, centre - half, centre + half)


__all__ = ["Combined", "combine"]

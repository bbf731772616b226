"""From draws of a mechanism on two neighbouring tables to a lower bound on epsilon that holds with known confidence.

A mechanism that is (epsilon, delta)-DP has ``P[M(D) in S] <= e^epsilon P[M(D') in S] + delta`` for every set S of
outputs. A set is chosen on one half of the draws; on the other half its two probabilities are enclosed by Clopper and
Pearson's exact intervals (1934), and the inequality is solved for epsilon (Jagielski, Ullman, Oprea 2020, "Auditing
differentially private machine learning"). No other assumption is made: sets are of the form "the statistic is at least
t" or "below t", whatever the statistic; one that grows with the likelihood ratio loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta

Floats = NDArray[np.float64]

_THRESHOLDS = 100
"""Sets that are compared on the first half, in each direction."""
_BOTH = (True, False)
_WHOLE = 10**6
"""Spread of draws up to which every whole number between them is looked at."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What is known of a mechanism with the confidence it was asked for.

    Attributes:
        epsilon: at least this, at `delta`.
        mu: at least this if it is mu-GDP for some mu: ``Phi^-1(p) - Phi^-1(q)`` (Nasr et al. 2023, section 4).
        delta: as given.
        p, q: lower and upper end of the set's probabilities.
    """

    epsilon: float
    mu: float
    delta: float
    p: float
    q: float


def clopper_pearson(hits: int, draws: int, alpha: float) -> tuple[float, float]:
    """Ends of an interval that holds the probability of a hit; each end is wrong with probability at most `alpha`."""
    low = 0.0 if hits == 0 else float(beta.ppf(alpha, hits, draws - hits + 1))
    high = 1.0 if hits == draws else float(beta.isf(alpha, hits + 1, draws - hits))
    return low, high


def epsilon_at_least(p: float, q: float, delta: float) -> float:
    """The least epsilon of ``p <= e^epsilon q + delta``, at least 0."""
    return max(0.0, math.log((p - delta) / q)) if p > delta else 0.0


def lower_bound(one: Floats, other: Floats, delta: float, alpha: float) -> Bound:
    """The bound from a statistic's values on two neighbouring tables, each shape (draws,).

    Wrong, that is above the truth, with probability at most `alpha`. The first halves choose set and direction, the
    second are counted.
    """
    tuned = (one[: len(one) // 2], other[: len(other) // 2])
    counted = (one[len(one) // 2 :], other[len(other) // 2 :])
    thresholds = np.quantile(np.concatenate(tuned), np.linspace(0.0, 1.0, _THRESHOLDS), method="nearest")
    sets = [_Set(float(t), above, swapped) for t in np.unique(thresholds) for above in _BOTH for swapped in _BOTH]
    bounds = [each.bound(tuned, delta, alpha) for each in sets]
    chosen = max(range(len(sets)), key=lambda i: (bounds[i].epsilon, bounds[i].mu))
    return sets[chosen].bound(counted, delta, alpha)


@dataclass(frozen=True, slots=True)
class _Set:
    """Outputs whose statistic is at least, or below, a threshold; more likely on the second table if `swapped`."""

    threshold: float
    above: bool
    swapped: bool

    def bound(self, values: tuple[Floats, Floats], delta: float, alpha: float) -> Bound:
        """The bound that draws of the two tables give, each end of either interval wrong in `alpha` / 2."""
        one, other = reversed(values) if self.swapped else values
        p, _ = clopper_pearson(self._hits(one), len(one), alpha / 2)
        _, q = clopper_pearson(self._hits(other), len(other), alpha / 2)
        return Bound(epsilon_at_least(p, q, delta), float(ndtri(p) - ndtri(q)), delta, p, q)

    def _hits(self, values: Floats) -> int:
        return int(np.count_nonzero((values >= self.threshold) == self.above))


def farthest(values: NDArray[np.int64], cumulative: Callable[[NDArray[np.int64]], Floats]) -> float:
    """Kolmogorov's distance of whole-number draws from a distribution: the largest gap of distribution functions.

    Args:
        values: shape (draws,).
        cumulative: the distribution function at whole numbers.
    """
    seen = np.arange(values.min() - 1, values.max() + 1) if np.ptp(values) < _WHOLE else np.unique(values)
    below = np.searchsorted(np.sort(values), seen, side="right") / len(values)
    return float(np.abs(below - cumulative(seen)).max())


def allowed_distance(draws: int, alpha: float) -> float:
    """What `farthest` exceeds with probability at most `alpha` (Dvoretzky, Kiefer, Wolfowitz; Massart 1990)."""
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * draws))


__all__ = ["Bound", "allowed_distance", "clopper_pearson", "epsilon_at_least", "farthest", "lower_bound"]

"""Point estimates with 95 % confidence intervals, one observation a privacy unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import beta, norm, t

Values = NDArray[np.floating[Any]]
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure in [0, 1] and its interval."""

    value: float
    low: float
    high: float


def proportion(hits: float, trials: float) -> Estimate:
    """A binomial share with the interval of Clopper and Pearson (1934).

    Args:
        hits, trials: may be fractional, where a sample is worth `trials` independent ones.
    """
    low = 0.0 if hits <= 0 else float(beta.ppf(TAIL, hits, trials - hits + 1))
    high = 1.0 if hits >= trials else float(beta.ppf(1 - TAIL, hits + 1, trials - hits))
    return Estimate(hits / trials, low, high)


def mean(values: Values) -> Estimate:
    """The mean of values in [0, 1]: Clopper-Pearson where they are all 0 or 1, or all the same; else Student's."""
    values = np.asarray(values, dtype=float)
    n, total = len(values), float(values.sum())
    if n < 2 or np.all((values == 0) | (values == 1)) or np.ptp(values) == 0:
        return proportion(min(total, n), n)
    half = float(t.ppf(1 - TAIL, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(total / n, max(0.0, total / n - half), min(1.0, total / n + half))


def clustered_share(labels: NDArray[np.bool_], weights: NDArray[Any]) -> Estimate:
    """The weighted share of clusters that are labelled: a ratio estimator, or Clopper-Pearson at its effective size.

    Args:
        labels, weights: shape (clusters,); a cluster counts `weights` times.
    """
    share = float((labels * weights).sum() / weights.sum())
    effective = float(weights.sum() ** 2 / (weights.astype(float) ** 2).sum())
    return proportion(share * effective, effective)


def excess(value: Estimate, baseline: Estimate) -> Estimate:
    """The value with an interval that knows of the baseline's error too: ``low > baseline`` is an excess at 95 %.

    The interval of the difference of two independent estimates by the square-and-add rule (Newcombe 1998; Zou and
    Donner 2008), put around the value.
    """
    down = math.hypot(value.value - value.low, baseline.high - baseline.value)
    up = math.hypot(value.high - value.value, baseline.value - baseline.low)
    return Estimate(value.value, value.value - down, value.value + up)


def auroc(members: Values, others: Values) -> Estimate:
    """The chance that a member scores above another, ties half; DeLong's variance (1988) on the logit scale.

    Args:
        members, others: one score a unit, shapes (m,) and (n,), at least one each.
    """
    members, others = np.asarray(members, dtype=float), np.asarray(others, dtype=float)
    above, below = _placements(members, others), 1 - _placements(others, members)
    value = float(above.mean())
    m, n = len(members), len(others)
    if m < 2 or n < 2 or value in (0.0, 1.0):
        least = min(m, n)
        return Estimate(value, *(getattr(proportion(value * least, least), end) for end in ("low", "high")))
    variance = float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / n
    half = float(norm.ppf(1 - TAIL)) * math.sqrt(variance) / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def _placements(scores: Values, among: Values) -> Values:
    """For each score the share of `among` that lies below it, ties half."""
    ordered = np.sort(among)
    sides = [np.searchsorted(ordered, scores, side=side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / (2 * len(among)))


def hits_at(members: Values, others: Values, rate: float) -> tuple[Estimate, Estimate]:
    """True positives where at most `rate` of the others are false positives, and these: both with their intervals.

    The threshold lies at an order statistic of the others, so that the true rate behind it has just the distribution
    that Clopper and Pearson's upper limit is of.
    """
    allowed = int(rate * len(others) + 1e-9)
    threshold = np.sort(others)[::-1][allowed]
    hits, false = int((members > threshold).sum()), int((others > threshold).sum())
    return proportion(hits, len(members)), proportion(false, len(others))


__all__ = ["Estimate", "auroc", "clustered_share", "excess", "hits_at", "mean", "proportion"]

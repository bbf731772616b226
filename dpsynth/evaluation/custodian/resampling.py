"""Intervals by resampling privacy units with replacement, and scores that take the weights this gives to rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATES = 200

Floats = NDArray[np.float64]


def weights(units: NDArray[Any], rng: np.random.Generator, replicates: int = REPLICATES) -> Iterator[Floats]:
    """How often each row is drawn when units are drawn with replacement, once for each replicate; shape (rows,)."""
    _, at = np.unique(units, return_inverse=True)
    count = int(at.max(initial=-1)) + 1
    for _ in range(replicates):
        yield np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)[at]


def interval(values: Floats | list[float]) -> tuple[float, float]:
    """The middle 95 % of what resampling gave; NaN where fewer than half of the replicates gave anything."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if 2 * len(known) <= len(values):
        return nan, nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def auroc(y: Floats, score: Floats, weight: Floats | None = None) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counted half."""
    weight = np.ones(len(y)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    return sorted_auroc(y[order], score[order], weight[order])


def sorted_auroc(y: Floats, score: Floats, weight: Floats) -> float:
    """The same for rows by rising score."""
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]]) if len(score) else np.zeros(0, dtype=np.int64)
    positive = np.add.reduceat(weight * y, starts) if len(starts) else np.zeros(0)
    negative = np.add.reduceat(weight * (1 - y), starts) if len(starts) else np.zeros(0)
    whole = positive.sum() * negative.sum()
    if not whole > 0:
        return nan
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / whole)


def r_squared(y: Floats, guess: Floats, weight: Floats | None = None) -> float:
    """Share of the variance explained, against the mean; negative where the mean does better."""
    weight = np.ones(len(y)) if weight is None else weight
    if not weight.sum() > 0:
        return nan
    center = float(np.average(y, weights=weight))
    total = float((weight * (y - center) ** 2).sum())
    return 1 - float((weight * (y - guess) ** 2).sum()) / total if total > 0 else nan


__all__ = ["REPLICATES", "auroc", "interval", "r_squared", "sorted_auroc", "weights"]

"""The scores of a private selection: integers, weighted L1 errors of public estimates. Never leave the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_ESTIMATE = 2.0**60
"""Most an estimate may sum to: beside the counts of any table, the L1 error then stays inside 64 bits."""


def rounded_estimate(estimate: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """A model's expected counts as integers, fixed before any row is touched.

    Raises:
        ValueError: wrong shape, NaN, infinite, or summing to more than 2^60.
    """
    values = np.asarray(estimate, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"the model's estimate has shape {values.shape}, the candidate has {shape}")
    if not np.abs(values).sum() <= MAX_ESTIMATE:
        raise ValueError("the model's estimate has a NaN or infinite cell, or sums to more than 2^60; mend the model")
    return np.rint(values).astype(np.int64)


def integers(name: str, values: Sequence[int] | None, count: int, default: int, least: int | None) -> tuple[int, ...]:
    """Weights or penalties as plain integers, one a candidate.

    Raises:
        ValueError: wrong length, not whole numbers, or below `least`.
    """
    if values is None:
        return (default,) * count
    exact = tuple(int(v) for v in values)
    if len(exact) != count or any(e != v for e, v in zip(exact, values, strict=True)):
        raise ValueError(f"{name} must be {count} whole numbers, one for each candidate, got {len(exact)}")
    if least is not None and min(exact) < least:
        raise ValueError(f"{name} must be at least {least}, got {min(exact)}")
    return exact


def score(exact: NDArray[np.int64], estimate: NDArray[np.int64], weight: int, penalty: int) -> int:
    """``weight * ||exact - estimate||_1 - penalty``. One unit of at most k rows moves it by at most ``weight * k``."""
    return weight * int(np.abs(exact - estimate).sum()) - penalty

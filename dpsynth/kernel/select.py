"""The scores of a private selection: integers, weighted L1 errors of public estimates. Never leave the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ESTIMATE = 2.0**60
"""Most an estimate may sum to: beside the counts of any table, the L1 error then stays inside 64 bits."""


CHUNK_CELLS = 2**20
"""Cells compared at a time."""


def chunks(sizes: Sequence[int]) -> list[slice]:
    """Consecutive candidates together, up to `CHUNK_CELLS` cells at a time; a larger candidate alone."""
    found, start, cells = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and cells + size > CHUNK_CELLS:
            found.append(slice(start, i))
            start, cells = i, 0
        cells += size
    return [*found, slice(start, len(sizes))]


def rounded_estimates(estimates: Sequence[NDArray[np.float64]], shapes: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """A model's expected counts of several candidates as integers, joined to one vector.

    Raises:
        ValueError: wrong shape, NaN, infinite, or one summing to more than 2^60.
    """
    values = [np.asarray(estimate, dtype=np.float64) for estimate in estimates]
    for value, shape in zip(values, shapes, strict=True):
        if value.shape != shape:
            raise ValueError(f"the model's estimate has shape {value.shape}, the candidate has {shape}")
    joined = np.concatenate([value.ravel() for value in values])
    if not (np.add.reduceat(np.abs(joined), _starts(values)) <= MAX_ESTIMATE).all():
        raise ValueError("the model's estimate has a NaN or infinite cell, or sums to more than 2^60; mend the model")
    rounded: NDArray[np.int64] = np.rint(joined).astype(np.int64)
    return rounded


def errors(exact: Sequence[NDArray[np.int64]], estimates: NDArray[np.int64]) -> list[int]:
    """``||exact - estimate||_1`` of every candidate. One unit of at most k rows moves each by at most k."""
    joined = np.concatenate([counts.ravel() for counts in exact])
    moved: list[int] = np.add.reduceat(np.abs(joined - estimates), _starts(exact)).tolist()
    return moved


def _starts(tables: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """Where each table begins once they are joined. None is empty."""
    sizes = np.array([table.size for table in tables], dtype=np.intp)
    starts: NDArray[np.intp] = np.cumsum(sizes) - sizes
    return starts


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

"""A column's cells and their logits, in NumPy: what `dpsynth.layers.log_probabilities` is in PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpsynth.generators.deep.network import Floats

MATCHED, ROUNDS = 50_000, 12
"""Rows on which a network's one-ways are matched, and how often each bias is moved."""
Integers = NDArray[np.int64]
_LEAST = 1e-6
"""Least probability that initial logits give a cell."""


def log_probabilities(logits: Floats, ordered: bool = False) -> Floats:
    """Log probabilities of cells, last axis; softmax, or the sequential model of an ordered column."""
    if not ordered:
        top = logits - logits.max(axis=-1, keepdims=True)
        whole: Floats = top - np.log(np.exp(top).sum(axis=-1, keepdims=True))
        return whole
    stops = logits[..., :-1]
    none = np.zeros_like(logits[..., :1])
    stopped, passed = -np.logaddexp(np.float32(0), -stops), -np.logaddexp(np.float32(0), stops)
    found: Floats = np.concatenate([stopped, none], axis=-1) + np.concatenate(
        [none, np.cumsum(passed, axis=-1)], axis=-1
    )
    return found


def logits_of(shares: NDArray[np.float64], ordered: bool = False) -> Floats:
    """Logits whose probabilities are `shares`, shape (cells,); none below a millionth."""
    kept = np.maximum(shares, _LEAST)
    kept = kept / kept.sum()
    if not ordered:
        centred = np.log(kept)
        return np.asarray(centred - centred.mean()).astype(np.float32)
    left = np.cumsum(kept[::-1])[::-1]
    beyond = np.append(left[1:], _LEAST)
    found = np.log(kept) - np.log(np.maximum(beyond, _LEAST))
    found[-1] = 0.0
    logits: Floats = found.astype(np.float32)
    return logits


def shift(shares: NDArray[np.float64], found: NDArray[np.float64], ordered: bool = False) -> Floats:
    """What to add to a column's logits so that cells come out as `shares` instead of as `found`, about."""
    return logits_of(shares, ordered) - logits_of(found, ordered)


def drawn(log_shares: Floats, rng: np.random.Generator) -> Integers:
    """One cell for each row of log probabilities, shape (rows, cells): by inverting the cumulative sum."""
    running = np.cumsum(np.exp(log_shares), axis=1)
    point = rng.random((len(running), 1), dtype=np.float32) * running[:, -1:]
    cells: Integers = np.minimum((running <= point).sum(axis=1), log_shares.shape[1] - 1).astype(np.int64)
    return cells


__all__ = ["MATCHED", "ROUNDS", "Integers", "drawn", "log_probabilities", "logits_of", "shift"]

"""Exact second moments of integer scores, every row held to a norm. They never leave the kernel without noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants.events import Gaussian
from accountants.exact import DOWN, UP, ceil_float
from dpsynth.domain import Domain
from dpsynth.measurement import MAX_SCORE, MAX_SCORES, Score

_BLOCK = 2**14
"""Rows at a time: sums of 2^14 products below 2^20 are exact in floats."""


def checked(scores: Sequence[Score], domain: Domain) -> tuple[Score, ...]:
    """The scores, in the kernel's own copies.

    Raises:
        KeyError: of an attribute that is not in the domain.
        ValueError: none or too many, or one that is not an integer of at most `MAX_SCORE` for each code.
    """
    if not 1 <= len(scores) <= MAX_SCORES:
        raise ValueError(f"moments need 1 to {MAX_SCORES} scores, got {len(scores)}")
    found = []
    for score in scores:
        (attribute,) = domain.clique([score.attribute])
        values = np.array(score.values)
        whole = values.shape == (domain[attribute],) and values.dtype.kind in "iu"
        if not whole or int(values.min()) < -MAX_SCORE or int(values.max()) > MAX_SCORE:
            raise ValueError(
                f"the scores of {attribute!r} must be {domain[attribute]} integers from -{MAX_SCORE} to {MAX_SCORE}, "
                f"got shape {values.shape} of {values.dtype}"
            )
        values = values.astype(np.int64)
        values.flags.writeable = False
        found.append(Score(attribute, values))
    return tuple(found)


def exact_moments(codes: Mapping[str, NDArray[Any]], scores: Sequence[Score], max_norm: int) -> NDArray[np.int64]:
    """``sum over rows of y y^T``, with ``y`` a row's vector of scores held to `max_norm`; shape (scores, scores)."""
    rows = len(codes[scores[0].attribute])
    moments = np.zeros((len(scores), len(scores)), np.int64)
    for start in range(0, rows, _BLOCK):
        part = slice(start, start + _BLOCK)
        held = clipped(np.stack([s.values[codes[s.attribute][part]] for s in scores], axis=1), max_norm)
        held = held.astype(np.float64)
        moments += (held.T @ held).astype(np.int64)
    return moments


def clipped(vectors: NDArray[np.int64], max_norm: int) -> NDArray[np.int64]:
    """Vectors beyond a norm of `max_norm` drawn back to it, each entry rounded towards zero; the others as they are.

    With ``y_j = sign(x_j) floor(sqrt(floor(x_j^2 C^2 / ||x||^2)))`` in integers, ``||y|| <= C`` holds exactly.

    Args:
        vectors: shape (rows, scores), entries of at most `MAX_SCORE`.
        max_norm: C, at most `MAX_NORM`.
    """
    squares = np.square(vectors)
    norms = squares.sum(axis=1)
    (beyond,) = np.nonzero(norms > max_norm**2)
    if not len(beyond):
        return vectors
    reduced = squares[beyond] * max_norm**2 // norms[beyond][:, None]
    roots = np.sqrt(reduced.astype(np.float64)).astype(np.int64)
    roots -= np.square(roots) > reduced
    held = vectors.copy()
    held[beyond] = np.sign(vectors[beyond]) * roots
    return held


def moment_scales(noise: Gaussian, at_most: int, max_norm: int) -> tuple[float, float]:
    """Standard deviations, rounded up: off the diagonal ``z k C^2 / sqrt(2)``, on it ``z k C^2``.

    A row moves the upper triangle by ``y_i y_j`` and ``y_i^2``; divided by the noise of each entry, the square
    of its norm is ``(2 sum_{i<j} y_i^2 y_j^2 + sum_i y_i^4) / (z k C^2)^2 = ||y||^4 / (z k C^2)^2``, at most
    ``1 / (z k)^2``. A unit of at most k rows moves it by at most k times that (triangle inequality).
    """
    square = UP.multiply(Decimal(at_most), Decimal(max_norm**2))
    diagonal = UP.multiply(Decimal(noise.noise_multiplier), square)
    return ceil_float(UP.divide(diagonal, DOWN.sqrt(Decimal(2)).next_minus(DOWN))), ceil_float(diagonal)


__all__ = ["checked", "clipped", "exact_moments", "moment_scales"]

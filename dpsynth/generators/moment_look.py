"""The look at moments: how all ordered columns go together, two by two, for one number a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from accountants import Gaussian
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import Moments, paired
from dpsynth.hints import Hints
from dpsynth.measurement import MAX_NORM, MAX_SCORES, MAX_SIGMA, NoisyMoments, Score

UNIT = 128
"""Integer scores for one standard deviation."""
_FURTHEST = 3.0
"""Standard deviations beyond which a score says no more."""
_SECOND = 2.0
"""The same of a column's further scores: rows in which they are large are long by the first already."""
_MISSED, _NOTHING_NEW = 0.1, 0.01
"""Share of a column's variance that its first score may miss; share of a further score's own that must be new."""
_NO_SPREAD = 1e-6
"""Standard deviation of a column, as a share of the distance to its furthest cell, up to which it is constant."""
_TAILS_DROWN = 0.005
"""Noise of a correlation from which columns have one score each: what lies far out is less than a hundredth of rows."""
_NOISE, _MOST_ROOM = 0.01, 3.0
"""Noise of a correlation at which rows may be twice as long, in square, as they are in the mean; and the most that they
may be."""
_NOISE_UNHELD = 0.005
"""Noise of a correlation up to which no row is held at all."""
_TOO_NOISY = 0.2
"""Noise of a correlation beyond which none is asked."""
_ROWS = 20_000
"""Rows drawn to see what holding them takes from each score."""
_LEAST_LEFT = 0.2
"""Least share of a score's variance that is taken to be left of rows held to the norm."""


def scored(recoding: Recoding, hints: Hints, one_ways: Mapping[str, Array], noise: Gaussian) -> tuple[Score, ...]:
    """What the merged cells of ordered columns are worth: none if fewer than two columns, or if it would be too noisy.

    A cell is worth where it lies on the column's scale, in standard deviations from the mean by the expected counts, at
    most 3 of them, in whole 128ths. Cells that are only missing or out of domain are worth 0, the mean. Where that
    misses more than a tenth of the variance of the column's values (not of their logarithms), which a few rows far out
    may carry, it has further scores: its values within 3 deviations, and what lies beyond; if the noise leaves anything
    of so few rows.

    Args:
        recoding: base codes to merged codes.
        hints: which columns are ordered, and where the cells of fine grids lie.
        one_ways: expected counts over merged codes.
        noise: of the look.
    """
    ordered = [a for a in recoding.domain.attributes if a in hints.fine or a in hints.ordered]
    found = {a: _scores(recoding, hints, a, one_ways[a]) for a in ordered}
    first = [Score(a, v[0]) for a, v in found.items() if v]
    if not 2 <= len(first) <= MAX_SCORES or _longest(noise, hints.at_most) < 1:
        return ()
    of_one = noise_of_a_correlation(first, one_ways, noise, hints.at_most)
    if of_one > _TAILS_DROWN:
        return () if of_one > _TOO_NOISY else tuple(first)
    every = [Score(a, v) for a in found for v in found[a]]
    return tuple(every if len(every) <= MAX_SCORES else first)


def _scores(recoding: Recoding, hints: Hints, attribute: str, mass: Array) -> list[NDArray[np.int64]]:
    """Whole numbers, one for each merged cell; cells lie in the middle of their edges, or one after the other.

    The scores together give a column's values as a linear function, so that the moments give their correlations.
    """
    merged, weights = recoding.maps[attribute], recoding.weights[attribute]
    inside = np.ones(len(merged), dtype=bool)
    inside[[d[attribute] for d in (hints.missing, hints.out_of_domain) if attribute in d]] = False
    place = np.arange(len(merged), dtype=np.float64)
    if attribute in hints.fine:
        edges = np.asarray(hints.fine[attribute])
        place[: len(edges) - 1] = (edges[1:] + edges[:-1]) / 2
    held = np.bincount(merged, weights * inside).astype(np.float64)
    share = np.maximum(mass, 0.0) * held
    if share.sum() <= 0:
        return []
    share = share / share.sum()
    standard = _standard(merged, weights * inside, place, held, share)
    found = [np.clip(standard, -_FURTHEST, _FURTHEST)]
    if attribute in hints.logarithmic:
        place = np.exp(np.minimum(place - place[inside].max(), 0.0))
        standard = _standard(merged, weights * inside, place, held, share)
    near = np.clip(standard, -_FURTHEST, _FURTHEST)
    beyond = standard - near
    if _missed(standard, found, share) > _MISSED:
        for part in (near * (beyond == 0), beyond):
            if np.ptp(part) > 0 and _missed(part, found, share) > _NOTHING_NEW:
                found.append(_SECOND * part / np.abs(part).max())
    # A cell that also holds missing rows counts for those that are not.
    whole = [np.asarray(np.rint(UNIT * held * (v - share @ v)), dtype=np.int64) for v in found]
    return [v for v in whole if np.ptp(v) > 0]


def _standard(merged: NDArray[np.int64], weights: Array, place: Array, held: Array, share: Array) -> Array:
    """Mean places of the merged cells, in standard deviations from the mean; all 0 where there is next to no spread."""
    where = np.bincount(merged, weights * place) / np.maximum(held, 1e-12)
    centred: Array = where - share @ where
    spread = math.sqrt(share @ np.square(centred))
    return centred / spread if spread > _NO_SPREAD * np.abs(centred).max() else np.zeros_like(centred)


def _missed(values: Array, scores: Sequence[Array], share: Array) -> float:
    """Share of the variance of `values` that is no linear function of the scores."""
    root = np.sqrt(share)
    known = np.stack([np.ones_like(share), *scores], axis=1) * root[:, None]
    rest = values * root - known @ np.linalg.lstsq(known, values * root, rcond=None)[0]
    return float(rest @ rest / max(share @ np.square(values - share @ values), 1e-300))


def moments_of(
    view: PrivateTable, scores: Sequence[Score], one_ways: Mapping[str, Array], noise: Gaussian, at_most: int
) -> Moments:
    """Ask for the second moments of the scores.

    Rows whose scores are long are drawn back, unless there is next to no noise; that takes from every product. The
    diagonal, asked in the same look at no price, shows how much: what is left of each score's variance, where all of it
    is known from the one-ways. A sum of products is divided by what is left of the score that lost more: it is large in
    rows that are long, and so is the product.

    Args:
        view: over merged codes.
        scores: of `scored`.
        one_ways: expected counts over merged codes.
        noise: of the look.
        at_most: rows a unit contributes at most.
    """
    total, squares = _squares(scores, one_ways)
    mean, longest = squares.sum() / total, float(sum(np.square(s.values).max() for s in scores))
    rough = noise_of_a_correlation(scores, one_ways, noise, at_most)
    room = min(_MOST_ROOM, 1.0 + _NOISE / rough)
    square = longest if rough * longest <= _NOISE_UNHELD * mean else min(room * mean, longest)
    norm = min(math.ceil(math.sqrt(square)), _longest(noise, at_most))
    return read(view.moments(scores, norm, noise), one_ways)


def read(answer: NoisyMoments, one_ways: Mapping[str, Array]) -> Moments:
    """What an answer to `moments_of` says.

    Args:
        answer: noisy sums of products.
        one_ways: expected counts over merged codes.
    """
    scores = answer.scores
    _, squares = _squares(scores, one_ways)
    left = _left(scores, np.diagonal(answer.values).astype(np.float64), squares, answer.sigma_diagonal, one_ways)
    attributes = tuple(score.attribute for score in scores)
    pairs = paired(attributes)
    rows, columns = (np.array([pair[side] for pair in pairs], dtype=np.intp) for side in (0, 1))
    scale = UNIT**2 * np.minimum(left[rows], left[columns])
    standard = tuple(np.asarray(score.values / UNIT, dtype=np.float64) for score in scores)
    return Moments(attributes, standard, pairs, answer.values[rows, columns] / scale, answer.sigma / scale)


def noise_of_a_correlation(
    scores: Sequence[Score], one_ways: Mapping[str, Array], noise: Gaussian, at_most: int
) -> float:
    """About what the noise of a correlation would be: that of rows held to the norm they have in the mean."""
    total, squares = _squares(scores, one_ways)
    return noise.noise_multiplier * at_most * float(squares.sum()) / (math.sqrt(2) * UNIT**2 * total**2)


def _longest(noise: Gaussian, at_most: int) -> int:
    """The largest norm that the kernel holds rows to at this noise."""
    return min(MAX_NORM, math.isqrt(int(MAX_SIGMA * (1 - 1e-9) / (noise.noise_multiplier * at_most))))


def _squares(scores: Sequence[Score], one_ways: Mapping[str, Array]) -> tuple[float, Array]:
    """Expected rows, and expected sums of each score's squares."""
    total = float(np.mean([one_ways[s.attribute].sum() for s in scores]))
    squares = [float(np.maximum(one_ways[s.attribute], 0.0) @ np.square(s.values)) for s in scores]
    return total, np.array(squares)


def _left(scores: Sequence[Score], found: Array, expected: Array, sigma: float, one_ways: Mapping[str, Array]) -> Array:
    """Shares of the scores' variances that are left of rows held to a norm.

    What is left of all of them together is known well. A norm that leaves as much of rows whose columns are independent
    says how much each score is likely to have lost: those that are large in few rows the most. A score's own answer is
    drawn to that by its noise.

    Args:
        scores: what was asked.
        found: noisy sums of squares.
        expected: the same of rows that are not held.
        sigma: of the noise of `found`.
        one_ways: expected counts over merged codes.
    """
    together = float(np.clip(found.sum() / max(expected.sum(), 1.0), _LEAST_LEFT, 1.0))
    likely = _likely(scores, together, one_ways)
    expected = np.maximum(expected, 1.0)
    own, variance = found / expected, np.square(sigma / expected)
    between = max(float(np.var(own - likely) - variance.mean()), 0.0)
    weight = between / (between + variance)
    return np.clip(likely + weight * (own - likely), _LEAST_LEFT, 1.0)


def _likely(scores: Sequence[Score], kept: float, one_ways: Mapping[str, Array]) -> Array:
    """Shares of the scores' variances left of rows of independent columns, held such that `kept` of all is left."""
    rng = np.random.default_rng(0)  # of public counts
    codes = {}
    for a in dict.fromkeys(score.attribute for score in scores):
        mass = np.maximum(one_ways[a], 0.0)
        codes[a] = rng.choice(len(mass), _ROWS, p=mass / mass.sum())
    squares = np.stack([np.square(s.values[codes[s.attribute]]) for s in scores], axis=1).astype(np.float64)
    norms = squares.sum(axis=1)
    rising = np.sort(norms)
    left = np.cumsum(rising) + rising * np.arange(len(rising) - 1, -1, -1)  # were rows held to the norm of each
    held = np.minimum(1.0, np.interp(kept * norms.sum(), left, rising) / np.maximum(norms, 1.0))
    share: Array = held @ squares / np.maximum(squares.sum(axis=0), 1.0)
    return share


__all__ = ["UNIT", "moments_of", "noise_of_a_correlation", "read", "scored"]

"""The look at moments: how all ordered columns go together, two by two, for one number a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from accountants import Gaussian
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import Moments, paired
from dpsynth.hints import Hints
from dpsynth.measurement import Score

UNIT = 128
"""Integer scores for one standard deviation."""
_FURTHEST = 3.0
"""Standard deviations beyond which a score says no more."""
_NOISE, _MOST_ROOM = 0.01, 3.0
"""Noise of a correlation at which rows may be twice as long, in square, as they are in the mean; and the most of it."""
_LEAST_LEFT = 0.2
"""Least share of a column's variance that is taken to be left of rows held to the norm."""


def scored(recoding: Recoding, hints: Hints, one_ways: Mapping[str, Array]) -> dict[str, Array]:
    """For every ordered column of more than one merged cell, what each cell is worth.

    That is where the cell lies on the column's scale, in standard deviations from the mean, by the expected counts; at
    most 3 of them, in whole 128ths. Cells that are only missing or out of domain are worth 0, the mean.

    Args:
        recoding: base codes to merged codes.
        hints: which columns are ordered, and where the cells of fine grids lie.
        one_ways: expected counts over merged codes.
    """
    found = {}
    for a in recoding.domain.attributes:
        if a in hints.fine or a in hints.ordered:
            scores = _scores(recoding, hints, a, np.maximum(one_ways[a], 0.0))
            if np.ptp(scores) > 0:
                found[a] = scores
    return found


def _scores(recoding: Recoding, hints: Hints, attribute: str, mass: Array) -> Array:
    merged, weights = recoding.maps[attribute], recoding.weights[attribute]
    inside = np.ones(len(merged), dtype=bool)
    inside[[d[attribute] for d in (hints.missing, hints.out_of_domain) if attribute in d]] = False
    place = np.arange(len(merged), dtype=np.float64)
    if attribute in hints.fine:
        edges = np.asarray(hints.fine[attribute])
        place[: len(edges) - 1] = (edges[1:] + edges[:-1]) / 2
    held = np.bincount(merged, weights * inside)
    where = np.bincount(merged, weights * inside * place) / np.maximum(held, 1e-12)
    share = mass * held
    if share.sum() <= 0:
        return np.zeros(len(held))
    share = share / share.sum()
    centred = where - share @ where
    spread = math.sqrt(share @ np.square(centred))
    scores = np.clip(centred / max(spread, 1e-12), -_FURTHEST, _FURTHEST) if spread > 0 else np.zeros(len(held))
    # A cell that also holds missing rows counts for those that are not.
    return np.asarray(np.rint(UNIT * scores * held), dtype=np.float64)


def noise_of_a_correlation(
    scores: Mapping[str, Array], one_ways: Mapping[str, Array], noise: Gaussian, at_most: int
) -> float:
    """About what the noise of a correlation would be: that of rows held to the norm they have in the mean."""
    total, squares = _squares(scores, one_ways)
    length = sum(squares.values()) / total
    return noise.noise_multiplier * at_most * length / (math.sqrt(2) * UNIT**2 * total)


def _squares(scores: Mapping[str, Array], one_ways: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
    """Expected rows, and expected sums of squared scores."""
    total = float(np.mean([one_ways[a].sum() for a in scores]))
    return total, {a: float(np.maximum(one_ways[a], 0.0) @ np.square(s)) for a, s in scores.items()}


def moments_of(
    view: PrivateTable, scores: Mapping[str, Array], one_ways: Mapping[str, Array], noise: Gaussian, at_most: int
) -> Moments:
    """Ask for the second moments of the scored columns.

    Rows whose scores are long are drawn back, which takes from every product. The diagonal, asked in the same look at
    no price, shows how much: what is left of each column's variance, where all of it is known from the one-ways. Sums
    of products are divided by the square roots of what is left.

    Args:
        view: over merged codes.
        scores: of `scored`, of at least two columns.
        one_ways: expected counts over merged codes.
        noise: of the look.
        at_most: rows a unit contributes at most.
    """
    names = [a for a in view.domain.attributes if a in scores]
    total, squares = _squares(scores, one_ways)
    room = min(_MOST_ROOM, 1.0 + _NOISE / noise_of_a_correlation(scores, one_ways, noise, at_most))
    norm = math.ceil(math.sqrt(room * sum(squares.values()) / total))
    asked = [Score(a, scores[a].astype(np.int64)) for a in names]
    answer = view.moments(asked, norm, noise)
    left = _left(
        np.diagonal(answer.values).astype(np.float64), np.array([squares[a] for a in names]), answer.sigma_diagonal
    )
    rows, columns = np.triu_indices(len(names), 1)
    scale = UNIT**2 * np.sqrt(left[rows] * left[columns])
    values, sigma = answer.values[rows, columns] / scale, answer.sigma / scale
    standard = {a: scores[a] / UNIT for a in names}
    return Moments(standard, paired(view.domain, standard), values, sigma)


def _left(found: Array, expected: Array, sigma: float) -> Array:
    """Shares of the columns' variances that are left: each column's own, drawn to that of all by its noise."""
    together = float(np.clip(found.sum() / expected.sum(), _LEAST_LEFT, 1.0))
    own, variance = found / expected, np.square(sigma / expected)
    between = max(float(np.var(own) - variance.mean()), 0.0)
    weight = between / (between + variance)
    return np.clip(together + weight * (own - together), _LEAST_LEFT, 1.0)


__all__ = ["UNIT", "moments_of", "noise_of_a_correlation", "scored"]

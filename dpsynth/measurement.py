"""What leaves the kernel: noisy answers with the noise they carry. Public from the moment they exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique

MAX_SIGMA = float(2**30)
"""Noise above this is refused: it would drown any table, and the sampler's fast path is rarely certain there."""
MAX_SCORES = 512
"""Most scores of one look at moments."""
MAX_SCORE = 2**10
"""Largest score, either sign."""
MAX_NORM = 2**14
"""Largest norm that rows can be held to: the kernel's integers stay under 2^50, where roots in floats are exact."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisyCounts:
    """One noisy marginal: exact integer counts plus independent rounded Gaussian noise in every cell.

    Attributes:
        clique: the attributes counted, in domain order; ``values`` has one axis for each.
        values: int64, cells may be negative; ``values.shape == domain.project(clique).shape``.
        sigma: standard deviation of the Gaussian before rounding, in rows (public).
        recoding: for each recoded attribute of the clique the map from base codes to the codes counted
            (None: the base domain). Axis ``i`` then has ``max(map) + 1`` cells.
    """

    clique: Clique
    values: NDArray[np.int64]
    sigma: float
    recoding: dict[str, NDArray[np.int64]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A number for each code of a column: public, chosen before the rows are asked.

    Attributes:
        attribute: the column.
        values: integers, one for each code, shape (codes,).
    """

    attribute: str
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NoisyMoments:
    """Noisy second moments: ``sum over rows of y y^T`` plus independent rounded Gaussian noise, symmetric.

    ``y`` is a row's vector of scores; one of a norm above `max_norm` was drawn back to it, towards zero.

    Attributes:
        scores: what was summed, in order, over the codes of the view that was asked.
        max_norm: the norm that rows were held to (public).
        values: int64, shape (scores, scores), symmetric.
        sigma: standard deviation of the Gaussian before rounding off the diagonal, in squares of scores (public).
        sigma_diagonal: the same on the diagonal.
        recoding: as in `NoisyCounts`, for the attributes of the scores.
    """

    scores: tuple[Score, ...]
    max_norm: int
    values: NDArray[np.int64]
    sigma: float
    sigma_diagonal: float
    recoding: dict[str, NDArray[np.int64]] | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """One private selection: the candidate cliques, in order, and the index chosen. Nothing else leaves."""

    candidates: tuple[Clique, ...]
    index: int

    @property
    def clique(self) -> Clique:
        """The clique chosen."""
        return self.candidates[self.index]


Answer = NoisyCounts | NoisyMoments | Selected
"""Anything a look may return."""

__all__ = ["MAX_NORM", "MAX_SCORE", "MAX_SCORES", "Answer", "NoisyCounts", "NoisyMoments", "Score", "Selected"]

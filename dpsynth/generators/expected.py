"""What a model expects of thousands of small marginals, for the price of one pass over it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes
from dpsynth.graphical import GraphicalModel
from dpsynth.graphical.pairs import two_way, two_way_cost

MAX_ROWS = 200_000
"""Most rows sampled."""

MAX_NUMBERS = 2**23
"""Most numbers one bag may take in `two_way` (64 MiB)."""


class Expected:
    """Expected counts of candidates, in rows: all pairs by exact inference at once, or counted in one sample.

    Exact inference of a marginal that lies in no bag can cost as much as the whole model. For all pairs together
    it costs the model times the columns, which is little where columns are many and bags are small. Elsewhere,
    and for larger candidates, each is counted in one low-variance sample of about ``total`` rows (`MAX_ROWS` at
    most), whose error is that of rows drawn anew, far below the noise of what is measured.

    Args:
        model: the model, which is public.
        rng: what the sample is drawn with.
        pairs: how many pairs will be asked for, about.
    """

    def __init__(self, model: GraphicalModel, rng: np.random.Generator, pairs: int) -> None:
        self._model = model
        self._domain = model.domain
        self._rng = rng
        self._rows = max(1, min(round(model.total), MAX_ROWS))
        work, room = two_way_cost(model.tree)
        ends = np.cumsum(model.domain.shape)
        self._blocks = {
            a: slice(e - s, e) for a, s, e in zip(model.domain.attributes, model.domain.shape, ends, strict=True)
        }
        exactly = 2 * work <= self._rows * pairs and room <= MAX_NUMBERS
        self._pairs = two_way(model.calibrated) * model.total if exactly else None

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique`, axes in its order, in rows."""
        if self._pairs is not None and len(clique) == 2:
            return self._pairs[self._blocks[clique[0]], self._blocks[clique[1]]]
        shape = self._domain.shape_of(clique)
        cell = self._codes[clique[0]]
        for attribute, size in zip(clique[1:], shape[1:], strict=True):
            cell = cell * size + self._codes[attribute]
        counts = np.bincount(cell, minlength=self._domain.size(clique)).astype(np.float64)
        return counts.reshape(shape) * (self._model.total / self._rows)

    @cached_property
    def _codes(self) -> Codes:
        return self._model.sample(self._rows, self._rng)


__all__ = ["Expected"]

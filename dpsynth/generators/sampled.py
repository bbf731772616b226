"""A model seen through one sample of it: every small marginal at once, for the price of drawing rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique
from dpsynth.graphical import GraphicalModel

MAX_ROWS = 200_000


class Sampled:
    """Expected counts estimated from a low-variance sample of about ``total`` rows (`MAX_ROWS` at most).

    Exact inference of a marginal that lies in no bag can cost as much as the whole model; here each costs
    one pass over the rows. The sampling error is that of rows drawn anew, far below the noise of what is
    measured.
    """

    def __init__(self, model: GraphicalModel, rng: np.random.Generator) -> None:
        rows = max(1, min(round(model.total), MAX_ROWS))
        self._domain = model.domain
        self._codes = {a: np.asarray(c) for a, c in model.sample(rows, rng).items()}
        self._scale = model.total / rows

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique`, axes in its order, in rows."""
        shape = self._domain.shape_of(clique)
        cell = self._codes[clique[0]]
        for attribute, size in zip(clique[1:], shape[1:], strict=True):
            cell = cell * size + self._codes[attribute]
        counts = np.bincount(cell, minlength=self._domain.size(clique)).astype(np.float64)
        return counts.reshape(shape) * self._scale


__all__ = ["Sampled"]

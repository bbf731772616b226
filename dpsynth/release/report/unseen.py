"""The check that the fit did not see: margins counted after it, with a declared share of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from dpsynth.domain import Codes
from dpsynth.release.report.counted import Counted
from dpsynth.release.report.noise import noncentrality
from dpsynth.release.report.verdicts import CONFIDENCE, Fit, judged
from dpsynth.schema import Schema


@dataclass(frozen=True, slots=True)
class Unseen:
    """The released table beside counts that its model was fitted without.

    Attributes:
        fits: one for each margin; columns in groups of values.
        sigma: noise of one cell, in rows.
        bound: with `CONFIDENCE`, the mean distance over these margins is at most this share of the rows.
        error: the root mean square error of a cell as a share of the rows, noise taken off; 0 where noise explains all.
        error_high: what that is at most, with `CONFIDENCE`.
    """

    fits: tuple[Fit, ...]
    sigma: float
    bound: float
    error: float
    error_high: float

    @classmethod
    def of(cls, measured: Sequence[Counted], schema: Schema, codes: Codes, rows: int, total: float) -> Unseen | None:
        """None where nothing was checked."""
        margins = [each for each in measured if each.clique]
        if not margins:
            return None
        squares = sum(float(((m.values - total / rows * m.released(codes)) ** 2).sum()) / m.sigma**2 for m in margins)
        cells = sum(m.values.size for m in margins)
        sigma = max(m.sigma for m in margins)
        most = noncentrality(squares, cells, 1 - CONFIDENCE)
        return cls(
            fits=judged(margins, schema, codes, rows, total, unseen=True),
            sigma=sigma,
            bound=min(1.0, 0.5 * sigma * sqrt(most * cells) / total / len(margins)),
            error=sigma * sqrt(max(0.0, squares - cells) / cells) / total,
            error_high=sigma * sqrt(most / cells) / total,
        )

    @property
    def noise(self) -> float:
        """Mean distance that noise alone makes."""
        return float(np.mean([fit.noise for fit in self.fits]))


__all__ = ["Unseen"]

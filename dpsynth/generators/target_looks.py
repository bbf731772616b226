"""Looks at every column together with one that shall be predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accountants import Gaussian
from dpsynth.domain import Clique
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.binning import MOST_BINS
from dpsynth.generators.heaped import heaped
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.graphical import Measurement, estimate_total, measured
from dpsynth.hints import Hints

_HEAPED = 0.125
"""Share of the budget for the grids of heaped columns; the rest is for all columns."""
_OUTSIDE = 2
"""Cells that a column on a grid may have beside its bins: the missing one, and the one out of domain."""


@dataclass(frozen=True, slots=True)
class TargetLooks:
    """What a model trained on the release will learn first, counted first: how each column goes with the target.

    One look at the grids of heaped columns by the target's cells, if there are any (`heaped`), and one at all columns
    with it. They stand for the second look at the one-ways, whose counts they hold.

    Attributes:
        target: the column to be predicted.
        mu_squared: of both looks.
        at_most: rows a unit contributes at most.
        max_cells: of the model; pairs together take half of what the one-ways leave of it at most.
    """

    target: str
    mu_squared: float
    at_most: int
    max_cells: int

    def pairs(self, one_ways: OneWays) -> list[Clique]:
        """Columns with the target: those with few enough cells for the model, and for the noise to leave some rows."""
        domain = one_ways.recoding.domain
        pairs = [domain.clique((a, self.target)) for a in domain.attributes if a != self.target]
        if not pairs:
            return []
        sigma = self._of_pairs.noise_multiplier * self.at_most * math.sqrt(len(pairs))
        most = min(estimate_total(one_ways.merged) / sigma, self._room(one_ways))
        return [pair for pair in pairs if domain.size(pair) <= most]

    def _room(self, one_ways: OneWays) -> float:
        """Cells that one pair may have: all of them take half of what the one-ways leave of the model."""
        shape = one_ways.recoding.domain.shape
        return (self.max_cells - sum(shape)) / (2 * (len(shape) - 1))

    def rebinned(self, private: PrivateTable, one_ways: OneWays, hints: Hints, cleaning: Cleaning) -> OneWays:
        """The one-ways with heaped columns in other bins: by one more look at their grids."""
        pairs, classes = self.pairs(one_ways), one_ways.recoding.domain[self.target]
        columns = [
            a
            for a in heaped(one_ways.base, hints.fine)
            if one_ways.recoding.domain.clique((a, self.target)) in pairs and a != self.target
        ]
        if not columns or (MOST_BINS + _OUTSIDE) * (classes + 1) > self._room(one_ways):
            return one_ways
        view = private.recoded({self.target: one_ways.recoding.maps[self.target]})
        asked = [view.domain.clique((a, self.target)) for a in columns]
        answers = view.count_all(asked, Gaussian.from_mu_squared(_HEAPED * self.mu_squared))
        return one_ways.with_heaped(answers, self.target, hints, cleaning)

    def measured(self, view: PrivateTable, one_ways: OneWays) -> list[Measurement]:
        """All that was counted with the target, over merged cells; `view` is over these."""
        pairs = self.pairs(one_ways)
        answers = measured(view.count_all(pairs, self._of_pairs)) if pairs else []
        return [*one_ways.heaped_with(self.target), *answers]

    @property
    def _of_pairs(self) -> Gaussian:
        return Gaussian.from_mu_squared((1.0 - _HEAPED) * self.mu_squared)


__all__ = ["TargetLooks"]

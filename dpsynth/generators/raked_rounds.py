"""Pairs that a model gets most wrong are measured, and particles drawn from it weighted to fit them.

For a graphical model these are rounds beyond its junction tree; for a network they mend what training got wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.round import Round
from dpsynth.graphical import Measurement, measured
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import Moments
from dpsynth.graphical.particles import Particles
from dpsynth.graphical.raking import Prior, PriorT, RakedModel, rake

LEAST_PARTICLES, MOST_PARTICLES = 100_000, 500_000
_A_ROW = 2.0
"""Particles for each row the model stands for."""
_MOST_SUMS = 10**9
"""Candidates times particles, beyond which scoring them all would take minutes a batch."""
_EVALUATIONS, _LAST_EVALUATIONS = 25, 120


def particles_for(total: float, candidates: int) -> int:
    """How many particles a model of `total` rows needs; 0 where it cannot have enough, or `candidates` are too many."""
    needed = max(LEAST_PARTICLES, round(_A_ROW * total))
    return needed if needed <= MOST_PARTICLES and 0 < candidates * needed <= _MOST_SUMS else 0


@dataclass(frozen=True, slots=True)
class Allotment:
    """A part of the budget for one set of candidates, and how it is spent.

    Attributes:
        view: answers about the candidates' columns.
        weights: candidates with their integer weights.
        each: the looks of a round.
        rounds: how many; none where there is no candidate.
        batch: rounds between two fits, at most one for each candidate.
    """

    view: PrivateTable
    weights: Mapping[Clique, int]
    each: Round
    rounds: int
    batch: int


class RakedRounds(Generic[PriorT]):
    """What was measured so far, and the particles' weights that fit it.

    Args:
        prior: the fitted model; the particles are drawn from it.
        measurements: what it was fitted to.
        particles: how many to draw.
        rng: draws them.
        moments, drawn_at: as in `rake`.
        at_most: rows a unit contributes at most.
        smoothing, tolerance: as in `estimate`.
        effective: least effective number of particles (Kish 1965), as a share of them, for a prior without potentials:
            where a fit would leave fewer, smoothing is doubled until it does not. 0: as the fit has it.
    """

    def __init__(
        self,
        prior: PriorT,
        measurements: Sequence[Measurement],
        particles: int,
        rng: np.random.Generator,
        *,
        moments: Moments | None = None,
        drawn_at: Mapping[Clique, Array] | None = None,
        at_most: int,
        smoothing: float,
        tolerance: float,
        effective: float = 0.0,
    ) -> None:
        self.prior = prior
        self.particles = Particles(prior.domain, _sorted(prior, prior.sample(particles, rng)))
        self.measurements = [*measurements]
        self._moments, self._drawn_at = moments, drawn_at
        self.model = RakedModel(prior, self.particles, np.ones(particles), [])
        self._at_most = at_most
        self._smoothing, self._tolerance, self._effective = smoothing, tolerance, effective
        self._potentials: Mapping[Clique, Array] | None = None

    def spend(self, how: Allotment) -> None:
        """Choose and measure `how.rounds` times, fitting after every batch."""
        for first in range(0, how.rounds, how.batch):
            self._batch(how, min(how.batch, how.rounds - first))
            self._fit(self._tolerance, _EVALUATIONS)

    def last(self) -> RakedModel[PriorT]:
        """The closest fit."""
        self._fit(self._tolerance / 2, _LAST_EVALUATIONS)
        return self.model

    def _batch(self, how: Allotment, rounds: int) -> None:
        """Choose and measure `rounds` candidates, each once."""
        noise_of_a_cell = how.each.of_a_cell(self._at_most)
        domain, expected = how.view.domain, _Expected(self.model)
        penalties = {c: round(w * noise_of_a_cell * domain.size(c)) for c, w in how.weights.items()}
        chosen: set[Clique] = set()
        for _ in range(rounds):
            rest = [c for c in how.weights if c not in chosen]
            weights, costs = [how.weights[c] for c in rest], [penalties[c] for c in rest]
            found = how.view.select(rest, expected, how.each.choice, weights=weights, penalties=costs)
            chosen.add(found)
            self.measurements += measured([how.view.count(found, how.each.noise)])

    def _fit(self, tolerance: float, evaluations: int) -> None:
        self.model, self._potentials = rake(
            self.prior,
            self.particles,
            self.measurements,
            self._moments,
            drawn_at=self._drawn_at,
            warm=self._potentials,
            smoothing=self._smoothing,
            tolerance=tolerance,
            max_evaluations=evaluations,
        )
        if 1.0 / np.square(self.model.weights).sum() < self._effective * self.particles.rows:
            self._smoothing *= 2.0
            self._fit(tolerance, evaluations)


def _sorted(prior: Prior, codes: Codes) -> Codes:
    """Rows sorted as the prior orders its columns: a systematic sample of them is then stratified."""
    order = np.lexsort([codes[a] for a in reversed(prior.order)])
    return {a: codes[a][order] for a in prior.domain.attributes}


class _Expected(Generic[PriorT]):
    """The weighted particles' counts of cliques, each summed once."""

    def __init__(self, model: RakedModel[PriorT]) -> None:
        self._model = model
        self._known: dict[Clique, NDArray[np.float64]] = {}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        if clique not in self._known:
            self._known[clique] = self._model.project(clique)
        return self._known[clique]


__all__ = ["LEAST_PARTICLES", "MOST_PARTICLES", "Allotment", "RakedRounds", "particles_for"]

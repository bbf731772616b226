"""Allotment beyond the junction tree: pairs that it has no room for are measured, and its particles weighted to fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, Gaussian
from dpsynth.domain import Clique, Codes
from dpsynth.generators.base import PrivateTable
from dpsynth.graphical import GraphicalModel, Measurement, measured
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import Moments
from dpsynth.graphical.particles import Particles
from dpsynth.graphical.raking import RakedModel, rake

LEAST_PARTICLES, MOST_PARTICLES = 100_000, 500_000
_A_ROW = 2.0
"""Particles for each row the model stands for."""
_MOST_SUMS = 10**9
"""Candidates times particles, beyond which scoring them all would take minutes a batch."""
_EVALUATIONS, _LAST_EVALUATIONS = 25, 120
_HALF_NORMAL = math.sqrt(2 / math.pi)
_HAIR = 1e-12


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
        mu_squared: the budget.
        rounds: looks, of equal budgets; none where there is no candidate.
        batch: looks between two fits, at most one for each candidate.
    """

    view: PrivateTable
    weights: Mapping[Clique, int]
    mu_squared: float
    rounds: int
    batch: int


class RakedRounds:
    """What was measured so far, and the particles' weights that fit it.

    Args:
        prior: the fitted model; the particles are drawn from it.
        measurements: what it was fitted to.
        moments: of pairs in its tree or not, to be fitted as well.
        particles: how many to draw.
        rng: draws them.
        drawn_at: the model's potentials, and coefficients for all of the moments.
        at_most: rows a unit contributes at most.
        select_share: share of each look's mu squared for the choice.
        smoothing, tolerance: as in `estimate`.
    """

    def __init__(
        self,
        prior: GraphicalModel,
        measurements: Sequence[Measurement],
        moments: Moments | None,
        particles: int,
        rng: np.random.Generator,
        *,
        drawn_at: Mapping[Clique, Array],
        at_most: int,
        select_share: float,
        smoothing: float,
        tolerance: float,
    ) -> None:
        self.prior = prior
        self.particles = Particles(prior.domain, _along_the_tree(prior, prior.sample(particles, rng)))
        self.measurements = [*measurements]
        self._moments, self._drawn_at = moments, drawn_at
        self.model = RakedModel(prior, self.particles, np.ones(particles), [])
        self._at_most, self._select_share = at_most, select_share
        self._smoothing, self._tolerance = smoothing, tolerance
        self._potentials: Mapping[Clique, Array] | None = None

    def spend(self, how: Allotment) -> None:
        """Choose and measure `how.rounds` times, fitting after every batch."""
        for first in range(0, how.rounds, how.batch):
            self._batch(how, min(how.batch, how.rounds - first), how.mu_squared / how.rounds)
            self._fit(self._tolerance, _EVALUATIONS)

    def last(self) -> RakedModel:
        """The closest fit."""
        self._fit(self._tolerance / 2, _LAST_EVALUATIONS)
        return self.model

    def _batch(self, how: Allotment, looks: int, mu_squared: float) -> None:
        """Choose and measure `looks` candidates, each once."""
        choice = ExponentialMechanism.from_mu_squared(self._select_share * mu_squared)
        # A hair less than the rest, so that both together never exceed mu_squared in floats.
        noise = Gaussian.from_mu_squared((1 - self._select_share) * mu_squared * (1 - _HAIR))
        noise_of_a_cell = _HALF_NORMAL * noise.noise_multiplier * self._at_most
        domain, expected = how.view.domain, _Expected(self.model)
        penalties = {c: round(w * noise_of_a_cell * domain.size(c)) for c, w in how.weights.items()}
        chosen: set[Clique] = set()
        for _ in range(looks):
            rest = [c for c in how.weights if c not in chosen]
            weights, costs = [how.weights[c] for c in rest], [penalties[c] for c in rest]
            found = how.view.select(rest, expected, choice, weights=weights, penalties=costs)
            chosen.add(found)
            self.measurements += measured([how.view.count(found, noise)])

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


def _along_the_tree(prior: GraphicalModel, codes: Codes) -> Codes:
    """Rows sorted by the columns of the tree's bags, root first: a systematic sample of them is then stratified."""
    attributes = list(dict.fromkeys(a for bag in prior.tree.bags for a in bag))
    order = np.lexsort([codes[a] for a in reversed(attributes)])
    return {a: codes[a][order] for a in prior.domain.attributes}


class _Expected:
    """The weighted particles' counts of cliques, each summed once."""

    def __init__(self, model: RakedModel) -> None:
        self._model = model
        self._known: dict[Clique, NDArray[np.float64]] = {}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        if clique not in self._known:
            self._known[clique] = self._model.project(clique)
        return self._known[clique]


__all__ = ["LEAST_PARTICLES", "MOST_PARTICLES", "Allotment", "RakedRounds", "particles_for"]

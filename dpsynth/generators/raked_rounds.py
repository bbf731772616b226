"""Rounds beyond the junction tree: pairs that it has no room for are measured, and its particles weighted to fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, Gaussian
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.graphical import GraphicalModel, Measurement, combine, measured
from dpsynth.graphical.factor import Array
from dpsynth.graphical.particles import Coarser, Particles
from dpsynth.graphical.raking import RakedModel, rake

LEAST_PARTICLES, MOST_PARTICLES = 100_000, 500_000
_A_ROW = 2.0
"""Particles for each row the model stands for."""
_MOST_SUMS = 10**9
"""Candidates times particles, beyond which scoring them all would take minutes a batch."""
_EVALUATIONS, _LAST_EVALUATIONS = 25, 120
_HALF_NORMAL = math.sqrt(2 / math.pi)
_NEGLIGIBLE, _HAIR = 1e-9, 1e-12


def particles_for(total: float, candidates: int) -> int:
    """How many particles a model of `total` rows needs; 0 where it cannot have enough, or `candidates` are too many."""
    needed = max(LEAST_PARTICLES, round(_A_ROW * total))
    return needed if needed <= MOST_PARTICLES and 0 < candidates * needed <= _MOST_SUMS else 0


@dataclass(frozen=True, slots=True)
class Rounds:
    """How a share of the budget is spent on one set of candidates.

    Attributes:
        view: answers about the candidates' columns.
        names: for a column of the view the name of its groups among the particles, where it shows groups.
        weights: candidates with their integer weights.
        mu_squared: the budget.
        rounds: looks that the budget would last for, if each taught something.
        batch: looks between two fits.
    """

    view: PrivateTable
    names: Mapping[str, str]
    weights: Mapping[Clique, int]
    mu_squared: float
    rounds: int
    batch: int


class RakedRounds:
    """What was measured so far, and the particles' weights that fit it.

    Args:
        prior: the fitted model; the particles are drawn from it.
        measurements: what it was fitted to.
        coarser: groups of columns' codes that candidates may be over.
        particles: how many to draw.
        rng: draws them.
        at_most: rows a unit contributes at most.
        select_share: share of each look's mu squared for the choice.
        anneal: factor on a look's mu squared after a batch that taught nothing.
        smoothing, tolerance: as in `estimate`.
    """

    def __init__(
        self,
        prior: GraphicalModel,
        measurements: Sequence[Measurement],
        coarser: Mapping[str, Coarser],
        particles: int,
        rng: np.random.Generator,
        *,
        at_most: int,
        select_share: float,
        anneal: float,
        smoothing: float,
        tolerance: float,
    ) -> None:
        self.prior = prior
        self.particles = Particles(prior.domain, prior.sample(particles, rng), coarser)
        self.measurements = [*measurements, *_grouped(prior.domain, measurements, coarser)]
        self.model = RakedModel(prior, self.particles, np.ones(particles), [])
        self._at_most, self._select_share, self._anneal = at_most, select_share, anneal
        self._smoothing, self._tolerance = smoothing, tolerance
        self._potentials: Mapping[Clique, Array] | None = None

    def spend(self, how: Rounds) -> None:
        """Choose and measure until the budget of `how` is gone, fitting after every batch."""
        left, a_look = how.mu_squared, how.mu_squared / max(how.rounds, 1)
        while how.weights and left > _NEGLIGIBLE * how.mu_squared:
            looks = min(how.batch, len(how.weights), max(1, round(left / a_look)))
            if left < (looks + 1) * a_look:
                a_look = left / looks
            taught = self._batch(how, looks, a_look)
            left -= looks * a_look
            if not taught:
                a_look *= self._anneal

    def last(self) -> RakedModel:
        """The closest fit."""
        self._fit(self._tolerance / 2, _LAST_EVALUATIONS)
        return self.model

    def _batch(self, how: Rounds, looks: int, mu_squared: float) -> bool:
        """Choose and measure `looks` candidates, then fit. False if the fit moved less than their noise would."""
        choice = ExponentialMechanism.from_mu_squared(self._select_share * mu_squared)
        # A hair less than the rest, so that both together never exceed mu_squared in floats.
        noise = Gaussian.from_mu_squared((1 - self._select_share) * mu_squared * (1 - _HAIR))
        noise_of_a_cell = _HALF_NORMAL * noise.noise_multiplier * self._at_most
        domain, expected = how.view.domain, _Expected(self.model, how.names)
        penalties = {c: round(w * noise_of_a_cell * domain.size(c)) for c, w in how.weights.items()}
        chosen: list[Clique] = []
        for _ in range(looks):
            open_ = [c for c in how.weights if c not in chosen]
            found = how.view.select(
                open_,
                expected,
                choice,
                weights=[how.weights[c] for c in open_],
                penalties=[penalties[c] for c in open_],
            )
            chosen.append(found)
            (answer,) = measured([how.view.count(found, noise)])
            self.measurements.append(_named(answer, how.names, self.particles.domain))
        before = [expected.project(c) for c in chosen]
        self._fit(self._tolerance, _EVALUATIONS)
        after = _Expected(self.model, how.names)
        moved = sum(float(np.abs(after.project(c) - b).sum()) for c, b in zip(chosen, before, strict=True))
        return moved > noise_of_a_cell * sum(domain.size(c) for c in chosen)

    def _fit(self, tolerance: float, evaluations: int) -> None:
        self.model, self._potentials = rake(
            self.prior,
            self.particles,
            self.measurements,
            warm=self._potentials,
            smoothing=self._smoothing,
            tolerance=tolerance,
            max_evaluations=evaluations,
        )


class _Expected:
    """The weighted particles' counts of a view's cliques, each summed once."""

    def __init__(self, model: RakedModel, names: Mapping[str, str]) -> None:
        self._model, self._names = model, names
        self._known: dict[Clique, NDArray[np.float64]] = {}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        if clique not in self._known:
            self._known[clique] = self._model.project([self._names.get(a, a) for a in clique])
        return self._known[clique]


def _named(answer: Measurement, names: Mapping[str, str], domain: Domain) -> Measurement:
    """The measurement over the particles' names, in their order."""
    clique = tuple(names.get(a, a) for a in answer.clique)
    ordered = domain.clique(clique)
    axes = [clique.index(a) for a in ordered]
    sigma = answer.sigma if np.ndim(answer.sigma) == 0 else np.asarray(answer.sigma).transpose(axes)
    return Measurement(ordered, answer.values.transpose(axes), sigma)


def _grouped(domain: Domain, measurements: Sequence[Measurement], coarser: Mapping[str, Coarser]) -> list[Measurement]:
    """What the measured one-ways say of the groups, so that margins over groups are reconciled with them."""
    singles = combine(domain, [m for m in measurements if len(m.clique) == 1])
    found = []
    for name, view in coarser.items():
        one_way = singles[(view.attribute,)]
        variance = np.broadcast_to(np.square(one_way.sigma), one_way.values.shape)
        values = np.bincount(view.map, one_way.values).astype(np.float64)
        found.append(Measurement((name,), values, np.sqrt(np.bincount(view.map, variance)).astype(np.float64)))
    return found


__all__ = ["LEAST_PARTICLES", "MOST_PARTICLES", "RakedRounds", "Rounds", "particles_for"]

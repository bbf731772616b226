"""A model's particles weighted so that they fit what the model itself does not: no room for it, or not learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Generic, Protocol, TypeVar

import numpy as np

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.graphical.estimation import Dual, Measurement, combine
from dpsynth.graphical.factor import Array
from dpsynth.graphical.herding import herded
from dpsynth.graphical.moments import Moments, WeightedMoments
from dpsynth.graphical.particles import Particles, WeightedSums

_FEWEST = 30.0
"""Effective particles below which given codes are completed by the model that the particles were drawn from."""


_MOST_NUMBERS = 2**25
"""Pairs times particles up to which drawn rows keep every pair close (128 MiB)."""
_ONE = 1e-9
"""Sums of weights this near to 1 are left alone."""


class Prior(Protocol):
    """What particles are drawn from: a graphical model, or a network."""

    @property
    def domain(self) -> Domain:
        """The attributes."""
        ...

    @property
    def total(self) -> float:
        """How many rows it stands for."""
        ...

    @property
    def potentials(self) -> Mapping[Clique, Array]:
        """By clique, those that a fit may change; a network has none."""
        ...

    @property
    def order(self) -> Clique:
        """All attributes, such that neighbours go together."""
        ...

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """Rows; with `given`, each completed given its own codes."""
        ...


PriorT = TypeVar("PriorT", bound=Prior)


class RakedModel(Generic[PriorT]):
    """A distribution over particles of another model. Immutable; it answers what a `GraphicalModel` answers.

    Attributes:
        prior: the model that the particles were drawn from.
        particles: the rows.
        weights: their probabilities, shape (particles,).
        cliques: the marginals that were fitted and that drawn rows keep closest.
    """

    def __init__(self, prior: PriorT, particles: Particles, weights: Array, cliques: Sequence[Clique]) -> None:
        if particles.domain != prior.domain:
            raise ValueError(f"particles over {particles.domain.sizes}, the model is over {prior.domain.sizes}")
        if weights.shape != (particles.rows,) or not (np.isfinite(weights).all() and weights.min() >= 0):
            raise ValueError(f"expected {particles.rows} finite, non-negative weights")
        self.prior = prior
        self.particles = particles
        mass = float(weights.sum())
        self.weights = weights if abs(mass - 1.0) < _ONE else weights / mass  # saved weights stay as they are
        self.cliques = tuple(particles.domain.clique(c) for c in cliques)

    @property
    def domain(self) -> Domain:
        """The attributes."""
        return self.prior.domain

    @property
    def total(self) -> float:
        """How many rows it stands for."""
        return self.prior.total

    def project(self, clique: Sequence[str], max_cells: int | None = None) -> Array:
        """Expected counts over `clique`, axes in the order given, in rows; they sum to `total`."""
        return self.particles.marginal(clique, self.weights) * self.total

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """Rows drawn from the weighted particles.

        Without `given` the marginals over `cliques` and pairs are kept close (see `herded`). With it, each row is a
        particle that has its given codes, in proportion to their weights; where those are few, it comes from the
        conditional of the model that the particles were drawn from.

        Raises:
            ValueError, KeyError: as that model's own `sample`.
        """
        if rows < 0:
            raise ValueError(f"rows must be at least 0, got {rows}")
        attributes = self.domain.attributes
        if given:
            return self._completed(rows, rng, given)
        if not rows:
            return {a: np.zeros(0, dtype=np.int64) for a in attributes}
        chosen = herded(self.weights, [self.particles.cells(c) for c in self._kept_close()], rows, rng)
        return {a: self.particles.codes(a)[chosen].astype(np.int64) for a in attributes}

    def _kept_close(self) -> tuple[Clique, ...]:
        """The fitted marginals, and all pairs where their cells are few enough to be held."""
        pairs = list(combinations(self.domain.attributes, 2))
        if len(pairs) * self.particles.rows > _MOST_NUMBERS:
            return self.cliques
        return tuple(dict.fromkeys((*self.cliques, *pairs)))

    def _completed(self, rows: int, rng: np.random.Generator, given: Codes) -> Codes:
        out = dict(self.prior.sample(rows, rng, given))  # checks what is given, and serves where particles are few
        names = [a for a in self.domain.attributes if a in given]
        held = np.stack([self.particles.codes(a) for a in names], axis=1).astype(np.int64)
        asked = np.stack([out[a] for a in names], axis=1)
        _, which = np.unique(np.concatenate([held, asked]), axis=0, return_inverse=True)
        which = which.reshape(-1)
        own, wanted = which[: len(held)], which[len(held) :]
        groups = int(which.max(initial=0)) + 1
        mass = np.bincount(own, self.weights, minlength=groups)
        effective = np.square(mass) / np.maximum(np.bincount(own, np.square(self.weights), minlength=groups), 1e-300)
        order = np.argsort(own, kind="stable")
        running = np.cumsum(self.weights[order])
        ends = np.searchsorted(own[order], np.arange(groups), side="right")
        below = np.concatenate([[0.0], running])[ends - np.bincount(own, minlength=groups)]
        places = np.flatnonzero(effective[wanted] >= _FEWEST)
        group = wanted[places]
        drawn = np.searchsorted(running, below[group] + rng.random(len(places)) * mass[group], side="right")
        picked = order[np.minimum(drawn, ends[group] - 1)]
        for a in self.domain.attributes:
            if a not in given:
                out[a] = out[a].copy()
                out[a][places] = self.particles.codes(a)[picked]
        return out


def rake(
    prior: PriorT,
    particles: Particles,
    measurements: Sequence[Measurement],
    moments: Moments | None = None,
    *,
    drawn_at: Mapping[Clique, Array] | None = None,
    warm: Mapping[Clique, Array] | None = None,
    smoothing: float = 0.2,
    tolerance: float = 0.1,
    max_evaluations: int = 30,
) -> tuple[RakedModel[PriorT], dict[Clique, Array]]:
    """Weights under which the particles fit all measurements: `estimate`'s problem, with sums over particles in it.

    The particles carry everything the prior knows; potentials of the measured cliques, whether the prior had them or
    not, tilt their weights exponentially. In survey sampling this is generalised raking (Deville, Särndal &
    Sautory 1993), with the noise of the targets allowed for.

    Args:
        prior: drew the particles.
        particles: drawn from it.
        measurements: all that the prior was fitted to, and more.
        moments: the same, of pairs anywhere.
        drawn_at: the prior's potentials and coefficients, as `fitted` returns them; its potentials by default.
        warm: potentials of an earlier call to start from; `drawn_at` by default.
        smoothing, tolerance, max_evaluations: as in `estimate`.

    Returns:
        The weighted model, and its potentials.

    Raises:
        KeyError, ValueError: a measurement is of other attributes, or has the wrong shape.
    """
    domain = particles.domain
    combined = combine(domain, measurements)
    cliques = tuple(sorted(combined, key=lambda c: (len(c), domain.axes(c))))
    start = prior.potentials if drawn_at is None else drawn_at
    sums: WeightedSums | WeightedMoments = WeightedSums(particles, cliques, start)
    if moments is not None:
        sums = WeightedMoments(particles, cliques, start, moments)
    problem = Dual(sums, domain, combined, prior.total, smoothing, moments)
    potentials = problem.minimised(warm or start, tolerance, max_evaluations)
    _, _, weights = sums.run([potentials[c] for c in sums.cliques])
    close = [*(c for c in cliques if len(c) > 1), *(moments.cliques if moments else ())]
    return RakedModel(prior, particles, weights, list(dict.fromkeys(close))), potentials


__all__ = ["Prior", "PriorT", "RakedModel", "rake"]

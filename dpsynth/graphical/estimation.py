"""Potentials fitted to noisy marginals: least squares weighted by precision, by steps of penalised maximum entropy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from dpsynth.domain import Clique, Domain
from dpsynth.graphical.belief_propagation import MessagePassing
from dpsynth.graphical.consistency import reconcile
from dpsynth.graphical.errors import ModelTooLarge
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.lbfgs import minimise
from dpsynth.graphical.model import GraphicalModel
from dpsynth.graphical.moments import MomentPassing, Moments
from dpsynth.measurement import NoisyCounts


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """One noisy marginal.

    Attributes:
        clique: the attributes, in the order of the axes of `values`.
        values: noisy counts in rows, any sign, finite.
        sigma: standard deviation of each cell's noise in rows: one number, or one per cell. Positive.

    Raises:
        ValueError: a value is not finite, or a sigma not positive and finite.
    """

    clique: Clique
    values: Array
    sigma: float | Array

    def __post_init__(self) -> None:
        if not np.isfinite(self.values).all():
            raise ValueError(f"measurement of {self.clique}: values must be finite, got an infinity or NaN")
        sigma = np.asarray(self.sigma)
        if not (np.isfinite(sigma).all() and (sigma > 0).all()):
            raise ValueError(f"measurement of {self.clique}: sigma must be positive and finite")
        if np.ndim(self.values) != len(self.clique):
            raise ValueError(f"measurement of {self.clique}: {np.ndim(self.values)} axes of values")


def measured(answers: Iterable[NoisyCounts]) -> list[Measurement]:
    """Noisy answers as measurements of this package."""
    return [Measurement(a.clique, a.values.astype(np.float64), a.sigma) for a in answers]


def estimate_total(measurements: Iterable[Measurement]) -> float:
    """The number of rows: every measurement's sum, weighted by the inverse of its variance. At least 1."""
    total = weight = 0.0
    for m in measurements:
        variance = float(np.broadcast_to(np.square(m.sigma), m.values.shape).sum())
        total += float(m.values.sum()) / variance
        weight += 1.0 / variance
    return max(total / weight, 1.0) if weight else 1.0


def combine(domain: Domain, measurements: Iterable[Measurement]) -> dict[Clique, Measurement]:
    """One measurement per clique, in domain order: repeated ones are averaged cell by cell, by precision."""
    sums: dict[Clique, tuple[Array, Array]] = {}
    for m in measurements:
        clique = domain.clique(m.clique)
        if m.values.shape != domain.project(m.clique).shape:
            raise ValueError(
                f"measurement of {m.clique}: shape {m.values.shape}, expected {domain.project(m.clique).shape}"
            )
        order = tuple(m.clique.index(a) for a in clique)
        precision = np.broadcast_to(1.0 / np.square(m.sigma), m.values.shape).transpose(order)
        weighted = m.values.transpose(order) * precision
        if clique in sums:
            before, known = sums[clique]
            sums[clique] = (before + weighted, known + precision)
        else:
            sums[clique] = (weighted, precision)
    return {c: Measurement(c, y / w, 1.0 / np.sqrt(w)) for c, (y, w) in sums.items()}


def estimate(
    domain: Domain,
    measurements: Sequence[Measurement],
    *,
    tree: JunctionTree | None = None,
    max_cells: int = 4_000_000,
    warm: Mapping[Clique, Array] | None = None,
    smoothing: float = 0.2,
    tolerance: float = 0.1,
    max_evaluations: int = 200,
) -> GraphicalModel:
    """The graphical model that fits all measurements best, over the junction tree of their cliques.

    Minimises over distributions ``p`` (marginals ``p_c``, total ``N``)

        ``sum_c || (N p_c - y_c) / sigma_c ||^2 / 2  +  weight * KL(p || uniform)``,

    least squares by precision (McKenna, Sheldon, Miklau 2019, section 3) with the entropy that picks one
    solution and keeps noise out of cells with no support. ``weight = smoothing * N / sigma`` for the
    typical sigma, so a cell one sigma off its target moves its potential by ``1 / smoothing``, whatever the
    budget and the number of rows. The dual is smooth, strictly convex and unconstrained in the potentials,

        ``log Z(theta) - <theta, y/N> + sum_c weight * || sigma_c theta_c ||^2 / (2 N^2)``,

    costs one belief propagation for value and gradient, and is minimised by L-BFGS from `warm`. It stops on the
    duality gap, which is ``weight / 2 * || gradient / (N sigma) ||^2`` in closed form.

    Args:
        domain: the attributes; those nothing was measured of come out uniform.
        measurements: any cliques, repeated or overlapping; none at all gives the uniform distribution.
        tree: a junction tree with every clique in some bag; by default one is triangulated for them.
        max_cells: limit on the junction tree; working memory is about five times that many floats.
        warm: potentials of an earlier fit, by clique, to start from.
        smoothing: weight of the entropy, positive.
        tolerance: root mean square, over measured cells, of what is left to gain, in sigma.
        max_evaluations: belief propagations at most.

    Raises:
        ModelTooLarge: the junction tree has more than `max_cells` cells.
        KeyError: a clique is not in the domain.
        ValueError: a measurement has the wrong shape.
    """
    return fitted(
        domain,
        measurements,
        None,
        tree=tree,
        max_cells=max_cells,
        warm=warm,
        smoothing=smoothing,
        tolerance=tolerance,
        max_evaluations=max_evaluations,
    )[0]


def fitted(
    domain: Domain,
    measurements: Sequence[Measurement],
    moments: Moments | None,
    *,
    tree: JunctionTree | None = None,
    max_cells: int = 4_000_000,
    warm: Mapping[Clique, Array] | None = None,
    smoothing: float = 0.2,
    tolerance: float = 0.1,
    max_evaluations: int = 200,
) -> tuple[GraphicalModel, dict[Clique, Array]]:
    """As `estimate`, to marginals and moments together.

    A moment adds ``(N E_p[s t] - v)^2 / sigma^2 / 2`` to the first sum, weighed so that one sigma moves its coefficient
    by ``1 / smoothing`` whatever its noise: many sums of products are far noisier than the cells of a marginal.

    Args:
        moments: over pairs that each lie in a bag of `tree`, where one is given.

    Returns:
        The model, and what to start the next fit from: potentials of the measured cliques, and under
        `dpsynth.graphical.moments.MOMENTS` the coefficients of the moments.

    Raises:
        ModelTooLarge, KeyError, ValueError: as `estimate`.
    """
    combined = combine(domain, measurements)
    total = estimate_total(measurements)
    cliques = tuple(sorted(combined, key=lambda c: (len(c), domain.axes(c))))
    tree = tree or JunctionTree.of(domain, (*cliques, *(moments.cliques if moments else ())))
    if tree.cells > max_cells:
        raise ModelTooLarge("the junction tree", tree.cells, max_cells)
    if not cliques:
        return GraphicalModel(domain, {}, total, tree), {}
    if moments is None or not moments.pairs:
        passing = MessagePassing(tree, cliques)
        potentials = Dual(passing, domain, combined, total, smoothing).minimised(warm or {}, tolerance, max_evaluations)
        return GraphicalModel(domain, potentials, total, passing=passing), potentials
    both = MomentPassing(tree, cliques, moments)
    problem = Dual(both, domain, combined, total, smoothing, moments)
    potentials = problem.minimised(warm or {}, tolerance, max_evaluations)
    whole = both.whole([potentials[c] for c in both.cliques])
    return GraphicalModel(domain, whole, total, passing=both.inner), potentials


class Passing(Protocol):
    """How a model's marginals follow from its potentials: along a junction tree, or over weighted particles."""

    cliques: tuple[Clique, ...]
    shapes: tuple[tuple[int, ...], ...]

    def run(self, potentials: Sequence[Array]) -> tuple[float, Any, Any]:
        """The log partition function, something of its own, and what `marginals` takes."""
        ...

    def marginals(self, beliefs: Any) -> list[Array]:
        """The marginal distribution of every clique, in order."""
        ...


class Dual:
    """The dual objective of `estimate`, on all potentials joined to one vector.

    Args:
        passing: gives value and gradient.
        domain: of its cliques.
        combined: one measurement for each of its cliques.
        total: what marginals sum to.
        smoothing: as in `estimate`.
        moments: what the last of the passing's parts is about, if it is not a clique (`fitted`).
    """

    def __init__(
        self,
        passing: Passing,
        domain: Domain,
        combined: Mapping[Clique, Measurement],
        total: float,
        smoothing: float,
        moments: Moments | None = None,
    ) -> None:
        self.passing = passing
        cliques = passing.cliques if moments is None else passing.cliques[:-1]
        ends = np.cumsum([0, *(prod(shape) for shape in passing.shapes)])
        self._slices = list(zip(ends[:-1], ends[1:], passing.shapes, strict=True))
        variances = {c: np.square(np.broadcast_to(combined[c].sigma, combined[c].values.shape)) for c in cliques}
        values = {c: combined[c].values for c in cliques}
        agreed = reconcile(domain, values, variances, total)
        self.target = self.joined(agreed[c] for c in cliques) / total
        typical = 1.0 / math.sqrt(float(np.mean([np.mean(1.0 / v) for v in variances.values()])))
        self.weight = smoothing * total / typical
        self.kappa = self.weight * self.joined(variances[c] for c in cliques) / total**2
        self._moments = 0 if moments is None else len(moments.pairs)
        if moments is not None:
            self.target = np.concatenate([self.target, moments.values / total])
            self.kappa = np.concatenate([self.kappa, smoothing * moments.sigma / total])

    def minimised(self, warm: Mapping[Clique, Array], tolerance: float, max_evaluations: int) -> dict[Clique, Array]:
        """The potentials of the least value, begun at `warm` (zero where it has none)."""
        cliques, shapes = self.passing.cliques, self.passing.shapes
        start = self.joined(warm.get(c, np.zeros(shape)) for c, shape in zip(cliques, shapes, strict=True))
        theta = minimise(self, start, self.scale(start), self.close(tolerance), max_evaluations)
        return dict(zip(cliques, self.split(theta), strict=True))

    def joined(self, parts: Iterable[Array]) -> Array:
        """Arrays over the cliques as one vector."""
        return np.concatenate([p.ravel() for p in parts])

    def split(self, theta: Array) -> list[Array]:
        """The inverse of `joined`."""
        return [theta[a:b].reshape(shape) for a, b, shape in self._slices]

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient."""
        log_partition, _, beliefs = self.passing.run(self.split(theta))
        penalty = self.kappa * theta
        value = log_partition - float(theta @ self.target) + 0.5 * float(theta @ penalty)
        return value, self.joined(self.passing.marginals(beliefs)) - self.target + penalty

    def scale(self, theta: Array) -> Array:
        """The inverse of the Hessian's diagonal, but for squares of marginals; products of scores vary by about one."""
        _, _, beliefs = self.passing.run(self.split(theta))
        variance = self.joined(self.passing.marginals(beliefs))
        variance[len(variance) - self._moments :] = 1.0
        return 1.0 / (variance + self.kappa)

    def close(self, tolerance: float) -> Callable[[Array, Array], bool]:
        """Whether a point is as near as `tolerance` asks, by the duality gap."""
        bound = tolerance**2 * len(self.target) / self.weight

        def check(theta: Array, gradient: Array) -> bool:
            return float(gradient @ (gradient / self.kappa)) <= bound

        return check


__all__ = ["Dual", "Measurement", "Passing", "combine", "estimate", "estimate_total", "fitted", "measured"]

"""A fitted model told that some combinations cannot occur, and fitted again so that it keeps its marginals.

Multiplying a model by weights (0 where a combination is impossible) and normalising is conditioning: it takes mass from
whatever lies under the zeros and moves every marginal that touches them. Here the marginals over the model's own
cliques are what was measured, so they are fitted again under the weights: the result is the distribution ``q`` that
minimises

    ``KL(q || weights * model)  +  sum_c || q_c - p_c ||^2 / (2 * slack)``

(compare the generalised iterative scaling of Darroch & Ratcliff 1972): in relative entropy the nearest to the model
under the weights that gives the cliques ``c`` their marginals ``p_c``, as far as the zeros allow. The dual is the one
of `estimate`, started at zero; potentials of impossible combinations are finite, `LOG_ZERO`, so that no message is
ever infinite or undefined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dpsynth.domain import Clique
from dpsynth.graphical.belief_propagation import MessagePassing
from dpsynth.graphical.estimation import Passing
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.lbfgs import minimise
from dpsynth.graphical.model import GraphicalModel
from dpsynth.graphical.particles import WeightedSums
from dpsynth.graphical.raking import PriorT, RakedModel

LOG_ZERO = -1e4
"""The potential of what cannot occur: ``exp`` of it is 0, and sums of many such stay far from overflow."""


def holding(model: GraphicalModel, cliques: Iterable[Clique], max_cells: int) -> list[Clique]:
    """Those of `cliques` that the model can take in within `max_cells`, smallest first."""
    tree, held = model.tree, list[Clique]()
    for clique in sorted(cliques, key=lambda c: (model.domain.size(c), c)):
        if tree.bag_of(clique) is None:
            if not tree.fits(clique, max_cells):
                continue
            tree = JunctionTree.of(model.domain, (*model.potentials, *held, clique))
        held.append(clique)
    return held


def constrain(
    model: GraphicalModel,
    weights: Mapping[Clique, Array],
    *,
    slack: float = 1e-3,
    tolerance: float = 1e-5,
    max_evaluations: int = 100,
) -> GraphicalModel:
    """The model under the weights, its own cliques' marginals fitted again.

    Args:
        model: fitted to what was measured; not changed.
        weights: for each clique a table between 0 and 1, axes in domain order; see `holding` for what fits.
        slack: how far a cell's probability may move for one nat of its potential; positive. Without slack the zeros and
            the noise in what was measured contradict each other, and the fit distorts everything to please both.
        tolerance: the fit ends when no cell is further than this from where it should be.
        max_evaluations: belief propagations at most.
    """
    own = tuple(model.potentials)
    cliques = tuple(dict.fromkeys((*own, *weights)))
    passing = MessagePassing(JunctionTree.of(model.domain, cliques), cliques)
    logs = {c: _log(w) for c, w in weights.items()}
    base = [
        np.asarray(model.potentials.get(c, 0.0)) + logs.get(c, np.zeros(shape))
        for c, shape in zip(cliques, passing.shapes, strict=True)
    ]
    target = [model.project(c) / model.total for c in own]
    found = _kept(passing, base, target, slack, tolerance, max_evaluations)
    return GraphicalModel(model.domain, dict(zip(cliques, found, strict=True)), model.total, passing.tree)


def constrain_particles(
    model: RakedModel[PriorT],
    prior: PriorT,
    weights: Mapping[Clique, Array],
    *,
    slack: float = 1e-3,
    tolerance: float = 1e-5,
    max_evaluations: int = 100,
) -> RakedModel[PriorT]:
    """The same for weighted particles, where every clique fits: those that cannot occur get weight zero.

    Args:
        model: not changed, and returned as it is where no particle satisfies everything.
        prior: what its particles were drawn from, constrained as far as it has room.
        weights, slack, tolerance, max_evaluations: as in `constrain`.
    """
    particles, mass = model.particles, model.weights.copy()
    for clique, table in weights.items():
        mass = mass * table.ravel()[particles.cells(clique)]
    if not mass.sum() > 0:
        return model
    singles: list[Clique] = [(a,) for a in model.domain.attributes]
    own = tuple(dict.fromkeys((*singles, *model.cliques)))
    sums = WeightedSums(particles, own, {}, mass)
    base = [np.zeros(shape) for shape in sums.shapes]
    target = [particles.marginal(c, model.weights) for c in own]
    _, _, fitted = sums.run(_kept(sums, base, target, slack, tolerance, max_evaluations))
    return RakedModel(prior, particles, fitted, model.cliques)


def _log(weights: Array) -> Array:
    return np.where(weights > 0, np.maximum(np.log(np.maximum(weights, 1e-300)), LOG_ZERO), LOG_ZERO)


def _kept(
    passing: Passing,
    base: list[Array],
    target: Sequence[Array],
    slack: float,
    tolerance: float,
    max_evaluations: int,
) -> list[Array]:
    """Potentials near `base` under which the first cliques have the marginals `target` (shares), within `slack`."""
    if not target:
        return base
    own = len(target)
    cuts = np.cumsum([t.size for t in target])[:-1]
    joined = np.concatenate([t.ravel() for t in target])

    def moved(step: Array) -> list[Array]:
        parts = [part.reshape(shape) for part, shape in zip(np.split(step, cuts), passing.shapes, strict=False)]
        return [b + p for b, p in zip(base, parts, strict=False)] + base[own:]

    def fitted(beliefs: Any) -> Array:
        return np.concatenate([m.ravel() for m in passing.marginals(beliefs)[:own]])

    def dual(step: Array) -> tuple[float, Array]:
        log_partition, _, beliefs = passing.run(moved(step))
        value = log_partition - float(step @ joined) + 0.5 * slack * float(step @ step)
        return value, fitted(beliefs) - joined + slack * step

    def close(step: Array, gradient: Array) -> bool:
        return float(np.abs(gradient).max()) <= tolerance

    start = np.zeros(len(joined))
    scale = 1.0 / (fitted(passing.run(moved(start))[2]) + slack)
    return moved(minimise(dual, start, scale, close, max_evaluations))


__all__ = ["LOG_ZERO", "constrain", "constrain_particles", "holding"]

"""Fitted models that know the schema's constraints, before a row is drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.rules import Clause, Rules
from dpsynth.constraints.shares import share
from dpsynth.domain import Clique
from dpsynth.generators.base import Model
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import RakedModel
from dpsynth.graphical.constrained import constrain, constrain_particles, holding

ROOM = 500_000
"""Cells that constraints may add to a model, beside as many as it has."""
_HAIR = 1e-12
"""A share less than this is none: what is left where weights that sum to 1 are added up."""


def constrained(model: Model, rules: Rules) -> Model:
    """The model with what constraints rule out given probability zero, and its marginals fitted again.

    It is made from the model and the schema alone, at no cost. Constraints over more cells than the model has room for
    are left to sampling, and so is a network whose rows are not weighted. Merged cells carry the share of their base
    cells that satisfies a constraint. Which cells of a derived column go with an empty base is left to sampling too:
    where they are drowned in noise, the fit would move the base, which was counted well.
    """
    if not rules or not isinstance(model, MarginalModel | NetworkModel):
        return model
    if isinstance(model, NetworkModel):
        weights = _weights(model.recoding, rules, ROOM)
        if not weights or not isinstance(model.rows, RakedModel):
            return model
        return NetworkModel(model.recoding, constrain_particles(model.rows, model.rows.prior, weights))
    raked = model.graphical if isinstance(model.graphical, RakedModel) else None
    prior = model.graphical.prior if isinstance(model.graphical, RakedModel) else model.graphical
    limit = 2 * prior.tree.cells + ROOM
    weights = _weights(model.recoding, rules, limit)
    held = holding(prior, weights, limit)
    if held:
        prior = constrain(prior, {c: weights[c] for c in held})
    if raked is not None and weights:
        return MarginalModel(model.recoding, constrain_particles(raked, prior, weights))
    return MarginalModel(model.recoding, prior) if held else model


def _weights(recoding: Recoding, rules: Rules, limit: int) -> dict[Clique, NDArray[np.float64]]:
    """For all columns that share ties of at most `limit` merged cells, the share of each combination that satisfies
    them."""
    weights: dict[Clique, NDArray[np.float64]] = {}
    for columns, table in _tables(recoding, rules, limit):
        clique = recoding.domain.clique(columns)
        table = np.clip(table.transpose([columns.index(a) for a in clique]), 0.0, 1.0)
        if (table < 1).any():
            weights[clique] = weights[clique] * table if clique in weights else table
    return weights


def _tables(recoding: Recoding, rules: Rules, limit: int) -> Iterator[tuple[Clique, NDArray[np.float64]]]:
    """For every tie of at most `limit` merged cells the share of each combination that satisfies it."""
    for component in rules.components:
        for clause in component.clauses:
            if not clause.derives and recoding.domain.size(clause.columns) <= limit:
                yield clause.columns, _clause(recoding, clause)
        for tie in component.numeric:
            if recoding.domain.size(tie.columns) <= limit and (table := share(component, tie)) is not None:
                yield tie.columns, _merged(recoding, tie.columns, table)


def _clause(recoding: Recoding, clause: Clause) -> NDArray[np.float64]:
    """The share of each combination of merged cells in which some column is in its set."""
    violating: NDArray[np.float64] = np.ones(())
    for name, mask in zip(clause.columns, clause.allowed, strict=True):
        violating = np.multiply.outer(violating, np.bincount(recoding.maps[name], recoding.weights[name] * ~mask))
    return np.where(violating > 1 - _HAIR, 0.0, 1.0 - violating)


def _merged(recoding: Recoding, columns: Clique, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """A table over base codes as shares of merged cells, axes as they were."""
    for axis, name in enumerate(columns):
        merged = np.zeros((recoding.domain[name], len(recoding.maps[name])))
        merged[recoding.maps[name], np.arange(merged.shape[1])] = recoding.weights[name]
        table = np.moveaxis(np.tensordot(merged, table, axes=(1, axis)), 0, axis)
    return table


__all__ = ["constrained"]

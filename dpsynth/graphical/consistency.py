"""Consistent targets: noisy marginals averaged where they overlap, before any model is fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from dpsynth.domain import Clique, Domain
from dpsynth.graphical.factor import Array


def _centred(values: Array) -> Array:
    """The pure interaction of all axes: every axis' mean taken out."""
    for axis in range(values.ndim):
        values = values - values.mean(axis=axis, keepdims=True)
    return values


def _subsets(clique: Clique) -> Iterable[Clique]:
    return (s for size in range(1, len(clique) + 1) for s in combinations(clique, size))


def reconcile(
    domain: Domain, targets: Mapping[Clique, Array], variances: Mapping[Clique, Array], total: float
) -> dict[Clique, Array]:
    """The closest tables (by precision) that agree on every shared sub-marginal and all sum to `total`.

    A marginal splits into orthogonal parts, one for each subset of its attributes: the sum over the other axes
    with every axis' mean taken out (the analysis of variance). Independent noise of one variance stays independent
    between parts, so generalised least squares is, part by part, the mean of the estimates that the measured
    cliques give, weighted by precision (compare Xiao et al. 2023, ResidualPlanner, section 3). For single attributes
    the mean is taken cell by cell and the excess over `total` removed in proportion to the variance, which is
    exact for one-ways of unequal variances too.

    Fitting to the result instead of the raw targets leaves the least-squares problem as it was, up to a
    constant, and takes out of its dual the directions in which potentials would cancel each other.

    Args:
        domain: sizes of the attributes.
        targets: noisy tables, cliques and axes in domain order.
        variances: of each cell, same shapes; unequal ones beyond one-ways are replaced by their mean.
        total: what every table shall sum to.

    Returns:
        Tables of the same shapes; cells may be negative.
    """
    sums: dict[Clique, Array] = {}
    weights: dict[Clique, Array] = {}
    for clique, table in targets.items():
        spread = float(variances[clique].mean())
        for part in _subsets(clique):
            summed = table.sum(axis=tuple(i for i, a in enumerate(clique) if a not in part))
            if part == clique and len(clique) == 1:
                weight = 1.0 / variances[clique]
            else:
                weight = np.full(summed.shape, summed.size / (spread * table.size))
            estimate = summed if len(part) == 1 else _centred(summed)
            sums[part] = sums.get(part, 0.0) + weight * estimate
            weights[part] = weights.get(part, 0.0) + weight
    parts: dict[Clique, Array] = {}
    for part, weight in weights.items():
        mean = sums[part] / weight
        if len(part) == 1:
            share = (1.0 / weight) / (1.0 / weight).sum()
            mean = mean - (mean.sum() - total) * share
            mean = mean - mean.mean()
        parts[part] = mean
    agreed = {}
    for clique, table in targets.items():
        rebuilt = np.full(table.shape, total / table.size)
        for part in _subsets(clique):
            shape = tuple(domain[a] if a in part else 1 for a in clique)
            rebuilt = rebuilt + parts[part].reshape(shape) * (parts[part].size / table.size)
        agreed[clique] = rebuilt
    return agreed


__all__ = ["reconcile"]

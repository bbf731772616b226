"""Rows drawn from a model, standing for it: marginals of any clique at one price, whatever the junction tree holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.graphical.factor import Array


class Particles:
    """A fixed set of rows, all equally likely until they are weighted. Immutable.

    Attributes:
        domain: the columns of the model that they were drawn from.
        rows: how many.
    """

    def __init__(self, domain: Domain, codes: Codes) -> None:
        self.domain = domain
        self._codes: dict[str, NDArray[Any]] = {a: _small(codes[a], domain[a]) for a in domain.attributes}
        self.rows = len(self._codes[domain.attributes[0]])

    def codes(self, attribute: str) -> NDArray[Any]:
        """One column, unsigned integers, shape (rows,)."""
        return self._codes[attribute]

    def cells(self, clique: Sequence[str]) -> NDArray[np.int32]:
        """For every row which cell of the marginal over `clique` (flattened, axes in its order) it lies in."""
        cell = np.zeros(self.rows, dtype=np.int32)
        for attribute in clique:
            cell = cell * np.int32(self.domain[attribute]) + self._codes[attribute]
        return cell

    def marginal(self, clique: Sequence[str], weights: Array) -> Array:
        """Sums of `weights` over the cells of `clique`, axes in its order."""
        shape = self.domain.shape_of(clique)
        return np.bincount(self.cells(clique), weights, minlength=prod(shape)).reshape(shape).astype(np.float64)


def _small(codes: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(codes).astype(np.min_scalar_type(max(size - 1, 0)))


class WeightedSums:
    """Importance sampling laid out for a list of cliques: what `MessagePassing` is on a tree, on a set of particles.

    Where the particles were drawn from a model with potentials ``theta_0`` and partition function ``Z_0``, the model
    with potentials ``theta`` has ``Z / Z_0 = mean_i exp(sum_c (theta_c - theta_0,c)[x_i])``, and its marginals
    are the weighted counts (compare Wainwright & Jordan 2008, section 3). Potentials of a clique inside
    another listed one are added to that one's, so that rows are passed over once for each clique in no other.

    Args:
        particles: the rows.
        cliques: over their domain, each once.
        drawn_at: potentials of the model that they were drawn from, for those of its cliques that are listed.
        mass: what each particle counts for beforehand, shape (rows,); the same for all by default.
    """

    def __init__(
        self,
        particles: Particles,
        cliques: Sequence[Clique],
        drawn_at: Mapping[Clique, Array],
        mass: Array | None = None,
    ) -> None:
        domain = particles.domain
        self.cliques = tuple(domain.clique(c) for c in cliques)
        self.shapes = tuple(domain.project(c).shape for c in self.cliques)
        self._rows = particles.rows
        order = sorted(range(len(self.cliques)), key=lambda i: (len(self.cliques[i]), prod(self.shapes[i])))
        sets = [frozenset(c) for c in self.cliques]
        self._host: dict[int, int] = {}
        for position, i in enumerate(order):
            host = next((j for j in order[position + 1 :] if sets[i] < sets[j]), None)
            if host is not None:
                self._host[i] = host
        self._order = order
        self._cells = {i: particles.cells(self.cliques[i]) for i in order if i not in self._host}
        start = [drawn_at.get(c, np.zeros(shape)) for c, shape in zip(self.cliques, self.shapes, strict=True)]
        self._start = self._heights(start)
        if mass is not None:
            with np.errstate(divide="ignore"):  # what counts for nothing stays at minus infinity
                self._start -= np.log(mass / mass.mean())

    def run(self, potentials: Sequence[Array], more: Array | float = 0.0) -> tuple[float, None, Array]:
        """``log(Z / Z_0)`` and the particles' weights, which sum to 1; nothing stands for conditionals.

        `more` is added to the particles' heights: potentials that are not over cliques.
        """
        heights = self._heights(potentials) - self._start + more
        peak = float(heights.max())
        weights = np.exp(heights - peak)
        mass = float(weights.sum())
        return peak + math.log(mass / self._rows), None, weights / mass

    def marginals(self, weights: Array) -> list[Array]:
        """The weighted marginal of every listed clique, in order."""
        found: dict[int, Array] = {}
        for i in reversed(self._order):
            if i in self._host:
                host = self._host[i]
                gone = tuple(axis for axis, a in enumerate(self.cliques[host]) if a not in self.cliques[i])
                found[i] = found[host].sum(axis=gone)
            else:
                counts = np.bincount(self._cells[i], weights, minlength=prod(self.shapes[i]))
                found[i] = counts.reshape(self.shapes[i]).astype(np.float64)
        return [found[i] for i in range(len(self.cliques))]

    def _heights(self, potentials: Sequence[Array]) -> Array:
        """The sum of potentials of every particle, shape (rows,)."""
        held = dict(enumerate(potentials))
        for i in self._order:
            if i in self._host:
                host = self._host[i]
                shape = tuple(
                    size if a in self.cliques[i] else 1
                    for a, size in zip(self.cliques[host], self.shapes[host], strict=True)
                )
                held[host] = held[host] + held[i].reshape(shape)
        total = np.zeros(self._rows)
        for i, cells in self._cells.items():
            total += np.take(held[i].ravel(), cells)
        return total


__all__ = ["Particles", "WeightedSums"]

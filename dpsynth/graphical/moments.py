"""Moments: noisy sums of products of two columns' scores, fitted by potentials of rank one.

A pair of columns has as many cells as their sizes multiplied, and as many counts to pay for; the sum over rows of
``s(a) t(b)`` is one number. Under maximum entropy its potential is ``tau s(a) t(b)``, one coefficient a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from dpsynth.domain import Clique
from dpsynth.graphical.belief_propagation import MessagePassing
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.particles import Particles, WeightedSums

MOMENTS: Clique = ("\0moments",)
"""Where coefficients of moments stand among potentials."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Noisy sums over rows of ``s(a) t(b)``.

    Attributes:
        attributes: the column of each score, in domain order; one column may have several.
        scores: for each its numbers by code, of about mean 0 and variance 1 over the rows.
        pairs: places of the scores multiplied, of two different columns, the earlier first.
        values: a sum for each pair, in rows, shape (pairs,).
        sigma: standard deviations of their noise, positive, shape (pairs,).

    Raises:
        ValueError: shapes do not fit, or a number is not finite.
    """

    attributes: tuple[str, ...]
    scores: tuple[Array, ...]
    pairs: tuple[tuple[int, int], ...]
    values: Array
    sigma: Array

    def __post_init__(self) -> None:
        if not self.values.shape == self.sigma.shape == (len(self.pairs),):
            raise ValueError(f"{len(self.pairs)} pairs, {self.values.shape} values, {self.sigma.shape} sigma")
        if not (np.isfinite(self.values).all() and np.isfinite(self.sigma).all() and (self.sigma > 0).all()):
            raise ValueError("moments must be finite, their sigma positive and finite")

    def only(self, places: Sequence[int]) -> Moments:
        """Those of the pairs at `places`."""
        which = np.asarray(places, dtype=np.intp)
        pairs = tuple(self.pairs[i] for i in which)
        return Moments(self.attributes, self.scores, pairs, self.values[which], self.sigma[which])

    @property
    def cliques(self) -> tuple[Clique, ...]:
        """The columns of each pair."""
        return tuple((self.attributes[i], self.attributes[j]) for i, j in self.pairs)

    @property
    def products(self) -> list[Array]:
        """For each pair ``s(a) t(b)`` over the cells of its columns."""
        return [np.outer(self.scores[i], self.scores[j]) for i, j in self.pairs]


class MomentPassing:
    """`MessagePassing` of cliques and moments together: potentials of the cliques, then one coefficient a pair.

    Args:
        tree: with every clique and every pair in some bag.
        cliques: measured by counts.
        moments: measured by sums.
    """

    def __init__(self, tree: JunctionTree, cliques: Sequence[Clique], moments: Moments) -> None:
        domain = tree.domain
        everything = {*cliques, *moments.cliques}
        self.inner = MessagePassing(tree, tuple(sorted(everything, key=lambda c: (len(c), domain.axes(c)))))
        self._shapes = dict(zip(self.inner.cliques, self.inner.shapes, strict=True))
        self._counted, self._pairs, self._products = tuple(cliques), moments.cliques, moments.products
        self.cliques = (*self._counted, MOMENTS)
        self.shapes = (*(self._shapes[c] for c in self._counted), (len(moments.pairs),))

    def whole(self, potentials: Sequence[Array]) -> dict[Clique, Array]:
        """Potentials of all cliques and pairs, coefficients multiplied out."""
        held = dict(zip(self._counted, potentials[:-1], strict=True))
        for pair, product, coefficient in zip(self._pairs, self._products, potentials[-1], strict=True):
            held[pair] = held[pair] + coefficient * product if pair in held else coefficient * product
        return held

    def run(self, potentials: Sequence[Array]) -> tuple[float, Any, Any]:
        """As `MessagePassing.run`."""
        held = self.whole(potentials)
        return self.inner.run([held[c] for c in self.inner.cliques])

    def marginals(self, beliefs: Any) -> list[Array]:
        """The marginal of every clique, then the mean of every pair's product."""
        found = dict(zip(self.inner.cliques, self.inner.marginals(beliefs), strict=True))
        means = [float(np.vdot(found[p], product)) for p, product in zip(self._pairs, self._products, strict=True)]
        return [*(found[c] for c in self._counted), np.array(means)]


class WeightedMoments:
    """`WeightedSums` of cliques and moments together: what `MomentPassing` is on a tree, on a set of particles.

    With ``X`` the particles' scores and ``T`` the coefficients as a matrix, all moments cost two products of
    matrices: heights are the diagonal of ``X T X^T``, means are ``X^T diag(w) X``.

    Args:
        particles, cliques, drawn_at: as in `WeightedSums`; coefficients they were drawn at stand under `MOMENTS`.
        moments: measured by sums.
    """

    def __init__(
        self, particles: Particles, cliques: Sequence[Clique], drawn_at: Mapping[Clique, Array], moments: Moments
    ) -> None:
        self._sums = WeightedSums(particles, cliques, drawn_at)
        self.cliques = (*self._sums.cliques, MOMENTS)
        self.shapes = (*self._sums.shapes, (len(moments.pairs),))
        scores = [
            s.astype(np.float32)[particles.codes(a)] for a, s in zip(moments.attributes, moments.scores, strict=True)
        ]
        self._scores: NDArray[np.float32] = np.stack(scores, axis=1)
        self._at = tuple(np.array([pair[side] for pair in moments.pairs], dtype=np.intp) for side in (0, 1))
        self._start = self._tilts(drawn_at.get(MOMENTS, np.zeros(len(moments.pairs))))

    def run(self, potentials: Sequence[Array]) -> tuple[float, None, Array]:
        """As `WeightedSums.run`."""
        return self._sums.run(potentials[:-1], self._tilts(potentials[-1]) - self._start)

    def marginals(self, weights: Array) -> list[Array]:
        """The weighted marginal of every clique, then the mean of every pair's product."""
        means = (self._scores * weights.astype(np.float32)[:, None]).T @ self._scores
        return [*self._sums.marginals(weights), means[self._at].astype(np.float64)]

    def _tilts(self, coefficients: Array) -> Array:
        matrix = np.zeros((self._scores.shape[1],) * 2, np.float32)
        matrix[self._at] = coefficients
        heights: Array = np.einsum("ij,ij->i", self._scores @ matrix, self._scores).astype(np.float64)
        return heights


def significant(moments: Moments, rate: float) -> list[int]:
    """Places of the moments that stand out of their noise, the clearest first.

    What stands out is a pair of columns, by all moments of it together (chi square): of those found, an expected share
    of at most `rate` are nothing but noise (Benjamini & Hochberg 1995). Among many pairs of which few go together one
    must be clearer than where most do.
    """
    from scipy.stats import false_discovery_control  # heavy, when first used

    if not moments.pairs:
        return []
    cliques = moments.cliques
    which = {clique: i for i, clique in enumerate(dict.fromkeys(cliques))}
    of = np.array([which[c] for c in cliques])
    clear = np.square(moments.values / moments.sigma)
    chance = chdtrc(np.bincount(of), np.bincount(of, clear))
    kept = false_discovery_control(chance) <= rate
    order = np.lexsort((-clear, chance[of]))
    return [int(i) for i in order if kept[of[i]]]


def with_room(
    tree: JunctionTree, moments: Moments, order: Sequence[int], max_cells: int
) -> tuple[JunctionTree, list[int]]:
    """The tree grown by pairs, in `order`, as long as it has at most `max_cells`; and the places of those in it."""
    taken, cliques = [], moments.cliques
    for i in order:
        pair = cliques[i]
        if tree.bag_of(pair) is None and not tree.fits(pair, max_cells):
            continue
        tree = tree.grown(pair)  # named, so that a tree triangulated anew holds it too
        taken.append(i)
    return tree, taken


def paired(attributes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Places of all pairs of scores of different columns."""
    return tuple((i, j) for i, j in combinations(range(len(attributes)), 2) if attributes[i] != attributes[j])


__all__ = ["MOMENTS", "MomentPassing", "Moments", "WeightedMoments", "paired", "significant", "with_room"]

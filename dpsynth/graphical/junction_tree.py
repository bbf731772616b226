"""Junction trees: which attributes must sit in one table so that inference over given cliques is exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Domain
from dpsynth.graphical.growth import Growth
from dpsynth.graphical.triangulation import bits, cells, triangulate

_RETRIED = 256
"""Candidates whose bound exceeds the limit and that are triangulated all the same, the closest first."""


@dataclass(frozen=True, slots=True, eq=False)
class JunctionTree:
    """A rooted tree of bags with the running-intersection property, covering every attribute of the domain.

    Separate components hang together by empty separators, so there is always exactly one tree.

    Attributes:
        domain: all attributes; those in no clique get a bag of their own.
        cliques: the cliques it was built for, each contained in some bag.
        bags: attributes of each bag, in domain order; parents come before children, ``bags[0]`` is the root.
        parents: index of each bag's parent, -1 for the root.
        separators: what a bag shares with its parent, in domain order; empty for the root.
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    bags: tuple[Clique, ...]
    parents: tuple[int, ...]
    separators: tuple[Clique, ...]
    _masks: tuple[int, ...] = field(repr=False)
    _clique_masks: tuple[int, ...] = field(repr=False)
    _growth: list[Growth] = field(default_factory=list, repr=False)
    _grown: dict[int, tuple[int, list[int]]] = field(default_factory=dict, repr=False)
    _holding: dict[str, set[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, domain: Domain, cliques: Iterable[Clique]) -> JunctionTree:
        """Triangulate the graph in which every clique is complete, and join its maximal cliques to a tree.

        Of two greedy elimination orders (fewest fill edges, fewest cells) the one with fewer cells is kept. A
        spanning tree of the maximal cliques that maximises the number of shared attributes is a junction
        tree (Jensen & Jensen 1994, theorem 1).

        Raises:
            KeyError: a clique names an attribute that is not in the domain.
            ValueError: the domain has no attribute.
        """
        if not len(domain):
            raise ValueError("a junction tree needs at least one attribute, the domain has none")
        ordered = tuple(dict.fromkeys(domain.clique(c) for c in cliques))
        clique_masks = _masks(domain, ordered)
        _, masks = triangulate(domain.shape, clique_masks, range(len(domain)))
        return cls._joined(domain, ordered, clique_masks, masks)

    @classmethod
    def _joined(
        cls, domain: Domain, cliques: tuple[Clique, ...], clique_masks: tuple[int, ...], masks: Sequence[int]
    ) -> JunctionTree:
        """The maximal cliques of a chordal graph as a tree."""

        def named(mask: int) -> Clique:
            return tuple(domain.attributes[v] for v in bits(mask))

        # Prim's algorithm from the largest bag; ties go to the smaller index, so the tree is deterministic.
        masks = sorted(masks, key=lambda m: (-m.bit_count(), m))
        first = max(range(len(masks)), key=lambda i: (cells(domain.shape, masks[i]), -i))
        best = {i: (0, first) for i in range(len(masks)) if i != first}
        order, parent_of = [first], {first: -1}
        newest = first
        while best:
            for i, (shared, _) in best.items():
                now = (masks[i] & masks[newest]).bit_count()
                if now > shared:
                    best[i] = (now, newest)
            newest = max(best, key=lambda i: (best[i][0], -i))
            parent_of[newest] = best.pop(newest)[1]
            order.append(newest)
        position = {bag: place for place, bag in enumerate(order)}
        parents = tuple(position.get(parent_of[bag], -1) for bag in order)
        separators = tuple(named(masks[bag] & masks[parent_of[bag]]) if parent_of[bag] >= 0 else () for bag in order)
        bags = tuple(named(masks[bag]) for bag in order)
        return cls(domain, cliques, bags, parents, separators, tuple(masks[bag] for bag in order), clique_masks)

    @property
    def cells(self) -> int:
        """Cells over all bags: the size of the model, and the unit of every limit here. Exact."""
        return sum(self.domain.size(bag) for bag in self.bags)

    def bag_of(self, clique: Iterable[str]) -> int | None:
        """Index of the smallest bag that contains `clique`, None if no bag does."""
        wanted = tuple(clique)
        if not self._holding:
            self._holding.update({a: set() for a in self.domain.attributes})
            for i, bag in enumerate(self.bags):
                for attribute in bag:
                    self._holding[attribute].add(i)
        if not all(a in self._holding for a in wanted):
            return None
        holding = set.intersection(*(self._holding[a] for a in wanted)) if wanted else range(len(self.bags))
        return min(holding, key=lambda i: (self.domain.size(self.bags[i]), i), default=None)

    def grown(self, candidate: Clique) -> JunctionTree:
        """The tree with one more clique: the smaller of this tree grown (see `Growth`) and one triangulated anew.

        It has at most ``cells_with(candidate)`` cells. A clique inside a bag leaves the bags as they are.

        Raises:
            KeyError: the candidate names an attribute that is not in the domain.
        """
        clique = self.domain.clique(candidate)
        if clique in self.cliques:
            return self
        (mask,) = _masks(self.domain, (clique,))
        cliques, clique_masks = (*self.cliques, clique), (*self._clique_masks, mask)
        if any(mask & ~bag == 0 for bag in self._masks):
            return replace(self, cliques=cliques, _clique_masks=clique_masks, _grown={})
        size, bags = self._with(mask)
        anew, fresh = triangulate(self.domain.shape, clique_masks, range(len(self.domain)))
        return JunctionTree._joined(self.domain, cliques, clique_masks, fresh if anew <= size else bags)

    def covering(self, cliques: Iterable[Clique]) -> JunctionTree:
        """This tree, grown by each clique in turn that it was not built for."""
        tree, built_for = self, set(self.cliques)
        for clique in dict.fromkeys(self.domain.clique(c) for c in cliques):
            if clique not in built_for:
                tree = tree.grown(clique)
        return tree

    def cells_with(self, candidate: Clique) -> int:
        """Cells that `grown` has at most with this candidate. Exact, and remembered for this tree."""
        return self._with(_masks(self.domain, (candidate,))[0])[0]

    def fits(self, candidate: Clique, max_cells: int) -> bool:
        """Whether the model stays within `max_cells` with `candidate` added: decided before any look."""
        if self.domain.size(candidate) > max_cells:
            return False
        return self.cells_with(candidate) <= max_cells

    def fitting(self, candidates: Iterable[Clique] | Mapping[Clique, float], max_cells: int) -> list[Clique]:
        """Those of the candidates that fit, in their order: `fits` for thousands at a time.

        Pairs and triples are decided by bounds from tables; of those the bounds refuse, the 256 closest to the limit
        are tried as `fits` does, and the rest are taken not to fit. Larger cliques are tried one by one. A mapping has
        the `bounds` of each candidate, where they are known already.
        """
        asked = list(candidates)
        known = candidates.values() if isinstance(candidates, Mapping) else self.bounds(asked)
        bounds = np.fromiter(known, np.float64, len(asked))
        fitting = bounds <= min(max_cells, 2**62)
        refused = [i for i in np.argsort(bounds, kind="stable") if not fitting[i]]
        small = [i for i in refused if len(asked[i]) in (2, 3)][:_RETRIED]
        for i in [*small, *(i for i in refused if len(asked[i]) not in (2, 3))]:
            fitting[i] = self.fits(asked[i], max_cells)
        return [asked[i] for i in np.flatnonzero(fitting)]

    def bounds(self, candidates: Sequence[Clique]) -> NDArray[np.float64]:
        """Cells that the tree has at most with each candidate, from tables; infinite unless a pair or a triple."""
        place = {a: i for i, a in enumerate(self.domain.attributes)}
        bounds = np.full(len(candidates), np.inf)
        for size in (2, 3):
            at = [i for i, c in enumerate(candidates) if len(c) == size]
            if at:
                names = chain.from_iterable(candidates[i] for i in at)
                indices = np.fromiter(map(place.__getitem__, names), np.int64, size * len(at))
                bounds[at] = self.growth.bounds(indices.reshape(-1, size))
        return bounds

    def between(self, attributes: Iterable[str]) -> set[int]:
        """Indices of the smallest connected set of bags that covers the attributes."""
        return self.growth.between(self.domain.axes(tuple(attributes))) or {0}

    @property
    def growth(self) -> Growth:
        """What more cliques would do to the bags; made when first asked for."""
        if not self._growth:
            self._growth.append(Growth(self.domain.shape, self._masks, self.parents))
        return self._growth[0]

    def _with(self, candidate: int) -> tuple[int, list[int]]:
        known = self._grown.get(candidate)
        if known is None:
            known = self.growth.grown(candidate, self._clique_masks)
            self._grown[candidate] = known
        return known


def _masks(domain: Domain, cliques: Iterable[Clique]) -> tuple[int, ...]:
    place = {a: 1 << i for i, a in enumerate(domain.attributes)}
    found = []
    for clique in cliques:
        unknown = [a for a in clique if a not in place]
        if unknown:
            raise KeyError(f"not in the domain: {unknown[0]!r}; the domain has {list(domain.attributes)}")
        found.append(sum({place[a] for a in clique}))
    return tuple(found)


__all__ = ["JunctionTree"]

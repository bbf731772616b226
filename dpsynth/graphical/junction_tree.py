"""Junction trees: which attributes must sit in one table so that inference over given cliques is exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

from dpsynth.domain import Clique, Domain

# Attribute sets are bit masks over the positions in the domain: unions, subsets and fill-in are single operations.


@lru_cache(maxsize=2**15)
def _bits(mask: int) -> tuple[int, ...]:
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)


def _maximal(masks: Iterable[int]) -> list[int]:
    """The masks contained in no other, first come first kept."""
    kept: list[int] = []
    for mask in sorted(set(masks), key=lambda m: (-m.bit_count(), m)):
        if not any(mask & other == mask for other in kept):
            kept.append(mask)
    return kept


def _adjacency(count: int, cliques: Iterable[int]) -> list[int]:
    adjacent = [0] * count
    for clique in cliques:
        for v in _bits(clique):
            adjacent[v] |= clique
    return [mask & ~(1 << v) for v, mask in enumerate(adjacent)]


def _strip(adjacent: list[int]) -> tuple[list[int], set[int]]:
    """Eliminate, in place, every vertex whose neighbours are complete, until none is left.

    Such vertices add no edge, so it costs nothing to take them first; if nothing remains the graph was chordal.

    Returns:
        Their bags, and the vertices that remain.
    """
    remaining = set(range(len(adjacent)))
    bags = []
    waiting = list(range(len(adjacent)))
    while waiting:
        v = waiting.pop()
        around = adjacent[v]
        if v not in remaining or any(around & ~adjacent[u] & ~(1 << u) for u in _bits(around)):
            continue
        remaining.remove(v)
        bags.append(around | 1 << v)
        for u in _bits(around):
            adjacent[u] &= ~(1 << v)
            waiting.append(u)
    return bags, remaining


def _eliminate(shape: Sequence[int], adjacent: list[int], remaining: set[int], fill_first: bool) -> list[int]:
    """Bags of a greedy elimination: least fill-in (ties: fewest cells) or fewest cells (ties: least fill-in).

    Changes `adjacent`. Deterministic: remaining ties go to the attribute that comes first in the domain.
    """

    def score(v: int) -> tuple[int, int, int]:
        around = adjacent[v]
        neighbours = _bits(around)
        cells = prod((shape[u] for u in neighbours), start=shape[v])
        fill = sum((around & ~adjacent[u]).bit_count() - 1 for u in neighbours)
        return (fill, cells, v) if fill_first else (cells, fill, v)

    scores = {v: score(v) for v in remaining}
    bags = []
    while scores:
        v = min(scores.values())[2]
        del scores[v]
        around = adjacent[v]
        bags.append(around | 1 << v)
        changed = around
        for u in _bits(around):
            grown = (adjacent[u] | around) & ~(1 << u) & ~(1 << v)
            if grown != adjacent[u] & ~(1 << v):
                changed |= grown
            adjacent[u] = grown
        for u in _bits(changed):
            scores[u] = score(u)
    return bags


def _cells(shape: Sequence[int], mask: int) -> int:
    return prod(shape[v] for v in _bits(mask))


def _triangulate(shape: Sequence[int], cliques: Sequence[int]) -> tuple[int, list[int]]:
    """The smaller of two greedy triangulations: (cells over all bags, maximal bags)."""
    adjacent = _adjacency(len(shape), cliques)
    stripped, core = _strip(adjacent)
    found = []
    for fill_first in (True, False) if core else (True,):
        bags = _maximal([*stripped, *_eliminate(shape, list(adjacent), core, fill_first)])
        found.append((sum(_cells(shape, bag) for bag in bags), bags))
    return min(found, key=lambda pair: pair[0])


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
    _grown: dict[int, int] = field(default_factory=dict, repr=False)

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
        _, masks = _triangulate(domain.shape, [_mask(domain, c) for c in ordered])

        def named(mask: int) -> Clique:
            return tuple(domain.attributes[v] for v in _bits(mask))

        # Prim's algorithm from the largest bag; ties go to the smaller index, so the tree is deterministic.
        first = max(range(len(masks)), key=lambda i: (_cells(domain.shape, masks[i]), -i))
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
        return cls(domain, ordered, tuple(named(masks[bag]) for bag in order), parents, separators)

    @property
    def cells(self) -> int:
        """Cells over all bags: the size of the model, and the unit of every limit here. Exact."""
        return sum(self.domain.size(bag) for bag in self.bags)

    def bag_of(self, clique: Iterable[str]) -> int | None:
        """Index of the smallest bag that contains `clique`, None if no bag does."""
        wanted = set(clique)
        holding = [i for i, bag in enumerate(self.bags) if wanted.issubset(bag)]
        return min(holding, key=lambda i: (self.domain.size(self.bags[i]), i), default=None)

    def cells_with(self, candidate: Clique) -> int:
        """Cells the tree would have if `candidate` were one more clique. Remembered for this tree.

        Equal to ``JunctionTree.of(domain, (*cliques, candidate)).cells``, without building it.
        """
        mask = _mask(self.domain, candidate)
        known = self._grown.get(mask)
        if known is None:
            cliques = [_mask(self.domain, c) for c in self.cliques]
            known, _ = _triangulate(self.domain.shape, [*cliques, mask])
            self._grown[mask] = known
        return known

    def fits(self, candidate: Clique, max_cells: int) -> bool:
        """Whether the model stays within `max_cells` with `candidate` added: decided before any look."""
        if self.domain.size(candidate) > max_cells:
            return False
        return self.cells_with(candidate) <= max_cells


def _mask(domain: Domain, clique: Iterable[str]) -> int:
    mask = 0
    for attribute in clique:
        if attribute not in domain:
            raise KeyError(f"not in the domain: {attribute!r}; the domain has {list(domain.attributes)}")
        mask |= 1 << domain.attributes.index(attribute)
    return mask


__all__ = ["JunctionTree"]

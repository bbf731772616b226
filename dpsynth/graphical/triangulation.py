"""Triangulation: bags for a graph of cliques. Attribute sets are bit masks over positions in the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod


@lru_cache(maxsize=2**15)
def bits(mask: int) -> tuple[int, ...]:
    """Positions of the bits set, in order."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)


def cells(shape: Sequence[int], mask: int) -> int:
    """Cells of the table over `mask`, exact."""
    return prod(shape[v] for v in bits(mask))


def maximal(masks: Iterable[int]) -> list[int]:
    """The masks contained in no other, the largest first."""
    kept: list[int] = []
    holding: dict[int, list[int]] = {}  # vertex -> those kept that hold it
    for mask in sorted(set(masks), key=lambda m: (-m.bit_count(), m)):
        vertices = bits(mask)
        rarest = min((holding.get(v, []) for v in vertices), key=len, default=kept)
        if any(mask & ~other == 0 for other in rarest):
            continue
        kept.append(mask)
        for v in vertices:
            holding.setdefault(v, []).append(mask)
    return kept


def _adjacency(count: int, cliques: Iterable[int]) -> list[int]:
    adjacent = [0] * count
    for clique in cliques:
        for v in bits(clique):
            adjacent[v] |= clique
    return [mask & ~(1 << v) for v, mask in enumerate(adjacent)]


def _strip(adjacent: list[int], remaining: set[int]) -> list[int]:
    """Eliminate, in place, every vertex whose neighbours are complete, until none is left, and give their bags.

    Such vertices add no edge, so it costs nothing to take them first; if nothing remains the graph was chordal.
    """
    bags = []
    waiting = sorted(remaining)
    while waiting:
        v = waiting.pop()
        around = adjacent[v]
        if v not in remaining or any(around & ~adjacent[u] & ~(1 << u) for u in bits(around)):
            continue
        remaining.remove(v)
        bags.append(around | 1 << v)
        for u in bits(around):
            adjacent[u] &= ~(1 << v)
            waiting.append(u)
    return bags


def _eliminate(shape: Sequence[int], adjacent: list[int], remaining: set[int], fill_first: bool) -> list[int]:
    """Bags of a greedy elimination: least fill-in (ties: fewest cells) or fewest cells (ties: least fill-in).

    Changes `adjacent`. Deterministic: remaining ties go to the attribute that comes first in the domain.
    """

    def score(v: int) -> tuple[int, int, int]:
        around = adjacent[v]
        neighbours = bits(around)
        size = prod((shape[u] for u in neighbours), start=shape[v])
        fill = sum((around & ~adjacent[u]).bit_count() - 1 for u in neighbours)
        return (fill, size, v) if fill_first else (size, fill, v)

    scores = {v: score(v) for v in remaining}
    bags = []
    while scores:
        v = min(scores.values())[2]
        del scores[v]
        around = adjacent[v]
        bags.append(around | 1 << v)
        changed = around
        for u in bits(around):
            grown = (adjacent[u] | around) & ~(1 << u) & ~(1 << v)
            if grown != adjacent[u] & ~(1 << v):
                changed |= grown
            adjacent[u] = grown
        for u in bits(changed):
            scores[u] = score(u)
    return bags


def triangulate(shape: Sequence[int], cliques: Iterable[int], vertices: Iterable[int]) -> tuple[int, list[int]]:
    """The smaller of two greedy triangulations of the graph in which every clique is complete.

    Args:
        shape: sizes of all attributes of the domain.
        cliques: masks over `vertices`.
        vertices: the attributes of the graph; those in no clique get a bag of their own.

    Returns:
        Cells over all bags, and the bags: maximal cliques of a chordal graph, the largest first.
    """
    adjacent = _adjacency(len(shape), cliques)
    core = set(vertices)
    stripped = _strip(adjacent, core)
    found = []
    for fill_first in (True, False) if core else (True,):
        bags = maximal([*stripped, *_eliminate(shape, list(adjacent), core, fill_first)])
        found.append((sum(cells(shape, bag) for bag in bags), bags))
    return min(found, key=lambda pair: pair[0])


__all__ = ["bits", "cells", "maximal", "triangulate"]

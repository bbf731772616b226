"""Growth: how a junction tree takes up one more clique, and what it costs, without triangulating anew.

Two attributes in bags that are apart are joined by carrying them towards each other: along the path between their bags,
with separators ``S_1 ... S_r``, one is added up to some ``S_m``, the other down to it. The new bags are
``{u} | S_i | S_i+1`` before ``m``, ``{u, v} | S_m``, and ``{v} | S_i | S_i+1`` after it: a chordal graph again, and
what lies off the path is not touched (compare Berry, Heggernes, Villanger 2006, "A vertex incremental approach
for maintaining chordality"). Three attributes meet in the median of their bags, or where two of them meet
if the third is in that separator. What this adds depends on sizes along paths of the tree alone, so it is tabulated
once a tree for all pairs of bags and looked up for thousands of candidates at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dpsynth.graphical.triangulation import bits, cells, maximal, triangulate

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_CHUNK = 2**16
"""Candidates costed at a time."""


class Growth:
    """What a tree's bags become with one more clique.

    Args:
        shape: sizes of the attributes.
        bags: masks of the bags, parents before children.
        parents: index of each bag's parent, -1 for the root.
    """

    def __init__(self, shape: Sequence[int], bags: Sequence[int], parents: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.bags = tuple(bags)
        self.parents = tuple(parents)
        self.cells = sum(cells(shape, bag) for bag in bags)
        self.separators = tuple(bags[k] & bags[p] if p >= 0 else 0 for k, p in enumerate(parents))
        count, columns = len(bags), len(shape)
        self._sizes = np.asarray(shape, dtype=np.float64)
        self._log_sizes = np.log(self._sizes)
        self._held = _indicators(bags, columns)
        self._separated = _indicators(self.separators, columns)
        self._separator_cells = _exp(self._separated.astype(np.float64) @ self._log_sizes)
        self._joined = self._unions()
        # Between bags a and b: the last edge on the way from a (an edge is named by its lower bag), the next
        # bag from a, the cost of carrying one more cell from a to b, the lowest common ancestor.
        self._last = np.zeros((count, count), dtype=np.intp)
        self._path = np.zeros((count, count))
        self._meet = np.zeros((count, count), dtype=np.intp)
        below = np.eye(count, dtype=bool)
        for k, parent in enumerate(self.parents[1:], start=1):
            before = np.arange(k)
            far = before != parent
            turn = self._joined[self._last[:k, parent], k]
            self._path[:k, k] = self._path[k, :k] = np.where(far, self._path[:k, parent] + turn, 0.0)
            self._last[:k, k] = k
            self._last[k, :k] = np.where(far, self._last[parent, :k], k)
            self._meet[:k, k] = self._meet[k, :k] = self._meet[:k, parent]
            self._meet[k, k] = k
        for k in range(count - 1, 0, -1):
            below[self.parents[k]] |= below[k]
        up = np.asarray(self.parents, dtype=np.intp)
        self._next = np.where(below, self._last.T, up[:, None])
        self._top = np.argmax(self._held, axis=0)
        self._nearest = np.empty((count, columns), dtype=np.intp)
        for k in range(count):
            under = below[k, self._top]
            outside = self._nearest[self.parents[k]] if k else self._top
            self._nearest[k] = np.where(self._held[k], k, np.where(under, self._top, outside))
        self._component = self._components()

    def _unions(self) -> Floats:
        """Cells of ``S_e | S_f`` for edges e, f; 0 where one contains the other, since no bag is new there."""
        member = self._separated.astype(np.float64)
        shared = (member * self._log_sizes) @ member.T
        own = member @ self._log_sizes
        common = member @ member.T
        number = member.sum(axis=1)
        nested = (common == number[:, None]) | (common == number[None, :])
        return np.where(nested, 0.0, _exp(own[:, None] + own[None, :] - shared))

    def _components(self) -> Integers:
        """For each attribute the component of the graph it is in: bags that empty separators keep apart."""
        of_bag = np.arange(len(self.bags))
        for k, parent in enumerate(self.parents[1:], start=1):
            if self.separators[k]:
                of_bag[k] = of_bag[parent]
        components: Integers = of_bag[self._top]
        return components

    def bounds(self, candidates: Integers) -> Floats:
        """Cells the tree has at most with each candidate added (rows of two or three different attributes).

        Padded by far more than floats err, then cut to whole cells; `grown` keeps to it.
        """
        added = np.empty(len(candidates))
        for start in range(0, len(candidates), _CHUNK):
            part = candidates[start : start + _CHUNK]
            added[start : start + _CHUNK] = self._pairs(part.T)[0] if part.shape[1] == 2 else self._triples(part)
        now = float(self.cells) if self.cells < 2**1000 else np.inf
        grown: Floats = np.where(added > 0.0, np.floor((now + added) * (1.0 + 1e-9)), now)
        return grown

    def _pairs(self, pair: Integers) -> tuple[Floats, Integers]:
        """Cells that joining two attributes adds at most, and the separator in which they meet (-1 for none)."""
        u, v = pair
        cost = np.where(self._held[np.maximum(self._top[u], self._top[v]), u], 0.0, np.inf)
        cost = np.where(self._held[np.maximum(self._top[u], self._top[v]), v], cost, np.inf)
        meeting = np.full(len(cost), -1, dtype=np.intp)
        across = self._component[u] != self._component[v]
        cost[across] = (self._sizes[u] * self._sizes[v])[across]
        at = np.flatnonzero(np.isinf(cost))
        here = start = self._nearest[self._top[v[at]], u[at]]
        end = self._nearest[start, v[at]]
        while len(at):
            there = self._next[here, end]
            edge = self._last[here, there]
            a, b = self._sizes[u[at]], self._sizes[v[at]]
            total = a * self._path[start, there] + b * self._path[here, end] + a * b * self._separator_cells[edge]
            better = total < cost[at]
            cost[at[better]] = total[better]
            meeting[at[better]] = edge[better]
            on = there != end
            at, here, start, end = at[on], there[on], start[on], end[on]
        return cost, meeting

    def _triples(self, triples: Integers) -> Floats:
        tops = self._top[triples]
        lowest = tops.max(axis=1)
        within = self._held[lowest[:, None], triples].all(axis=1)
        # all three carried to the median of their bags
        a, b, c = tops.T
        median = np.maximum(np.maximum(self._meet[a, b], self._meet[b, c]), self._meet[a, c])
        from_bag = self._nearest[median[:, None], triples]
        away = from_bag != median[:, None]
        last = self._last[from_bag, median[:, None]]
        union = np.zeros((len(triples), len(self.shape)), dtype=bool)
        rows = np.arange(len(triples))
        for i in range(3):
            union |= self._separated[last[:, i]] & away[:, i, None]
            union[rows, triples[:, i]] = True
        carried = np.where(away, self._sizes[triples] * self._path[from_bag, median[:, None]], 0.0)
        cost = carried.sum(axis=1) + _exp(union @ self._log_sizes)
        components = self._component[triples]
        same = (components == components[:, :1]).all(axis=1)
        cost[~same] = np.inf
        # two of them joined, and the third where they meet or in another component
        product = _exp(self._log_sizes[triples].sum(axis=1))
        for i, j in combinations(range(3), 2):
            third = triples[:, 3 - i - j]
            joined, meeting = self._pairs(triples[:, (i, j)].T)
            there = (meeting >= 0) & self._separated[meeting, third]
            apart = (components[:, i] == components[:, j]) & (components[:, i] != self._component[third])
            cost = np.minimum(cost, np.where(there, joined, np.where(apart, joined + product, np.inf)))
        distinct = (components[:, 0] != components[:, 1]) & (components[:, 1] != components[:, 2])
        distinct &= components[:, 0] != components[:, 2]
        cost[distinct] = product[distinct]
        return np.where(within, 0.0, cost)

    def grown(self, candidate: int, cliques: Sequence[int]) -> tuple[int, list[int]]:
        """The tree with one more clique, exactly: cells, and masks of the bags. Never more than `bounds`.

        The smaller of attributes carried towards each other, and the part of the tree between them triangulated
        anew, in the graph of `cliques`, with the separators to the rest kept whole.
        """
        if any(candidate & ~bag == 0 for bag in self.bags):
            return self.cells, list(self.bags)
        region = self.between(bits(candidate))
        here = [self.bags[k] for k in region]
        found = [self._retriangulated(region, candidate, cliques)]
        found += [maximal([*here, *new]) for new in self._carried(candidate)]
        sizes = [sum(cells(self.shape, bag) for bag in bags) for bags in found]
        best = min(range(len(found)), key=lambda i: sizes[i])
        replaced = sum(cells(self.shape, bag) for bag in here)
        kept = [bag for k, bag in enumerate(self.bags) if k not in region]
        return self.cells - replaced + sizes[best], [*kept, *found[best]]

    def _retriangulated(self, region: set[int], candidate: int, cliques: Sequence[int]) -> list[int]:
        """Bags for a connected set of bags and the candidate, with the separators to the rest kept whole."""
        mask = 0
        for k in region:
            mask |= self.bags[k]
        whole = {
            self.separators[k]
            for k, parent in enumerate(self.parents)
            if parent >= 0 and (k in region) != (parent in region)
        }
        inside = [c & mask for c in cliques if (c & mask).bit_count() > 1]
        _, fresh = triangulate(self.shape, [*inside, *whole, candidate], bits(mask))
        return [bag for bag in fresh if bag not in whole]  # a separator is inside a bag of the rest

    def between(self, attributes: Sequence[int]) -> set[int]:
        """The smallest connected set of bags that covers the attributes."""
        wanted = 0
        for v in attributes:
            wanted |= 1 << v
        if not attributes:
            return set()
        start = int(self._top[attributes[0]])
        region = {start}
        for v in attributes[1:]:
            here, end = start, int(self._top[v])
            while here != end:
                here = int(self._next[here, end])
                region.add(here)
        degree = {k: [n for n in region if self.parents[n] == k or self.parents[k] == n] for k in region}
        leaves = [k for k in region if len(degree[k]) == 1]
        while leaves:
            k = leaves.pop()
            if len(degree[k]) != 1 or k not in region:
                continue
            (neighbour,) = degree[k]
            if self.bags[k] & wanted & ~self.bags[neighbour]:
                continue
            region.remove(k)
            degree[neighbour].remove(k)
            leaves.append(neighbour)
        return region

    def _carried(self, candidate: int) -> list[list[int]]:
        """For each way that `bounds` knows, the new bags, some perhaps inside others."""
        members = bits(candidate)
        if len(members) > 3:
            return []
        if len(members) == 2:
            return [self._joining(*members)[0]]
        components = [int(self._component[v]) for v in members]
        if len(set(components)) == 3:
            return [[candidate]]
        found = [self._at_median(members, candidate)] if len(set(components)) == 1 else []
        for (u, a), (v, b) in combinations(zip(members, components, strict=True), 2):
            new, meeting = self._joining(u, v)
            if meeting & candidate & ~(1 << u | 1 << v):
                found.append(new)
            elif a == b and len(set(components)) == 2:
                found.append([*new, candidate])
        return found

    def _joining(self, u: int, v: int) -> tuple[list[int], int]:
        """New bags that join two attributes, and the separator they meet in."""
        cost, meeting = self._pairs(np.array([[u], [v]]))
        both = 1 << u | 1 << v
        if meeting[0] < 0:
            return ([both] if cost[0] else []), 0
        edge = int(meeting[0])
        start = int(self._nearest[self._top[v], u])
        end = int(self._nearest[start, v])
        here, new, carried, before = start, [], 1 << u, -1
        while here != end:
            there = int(self._next[here, end])
            passed = int(self._last[here, there])
            if before >= 0:
                new.append(carried | self.separators[before] | self.separators[passed])
            if passed == edge:
                new.append(both | self.separators[edge])
                carried = 1 << v
            here, before = there, passed
        return new, self.separators[edge]

    def _at_median(self, members: Sequence[int], candidate: int) -> list[int]:
        a, b, c = (int(self._top[v]) for v in members)
        median = int(max(self._meet[a, b], self._meet[b, c], self._meet[a, c]))
        new, last = [], candidate
        for v in members:
            here, before = int(self._nearest[median, v]), -1
            while here != median:
                there = int(self._next[here, median])
                passed = int(self._last[here, there])
                if before >= 0:
                    new.append(1 << v | self.separators[before] | self.separators[passed])
                here, before = there, passed
            if before >= 0:
                last |= self.separators[before]
        return [*new, last]


def _exp(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # infinitely many cells are more than any limit
        grown: Floats = np.exp(values)
    return grown


def _indicators(masks: Sequence[int], columns: int) -> NDArray[np.bool_]:
    """Masks as rows of booleans."""
    width = -(-columns // 8)
    raw = b"".join(mask.to_bytes(width, "little") for mask in masks)
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(len(masks), width)
    return np.unpackbits(packed, axis=1, count=columns, bitorder="little").astype(bool)


__all__ = ["Growth"]

"""Exact inference on a junction tree: collect in log space, distribute as probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_letters

import numpy as np

from dpsynth.domain import Clique, Domain
from dpsynth.graphical.errors import ModelTooLarge
from dpsynth.graphical.factor import Array, Factor
from dpsynth.graphical.junction_tree import JunctionTree

# A separator row summing to less than this (after the bag's peak is taken out) is recomputed with its own peak.
_UNDERFLOW = 1e-200


@dataclass(frozen=True, slots=True)
class _Into:
    """How an array over a clique lies inside a larger array, its holder.

    Summing over scattered short axes is slow in NumPy, so neighbouring axes of one fate are joined first; a
    leading and a trailing block to be summed become matrix-vector products, and only what is left in the
    middle goes through `einsum`.
    """

    host: int
    order: tuple[int, ...]
    shape: tuple[int, ...]
    kept: tuple[int, ...]
    back: tuple[int, ...]
    leading: Array | None
    trailing: Array | None
    middle: tuple[int, ...]
    formula: str

    @classmethod
    def of(cls, host: int, holder: Sequence[str], sizes: Mapping[str, int], clique: Clique) -> _Into:
        inside = [a for a in holder if a in clique]
        blocks: list[tuple[bool, int]] = []  # (summed?, cells), neighbours joined
        for attribute in holder:
            summed, cells = attribute not in clique, sizes[attribute]
            if blocks and blocks[-1][0] == summed:
                cells *= blocks.pop()[1]
            blocks.append((summed, cells))
        trailing = blocks.pop()[1] if blocks and blocks[-1][0] else 1
        leading = blocks.pop(0)[1] if blocks and blocks[0][0] else 1
        names = ascii_letters[: len(blocks)]
        left = "".join(n for n, (summed, _) in zip(names, blocks, strict=True) if not summed)
        return cls(
            host=host,
            order=_turned(clique.index(a) for a in inside),
            shape=tuple(sizes[a] if a in clique else 1 for a in holder),
            kept=tuple(sizes[a] for a in inside),
            back=_turned(inside.index(a) for a in clique),
            leading=np.ones(leading) if leading > 1 else None,
            trailing=np.ones(trailing) if trailing > 1 else None,
            middle=tuple(cells for _, cells in blocks),
            formula=f"{names}->{left}" if names != left else "",
        )

    def spread(self, values: Array) -> Array:
        """A view of the clique's array that broadcasts against the holder's."""
        return (values.transpose(self.order) if self.order else values).reshape(self.shape)

    def gather(self, values: Array) -> Array:
        """The holder's array summed down to the clique, axes in the clique's order."""
        if self.trailing is not None:
            values = values.reshape(-1, len(self.trailing)) @ self.trailing
        if self.leading is not None:
            values = self.leading @ values.reshape(len(self.leading), -1)
        if self.formula:
            values = np.einsum(self.formula, values.reshape(self.middle))
        values = values.reshape(self.kept)
        return values.transpose(self.back) if self.back else values


def _turned(order: Iterable[int]) -> tuple[int, ...]:
    """A permutation of axes; empty where it changes nothing."""
    found = tuple(order)
    return () if found == tuple(range(len(found))) else found


@dataclass(frozen=True, slots=True)
class _Bag:
    """The layout of one bag: a matrix of residual by separator, whichever is longer lying along the rows."""

    attributes: Clique
    shape: tuple[int, ...]
    residual: int
    separator: int
    separator_first: bool
    separator_shape: tuple[int, ...]
    matrix: tuple[int, int]
    ones: Array
    parent: int
    message: _Into | None

    @classmethod
    def of(cls, tree: JunctionTree, index: int, parents_layout: Sequence[str]) -> _Bag:
        sizes = tree.domain.sizes

        def by_size(attributes: Iterable[str]) -> Clique:  # long axes last: the inner loops run along them
            return tuple(sorted(attributes, key=sizes.__getitem__))

        separator = by_size(tree.separators[index])
        residual = by_size(a for a in tree.bags[index] if a not in separator)
        rows, columns = prod(sizes[a] for a in residual), prod(sizes[a] for a in separator)
        first = rows >= columns
        attributes = separator + residual if first else residual + separator
        parent = tree.parents[index]
        return cls(
            attributes=attributes,
            shape=tuple(sizes[a] for a in attributes),
            residual=rows,
            separator=columns,
            separator_first=first,
            separator_shape=tuple(sizes[a] for a in separator),
            matrix=(columns, rows) if first else (rows, columns),
            ones=np.ones(rows),
            parent=parent,
            message=_Into.of(parent, parents_layout, sizes, separator) if parent >= 0 else None,
        )

    def condition(self, log_values: Array) -> tuple[Array, Array]:
        """Turn log values, in place, into P(residual | separator); also the log of what each row summed to.

        One exponential per cell: the bag's peak is taken out first, and only if a separator's row then
        underflows is every row shifted by its own peak.
        """
        table = log_values.reshape(self.matrix)
        peak: Array = table.max(keepdims=True).ravel()
        shifted = table - peak
        mass = self._sum(np.exp(shifted, out=shifted))
        if mass.min() < _UNDERFLOW:
            peak = table.max(axis=1 if self.separator_first else 0)
            np.subtract(table, peak[:, None] if self.separator_first else peak, out=shifted)
            mass = self._sum(np.exp(shifted, out=shifted))
        shifted /= mass[:, None] if self.separator_first else mass
        return shifted.reshape(self.shape), np.log(mass) + peak

    def scaled(self, conditional: Array, separator: Array) -> Array:
        """The joint P(residual, separator) from the conditional and the separator's marginal."""
        across = (-1, 1) if self.separator_first else (1, -1)
        return (conditional.reshape(self.matrix) * separator.reshape(across)).reshape(self.shape)

    def _sum(self, table: Array) -> Array:
        return table @ self.ones if self.separator_first else self.ones @ table


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """The distribution that potentials define, as P(root) and P(residual | separator) down the tree.

    Attributes:
        tree: the junction tree.
        conditionals: for each bag P(residual | separator); the axes follow `Factor.domain`, not the bag.
        beliefs: for each bag its marginal distribution, same axes, summing to 1.
        log_partition: log of the normaliser of the potentials.
    """

    tree: JunctionTree
    conditionals: tuple[Factor, ...]
    beliefs: tuple[Factor, ...]
    log_partition: float

    def project(self, clique: Sequence[str], max_cells: int | None = None) -> Factor:
        """The marginal distribution over any clique, axes in the order given.

        A sub-clique of a bag is a sum over that bag; any other clique is found by eliminating variables
        from the smallest subtree that covers it, cheapest first.

        Raises:
            KeyError: an attribute is not in the domain.
            ModelTooLarge: the answer, or a factor on the way, has more than `max_cells` cells.
        """
        target = tuple(clique)
        wanted = set(self.tree.domain.clique(target))
        limit = max_cells if max_cells is not None else max(self.tree.cells, 1_000_000)
        if self.tree.domain.size(target) > limit:
            raise ModelTooLarge(f"the marginal over {target}", self.tree.domain.size(target), limit)
        bag = self.tree.bag_of(wanted)
        if bag is not None:
            return self.beliefs[bag].project(target)
        factors = self._covering(wanted)
        while (attribute := _cheapest(factors, wanted)) is not None:
            touching = [f for f in factors if attribute in f.domain]
            joined = Domain.of({a: s for f in touching for a, s in f.domain.sizes.items()})
            if joined.size() > limit:
                raise ModelTooLarge(f"eliminating {attribute!r} for {target}", joined.size(), limit)
            message = _product(touching).project(a for a in joined.attributes if a != attribute)
            factors = [f for f in factors if attribute not in f.domain] + [message]
        return _product(factors).project(target)

    def _covering(self, wanted: set[str]) -> list[Factor]:
        """Beliefs and conditionals of the smallest connected set of bags that covers `wanted`."""
        alive = sorted(self.tree.between(wanted))
        return [self.beliefs[i] if i == alive[0] else self.conditionals[i] for i in alive]


def _product(factors: Sequence[Factor]) -> Factor:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _cheapest(factors: Sequence[Factor], wanted: set[str]) -> str | None:
    """The attribute whose elimination joins the fewest cells (first in order of appearance on ties)."""
    costs: dict[str, int] = {}
    for attribute in dict.fromkeys(a for f in factors for a in f.domain.attributes if a not in wanted):
        joined = {a: s for f in factors if attribute in f.domain for a, s in f.domain.sizes.items()}
        costs[attribute] = prod(joined.values())
    return min(costs, key=costs.__getitem__, default=None)


class MessagePassing:
    """Belief propagation laid out once for a tree and a list of cliques, then run for many potentials.

    A clique inside another listed clique is added to (and read off) that clique rather than its bag, so the
    work per run is a few passes over the bags, whatever the number of cliques.
    """

    def __init__(self, tree: JunctionTree, cliques: Sequence[Clique]) -> None:
        self.tree = tree
        self.cliques = tuple(tree.domain.clique(c) for c in cliques)
        if len(set(self.cliques)) != len(self.cliques):
            raise ValueError("a clique is listed twice; give each once")
        sizes = tree.domain.sizes
        self._bags: list[_Bag] = []
        for index in range(len(tree.bags)):
            parent = tree.parents[index]
            self._bags.append(_Bag.of(tree, index, self._bags[parent].attributes if parent >= 0 else ()))
        self.shapes = tuple(tree.domain.project(c).shape for c in self.cliques)
        by_size = sorted(range(len(self.cliques)), key=lambda i: (len(self.cliques[i]), i))
        cells = [prod(shape) for shape in self.shapes]
        rank = {i: position for position, i in enumerate(by_size)}
        having: dict[str, set[int]] = {a: set() for a in tree.domain.attributes}
        for i, clique in enumerate(self.cliques):
            for attribute in clique:
                having[attribute].add(i)
        self._steps: list[tuple[int, bool, _Into]] = []  # (clique, held by a clique?, how), small cliques first
        for i in by_size:
            clique = self.cliques[i]
            together = set.intersection(*(having[a] for a in clique)) if clique else set(rank)
            holders = [j for j in together if rank[j] > rank[i]]
            if holders:
                host = min(holders, key=lambda j: (cells[j], j))
                self._steps.append((i, True, _Into.of(host, self.cliques[host], sizes, clique)))
                continue
            bag = tree.bag_of(clique)
            if bag is None:
                raise ValueError(f"no bag of the junction tree contains the clique {clique}")
            self._steps.append((i, False, _Into.of(bag, self._bags[bag].attributes, sizes, clique)))

    def run(self, potentials: Sequence[Array]) -> tuple[float, list[Array], list[Array]]:
        """Calibrate: (log partition, conditionals, beliefs), the arrays laid out as the bags are."""
        tables = [np.zeros(bag.shape) for bag in self._bags]
        gathered: dict[int, Array] = {}
        for i, nested, into in self._steps:
            mine = gathered.pop(i, None)
            values = potentials[i] if mine is None else mine + potentials[i]
            if not nested:
                tables[into.host] += into.spread(values)
            elif into.host in gathered:
                gathered[into.host] += into.spread(values)
            else:
                gathered[into.host] = np.broadcast_to(into.spread(values), self.shapes[into.host]).copy()
        log_partition = 0.0
        conditionals: list[Array] = tables
        for index in range(len(self._bags) - 1, -1, -1):
            bag = self._bags[index]
            conditionals[index], message = bag.condition(tables[index])
            if bag.message is None:
                log_partition = float(message[0])
            else:
                tables[bag.parent] += bag.message.spread(message.reshape(bag.separator_shape))
        beliefs: list[Array] = []
        for bag, conditional in zip(self._bags, conditionals, strict=True):
            if bag.message is None:
                beliefs.append(conditional)
            else:
                beliefs.append(bag.scaled(conditional, bag.message.gather(beliefs[bag.parent])))
        return log_partition, conditionals, beliefs

    def marginals(self, beliefs: Sequence[Array]) -> list[Array]:
        """The marginal distribution of every listed clique, in order."""
        found: dict[int, Array] = {}
        for i, nested, into in reversed(self._steps):
            found[i] = into.gather(found[into.host] if nested else beliefs[into.host])
        return [found[i] for i in range(len(self.cliques))]

    def calibrate(self, potentials: Sequence[Array]) -> Calibrated:
        """The distribution proportional to ``exp(sum of potentials)``; one log-scale array per listed clique.

        Raises:
            ValueError: the number or a shape of the potentials is wrong, or a value is not finite.
        """
        if [p.shape for p in potentials] != list(self.shapes):
            raise ValueError(f"potentials of shapes {[p.shape for p in potentials]}, expected {list(self.shapes)}")
        if not all(np.isfinite(p).all() for p in potentials):
            raise ValueError("potentials must be finite, got an infinity or NaN")
        log_partition, conditionals, beliefs = self.run(potentials)
        domains = [self.tree.domain.project(bag.attributes) for bag in self._bags]
        return Calibrated(
            self.tree,
            tuple(Factor(d, c) for d, c in zip(domains, conditionals, strict=True)),
            tuple(Factor(d, b) for d, b in zip(domains, beliefs, strict=True)),
            log_partition,
        )


__all__ = ["Calibrated", "MessagePassing"]

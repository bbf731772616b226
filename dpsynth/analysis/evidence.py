"""Unbiased estimates of sums over rows from noisy margins, each with its exact variance.

A margin over a clique splits into components, one for each subset ``t`` of its columns: its sum over the other columns
with the means along every axis of ``t`` taken out. Noise that is alike in all cells is independent between components
(Xiao, He, Zhang, Kifer 2023, "ResidualPlanner"), so that each component is estimated by itself: by every margin that
contains ``t``, weighted by precision. A sum over rows is then linear in the noisy counts, and its variance is the sum
of squared coefficients times the variance of the count, whatever the weights.

Nothing is made non-negative and nothing is smoothed: that would reduce the error of most cells and bias all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Domain
from dpsynth.measurement import NoisyCounts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One noisy margin.

    Attributes:
        clique: its columns.
        values: noisy counts over its own cells.
        variance: of the noise of a count.
        into: for each column the merged cell of each of its own cells.
        base: columns counted over base cells.
    """

    clique: Clique
    values: Floats
    variance: float
    into: Mapping[str, Integers]
    base: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """An estimated sum over the rows of the real table.

    Attributes:
        value: unbiased.
        variance: of the noise in it.
    """

    value: float
    variance: float


class Evidence:
    """Noisy margins, over cells that are merged as in the margins of several columns.

    Args:
        base: the encoded domain.
        answers: noisy counts; those over cells that do not fit the others' are left out.

    Attributes:
        base: the encoded domain.
        domain: of merged cells: those over which a column was counted together with others, or else was counted last.
        maps: for every column the merged cell of each base code.
    """

    def __init__(self, base: Domain, answers: Sequence[NoisyCounts]) -> None:
        self.base = base
        self.maps = {a: np.arange(size) for a, size in base.sizes.items()}
        for answer in sorted(answers, key=lambda each: len(each.clique) > 1):
            self.maps |= {a: map_ for a, map_ in (answer.recoding or {}).items() if a in base and _whole(map_, base[a])}
        self.domain = Domain.of({a: int(self.maps[a].max()) + 1 for a in base.attributes})
        self._looks = [look for answer in answers if (look := self._look(answer)) is not None]
        self._sums: dict[tuple[int, Clique], Floats] = {}
        self._known: dict[Clique, dict[int, float]] = {}

    @property
    def measured(self) -> tuple[Clique, ...]:
        """Every set of columns that was counted together, in domain order, none inside another."""
        cliques = {self.base.clique(look.clique) for look in self._looks}
        outer = [c for c in cliques if not any(set(c) < set(other) for other in cliques)]
        return tuple(sorted(outer, key=self.base.axes))

    def covers(self, columns: Sequence[str]) -> bool:
        """Whether these columns were counted together."""
        return any(set(columns) <= set(look.clique) for look in self._looks)

    def margin(self, clique: Clique) -> Floats:
        """Estimated counts over merged cells, axes in the order given; cells may be negative.

        Raises:
            KeyError: its columns were never counted together.
        """
        found: Floats = np.zeros(self.domain.shape_of(clique))
        for part in _subsets(clique):
            component: Floats = _centred(
                np.asarray(sum(share * self._sum(i, part) for i, share in self._sources(part).items()))
            )
            rest = prod(self.domain[a] for a in clique if a not in part)
            shape = tuple(self.domain[a] if a in part else 1 for a in clique)
            found = found + component.reshape(shape) / rest
        return found

    def column(self, attribute: str) -> Floats:
        """Estimated counts over the base cells of one column."""
        merged, map_ = self.margin((attribute,)), self.maps[attribute]
        own: Floats = np.zeros(len(map_))
        for i, share in self._within(attribute).items():
            look = self._looks[i]
            own += share * look.values.sum(axis=_others(look.clique, (attribute,)))
        held = np.bincount(map_)
        return own + ((merged - np.bincount(map_, own)) / held)[map_]

    def base_variance(self, attribute: str) -> float:
        """Noise of one base cell of a column, as far as it is known apart from others; infinite where none is."""
        precision = sum(
            self.base[attribute] / (look.variance * look.values.size) for look in self._looks if attribute in look.base
        )
        return 1.0 / precision if precision else float("inf")

    def sum(self, weights: Mapping[Clique, Floats], base: Mapping[str, Floats] | None = None) -> Sum:
        """``sum over rows of sum_c weights[c][the row's merged cell]``, and of ``base[a][the row's base code]``.

        Args:
            weights: over the merged cells of cliques, axes in their order.
            base: over the base cells of single columns.

        Raises:
            KeyError: a clique with a weight of its own was never counted.
        """
        parts: dict[Clique, Floats] = {}
        coefficients: dict[int, Floats] = {}
        pieces = [*weights.items()]
        for attribute, own in (base or {}).items():
            map_ = self.maps[attribute]
            level = np.bincount(map_, own) / np.bincount(map_)
            pieces.append(((attribute,), level))
            within = own - level[map_]
            if np.abs(within).max(initial=0.0) > 0:
                for i, share in self._within(attribute).items():
                    self._add(coefficients, i, (attribute,), share * within, None)
        for clique, each in pieces:
            for part in _subsets(clique):
                rest = prod(self.domain[a] for a in clique if a not in part)
                inner = _centred(each.sum(axis=_others(clique, part))) / rest
                key = self.base.clique(part)
                inner = inner.transpose([part.index(a) for a in key])
                parts[key] = parts[key] + inner if key in parts else inner
        for part, component in parts.items():
            if np.abs(component).max(initial=0.0) > 0:
                for i, share in self._sources(part).items():
                    self._add(coefficients, i, part, share * component, self._looks[i].into)
        value = sum(float(np.vdot(c, self._looks[i].values)) for i, c in coefficients.items())
        variance = sum(float(np.square(c).sum()) * self._looks[i].variance for i, c in coefficients.items())
        return Sum(value, variance)

    def _look(self, answer: NoisyCounts) -> _Look | None:
        recoding = answer.recoding or {}
        into: dict[str, Integers] = {}
        for axis, a in enumerate(answer.clique):
            size = answer.values.shape[axis]
            own = recoding.get(a, np.arange(size))
            if a not in self.base or len(own) != self.base[a] or int(own.max()) + 1 != size:
                return None
            into[a] = np.zeros(size, dtype=np.int64)
            into[a][own] = self.maps[a]
            if (into[a][own] != self.maps[a]).any():  # its cells are not parts of the merged ones
                return None
        fine = frozenset(a for a in answer.clique if len(into[a]) == self.base[a])
        return _Look(answer.clique, answer.values.astype(np.float64), answer.sigma**2, into, fine)

    def _sources(self, part: Clique) -> dict[int, float]:
        """The looks that say something of a component, and their weights by precision."""
        if part in self._known:
            return self._known[part]
        precision: dict[int, float] = {}
        for i, look in enumerate(self._looks):
            if set(part) <= set(look.clique):
                sizes = dict(zip(look.clique, look.values.shape, strict=True))
                merged = prod(sizes.values()) / prod(self.domain[a] for a in part)
                precision[i] = 1.0 / (look.variance * merged)
        self._known[part] = self._shares(precision, part)
        return self._known[part]

    def _within(self, attribute: str) -> dict[int, float]:
        """The looks that tell base cells of one merged cell apart."""
        precision = {
            i: self.base[attribute] / (look.variance * look.values.size)
            for i, look in enumerate(self._looks)
            if attribute in look.base
        }
        return self._shares(precision, (attribute,))

    def _shares(self, precision: dict[int, float], part: Clique) -> dict[int, float]:
        total = sum(precision.values())
        if not total:
            raise KeyError(f"never counted together: {part}")
        return {i: own / total for i, own in precision.items()}

    def _sum(self, i: int, part: Clique) -> Floats:
        """A look's counts summed to the merged cells of some of its columns, axes in the order given."""
        key = self.base.clique(part)
        if (i, key) not in self._sums:
            look = self._looks[i]
            summed = look.values.sum(axis=_others(look.clique, key))
            names = [a for a in look.clique if a in key]
            for axis, a in enumerate(names):
                merged = np.zeros((self.domain[a], summed.shape[axis]))
                merged[look.into[a], np.arange(summed.shape[axis])] = 1.0
                summed = np.moveaxis(np.tensordot(merged, summed, axes=(1, axis)), 0, axis)
            self._sums[i, key] = summed.transpose([names.index(a) for a in key])
        return self._sums[i, key].transpose([key.index(a) for a in part])

    def _add(
        self,
        coefficients: dict[int, Floats],
        i: int,
        part: Clique,
        component: Floats,
        into: Mapping[str, Integers] | None,
    ) -> None:
        """Weights over the cells of `part` as weights of the counts of a look."""
        look = self._looks[i]
        for axis, a in enumerate(part):
            if into is not None:
                component = component.take(into[a], axis=axis)
        order = [part.index(a) for a in look.clique if a in part]
        shape = tuple(n if a in part else 1 for a, n in zip(look.clique, look.values.shape, strict=True))
        spread = component.transpose(order).reshape(shape)
        if i not in coefficients:
            coefficients[i] = np.zeros(look.values.shape)
        coefficients[i] += spread


def _whole(map_: Integers, size: int) -> bool:
    """Whether it maps every code, onto all of 0, 1, ..."""
    return len(map_) == size and int(map_.min()) >= 0 and int(np.bincount(map_).min()) > 0


def _subsets(clique: Clique) -> list[Clique]:
    return [*chain.from_iterable(combinations(clique, n) for n in range(len(clique) + 1))]


def _others(clique: Sequence[str], part: Sequence[str]) -> tuple[int, ...]:
    return tuple(axis for axis, a in enumerate(clique) if a not in part)


def _centred(values: Any) -> Floats:
    """The means along every axis taken out."""
    found = np.asarray(values, dtype=np.float64)
    for axis in range(found.ndim):
        found = found - found.mean(axis=axis, keepdims=True)
    return found


__all__ = ["Evidence", "Sum"]

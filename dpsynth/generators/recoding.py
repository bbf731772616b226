"""Recodings: base cells merged where noise would drown them, and told apart again when rows are drawn.

Cells of a listed column are merged where they are rare, neighbours on a fine grid into bins (`binning`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.binning import Binning, binned
from dpsynth.graphical import Measurement, estimate_total
from dpsynth.graphical.factor import Array
from dpsynth.graphical.sampling import draw

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Recoding:
    """A coarser domain, the maps into it, and how the mass of a merged cell spreads over its base cells.

    Attributes:
        base: the encoded domain.
        maps: for every attribute the merged code of each base code.
        weights: for every attribute and base code the probability of that code given its merged cell.
        domain: the merged domain, same attributes in the same order.
        empty: for some attributes the base codes taken to be empty: their noise is not added to a merged cell's.
    """

    base: Domain
    maps: Mapping[str, Integers]
    weights: Mapping[str, Array]
    domain: Domain
    empty: Mapping[str, Bools]

    @classmethod
    def of(
        cls,
        base: Domain,
        maps: Mapping[str, Integers],
        weights: Mapping[str, Array],
        empty: Mapping[str, Bools] | None = None,
    ) -> Recoding:
        """A recoding from its maps and weights.

        Raises:
            ValueError: a map or weights have the wrong length, a merged code is unused, or the weights within
                a merged cell do not sum to 1.
        """
        for a, size in base.sizes.items():
            if maps[a].shape != (size,) or weights[a].shape != (size,):
                raise ValueError(f"recoding of {a!r}: expected {size} codes and weights")
            merged = np.bincount(maps[a], weights[a])
            if (weights[a] < 0).any() or not np.allclose(merged, 1.0):
                raise ValueError(f"recoding of {a!r}: the weights of every merged cell must sum to 1")
        domain = Domain.of({a: int(maps[a].max()) + 1 for a in base.attributes})
        ordered = {a: maps[a] for a in base.attributes}, {a: weights[a] for a in base.attributes}
        return cls(base, *ordered, domain, empty or {})

    @classmethod
    def merging_rare(
        cls,
        base: Domain,
        one_ways: Sequence[Measurement],
        out_of_domain: Mapping[str, int],
        threshold: float = 3.0,
        fine: Mapping[str, Sequence[float]] | None = None,
    ) -> Recoding:
        """Merge, in every attribute, the cells whose noisy count is below `threshold` sigma; in `fine` ones neighbours.

        A merged cell's mass is spread by the projection of its noisy counts onto non-negative counts of the
        same sum; evenly where that sum is not positive, or where the whole attribute fell below the threshold.
        An out-of-domain cell below the threshold gets weight 0: it cannot be sampled.

        Args:
            base: the encoded domain.
            one_ways: one noisy marginal for every attribute, over base codes.
            out_of_domain: code of the out-of-domain cell, for each attribute that has one.
            threshold: in standard deviations of the noise.
            fine: for each attribute on a fine grid where its in-domain cells lie (`Hints.fine`); these are merged
                into bins of at least `threshold` sigma. A missing cell below the threshold joins the smallest bin,
                with its noisy share.
        """
        maps, weights, empty, total = {}, {}, {}, estimate_total(one_ways)
        for measured in one_ways:
            (attribute,) = measured.clique
            outside = out_of_domain.get(attribute)
            if fine and attribute in fine:
                merged = _binned(measured, np.asarray(fine[attribute]), outside, threshold, total)
                maps[attribute], weights[attribute], empty[attribute] = merged
            else:
                maps[attribute], weights[attribute] = _merge(measured, outside, threshold)
        return cls.of(base, maps, weights, empty)

    def again(
        self, one_ways: Sequence[Measurement], out_of_domain: Mapping[str, int], threshold: float, kept: Collection[str]
    ) -> Recoding:
        """Merged anew by better counts; the attributes in `kept` stay as they are."""
        new = Recoding.merging_rare(self.base, one_ways, out_of_domain, threshold)
        maps = {a: self.maps[a] if a in kept else new.maps[a] for a in self.base.attributes}
        weights = {a: self.weights[a] if a in kept else new.weights[a] for a in self.base.attributes}
        return Recoding.of(self.base, maps, weights, {a: self.empty[a] for a in self.empty if a in kept})

    def rebinned(
        self,
        bins: Mapping[str, Binning],
        one_ways: Sequence[Measurement],
        out_of_domain: Mapping[str, int],
        threshold: float,
    ) -> Recoding:
        """With other bins of some fine grids; the rest stays as it is."""
        maps, weights, empty = dict(self.maps), dict(self.weights), dict(self.empty)
        for measured in one_ways:
            (a,) = measured.clique
            if a in bins:
                maps[a], weights[a], empty[a] = _with_outside(bins[a], measured, out_of_domain.get(a), threshold)
        return Recoding.of(self.base, maps, weights, empty)

    def one_way(self, measured: Measurement) -> Measurement:
        """A base one-way added up to the merged cells; the noise of a cell of ``m`` is ``sigma * sqrt(m)``."""
        return self.summed(measured, measured.clique[0])

    def summed(self, measured: Measurement, attribute: str) -> Measurement:
        """A marginal that is over base codes of one attribute, added up to its merged cells."""
        axis, codes = measured.clique.index(attribute), self.maps[attribute]
        kept = ~self.empty.get(attribute, np.zeros(codes.shape, dtype=bool))
        variance = np.broadcast_to(np.square(measured.sigma), measured.values.shape)
        found = []
        for each in (measured.values, variance):
            cells = np.moveaxis(np.asarray(each, dtype=np.float64), axis, 0)
            into = np.zeros((self.domain[attribute], *cells.shape[1:]))
            np.add.at(into, codes[kept], cells[kept])
            found.append(np.moveaxis(into, 0, axis))
        return Measurement(measured.clique, found[0], np.sqrt(found[1]))

    def encode(self, codes: Codes) -> Codes:
        """Base codes to merged codes."""
        return {a: self.maps[a][np.asarray(c)] for a, c in codes.items()}

    def decode(self, codes: Codes, rng: np.random.Generator) -> dict[str, Integers]:
        """Merged codes to base codes, drawn within merged cells (counts rounded, places at random)."""
        decoded = {}
        for attribute in self.base.attributes:
            order = np.argsort(self.maps[attribute], kind="stable")
            sizes = np.bincount(self.maps[attribute])
            merged = np.asarray(codes[attribute])
            base = order[(np.cumsum(sizes) - sizes)[merged]]
            for cell in np.flatnonzero(sizes > 1):
                held = np.flatnonzero(merged == cell)
                within = np.flatnonzero(self.maps[attribute] == cell)
                table = self.weights[attribute][within][None, :]
                base[held] = within[draw(np.zeros(len(held), dtype=np.int64), table, rng)]
            decoded[attribute] = base.astype(np.int64)
        return decoded

    def sample(
        self,
        merged: Callable[[int, np.random.Generator, Codes | None], Codes],
        rows: int,
        rng: np.random.Generator,
        given: Codes | None,
    ) -> Codes:
        """Base codes of `rows` rows that `merged` draws over merged cells; given columns are kept as they are."""
        decoded = self.decode(merged(rows, rng, self.encode(given) if given else None), rng)
        kept = {a: np.asarray(c).astype(np.int64) for a, c in (given or {}).items()}
        return {a: kept.get(a, decoded[a]) for a in self.base.attributes}

    def spread_again(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Encoded rows with every cell that was merged drawn anew inside its merged cell; columns as in `codes`."""
        names = tuple(codes)
        own = {a: self.maps[a] for a in names}, {a: self.weights[a] for a in names}
        part = Recoding.of(self.base.project(names), *own)
        return part.decode(part.encode(codes), rng)

    def spread(self, values: Array, clique: Clique) -> Array:
        """Expected counts over merged cells to expected counts over base cells, axes as in `clique`."""
        for axis, attribute in enumerate(clique):
            shape = tuple(-1 if i == axis else 1 for i in range(len(clique)))
            values = values.take(self.maps[attribute], axis=axis) * self.weights[attribute].reshape(shape)
        return values


def _merge(measured: Measurement, outside: int | None, threshold: float) -> tuple[Integers, Array]:
    noisy = measured.values
    size = len(noisy)
    inside = np.arange(size) != (size if outside is None else outside)
    if not inside.any():  # an attribute of nothing but its out-of-domain cell
        return np.zeros(size, dtype=np.int64), np.ones(size)
    rare = noisy < threshold * np.broadcast_to(measured.sigma, noisy.shape)
    if rare.all():
        return np.zeros(size, dtype=np.int64), inside / inside.sum()
    if not (rare & inside).any() and rare.any():
        # only the out-of-domain cell is rare: it joins the smallest cell that is not
        rare[np.argmin(np.where(rare, np.inf, noisy))] = True
    merged = np.cumsum(~rare) - 1
    merged[rare] = int((~rare).sum())
    weights = np.ones(size)
    if rare.any():
        weights[rare] = 0.0
        spread = np.flatnonzero(rare & inside)
        weights[spread] = proportions(noisy[spread], float(noisy[rare].sum()))
    return merged.astype(np.int64), weights


def _binned(
    measured: Measurement, positions: Array, outside: int | None, threshold: float, total: float
) -> tuple[Integers, Array, Bools]:
    noisy, cells = measured.values, len(positions) - 1
    sigma = np.sqrt(np.broadcast_to(np.square(measured.sigma), noisy.shape))
    inside = (total - float(noisy[cells:].sum()), float(np.sum(sigma[cells:] ** 2)))
    bins = binned(noisy[:cells], sigma[:cells], positions, total, threshold, inside)
    return _with_outside(bins, measured, outside, threshold)


def _with_outside(
    bins: Binning, measured: Measurement, outside: int | None, threshold: float
) -> tuple[Integers, Array, Bools]:
    """The bins of a grid and what is not on it: map, weights, and which cells are taken to be empty."""
    noisy, cells = measured.values, len(bins.codes)
    sigma = np.sqrt(np.broadcast_to(np.square(measured.sigma), noisy.shape))
    merged = np.full(len(noisy), -1)
    merged[:cells] = bins.codes
    weights = np.concatenate([bins.weights, np.ones(len(noisy) - cells)])
    for code in range(cells, len(noisy)):  # the missing cell, if declared, and the one out of domain
        if noisy[code] >= threshold * sigma[code]:
            merged[code] = merged.max() + 1
            continue
        held, joining = bins.held[bins.smallest], max(float(noisy[code]), 0.0)
        share = 0.0 if code == outside else joining / (joining + held) if held > 0 else 1 / (cells + 1)
        weights[merged == bins.smallest] *= 1 - share
        merged[code], weights[code] = bins.smallest, share
    empty = np.zeros(len(noisy), dtype=bool)
    if bins.held.min() > 0:
        empty[:cells] = bins.mass == 0
    return merged, weights, empty


def proportions(noisy: Array, total: float) -> Array:
    """Proportions: the non-negative counts of sum `total` closest to the noisy ones; even without a positive total."""
    if total <= 0:
        return np.full(len(noisy), 1.0 / len(noisy))
    falling = np.sort(noisy)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(noisy) + 1)
    shift = excess[np.flatnonzero(falling > excess)[-1]]
    kept = np.maximum(noisy - shift, 0.0)
    share: Array = kept / kept.sum()
    return share


__all__ = ["Recoding", "proportions"]

"""Whether the released table agrees with what was measured, contradicts it, or nobody can tell: margin by margin.

A margin is read at several scales: cell by cell, and in ever fewer groups of cells, whose noise is less beside their
counts. Groups follow from the schema and the synthetic rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes
from dpsynth.release.report.counted import Counted
from dpsynth.release.report.noise import Comparison
from dpsynth.schema import Schema

ALPHA = 0.01
"""Chance that any margin at all is called a contradiction where the table is right."""
CONFIDENCE = 0.95
"""Of all bounds of a report together."""
MATERIAL = 0.01
"""Share of the rows by which a margin must be off, beyond what noise makes, to be called a contradiction."""
CLEAR = 0.1
"""A margin agrees where at most this share of the rows may lie elsewhere; beyond, it is too noisy to tell."""
GROUPS = (32, 16, 8, 4, 2)
"""Groups of an axis at the coarser scales."""

Integers = NDArray[np.int64]


class Verdict(StrEnum):
    """What can be said of one margin."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    TOO_NOISY = "too-noisy"


@dataclass(frozen=True, slots=True)
class Fit:
    """How a released margin lies to a measured one. Distances are shares of the rows (total variation).

    Attributes:
        clique: the columns.
        cells: of the margin as it was counted.
        sigma: noise of one of them, in rows.
        times: how often it was measured.
        distance: between the noisy counts and the table, cell by cell.
        noise, spread: its mean and standard deviation where the table is right.
        verdict: what can be said.
        groups: cells at the scale that the verdict is about; `cells` if it is about each.
        bound: what the real margin at that scale is within of the table, with `CONFIDENCE` for all margins together.
        least: of a contradiction, about how far the table is off beyond noise; otherwise 0.
        resolved: of a contradiction, the most groups in which the table agrees, 0 where in none.
        p_value: chance of such counts if the table were right, scales and margins accounted for.
    """

    clique: Clique
    cells: int
    sigma: float
    times: int
    distance: float
    noise: float
    spread: float
    verdict: Verdict
    groups: int
    bound: float
    least: float
    resolved: int
    p_value: float


@dataclass(frozen=True, slots=True)
class _Scale:
    comparison: Comparison
    p_value: float
    bound: float

    @property
    def cells(self) -> int:
        return int(self.comparison.counts.size)

    @property
    def excess(self) -> float:
        return self.comparison.distance - self.comparison.noise


def judged(
    measured: Sequence[Counted], schema: Schema, codes: Codes, rows: int, total: float, *, unseen: bool = False
) -> tuple[Fit, ...]:
    """The fit of every measured margin but the total, in the order given.

    Args:
        measured: margins, of which none is given twice.
        schema: says which columns have an order, and which codes are no values.
        codes: the released rows, encoded.
        rows: how many.
        total: of the real table, as estimated.
        unseen: whether the table was made without these counts; the bounds are then sharper.
    """
    margins = [each for each in measured if each.clique]
    special = {c.name: set(range(c.cells, c.size)) for c in schema.encoded}
    ordered = {c.name for c in schema.encoded if c.ordered}
    alpha = (1 - CONFIDENCE) / max(1, len(margins) * (len(GROUPS) + 1))
    found = []
    for margin in margins:
        released = margin.released(codes) / rows
        grouped = _scales(margin, released, special, ordered)
        comparisons = [_compared(margin, released, axes, rows, total) for axes in grouped]
        bounds = [c.unseen_bound(alpha) if unseen else c.bound(alpha) for c in comparisons]
        scales = [_Scale(c, c.p_value, bound) for c, bound in zip(comparisons, bounds, strict=True)]
        found.append(_verdict(margin, scales, len(margins)))
    return tuple(found)


def _verdict(margin: Counted, scales: Sequence[_Scale], margins: int) -> Fit:
    cell_by_cell, tests = scales[0].comparison, len(scales) * margins
    wrong = [s for s in scales if s.p_value * tests <= ALPHA and s.excess > MATERIAL]
    clear = [s for s in scales if s.bound <= CLEAR and s not in wrong]
    if wrong:
        verdict, about = Verdict.CONTRADICTS, max(wrong, key=lambda s: s.excess)
    elif clear:
        verdict, about = Verdict.AGREES, clear[0]
    else:
        verdict, about = Verdict.TOO_NOISY, min(scales, key=lambda s: s.bound)
    return Fit(
        clique=margin.clique,
        cells=margin.values.size,
        sigma=margin.sigma,
        times=margin.times,
        distance=cell_by_cell.distance,
        noise=cell_by_cell.noise,
        spread=cell_by_cell.spread,
        verdict=verdict,
        groups=about.cells,
        bound=about.bound,
        least=about.excess if wrong else 0.0,
        resolved=clear[0].cells if wrong and clear else 0,
        p_value=min(1.0, min(s.p_value for s in scales) * tests),
    )


def _compared(
    margin: Counted, released: NDArray[np.float64], axes: Sequence[Integers], rows: int, total: float
) -> Comparison:
    """The margin in groups: ``axes`` has for each of its axes the group of every cell."""
    merged = reduce(np.add.outer, [a * s for a, s in zip(axes, _strides(axes), strict=True)]).ravel()
    size = int(merged.max()) + 1

    def summed(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(merged, weights.ravel(), size).astype(np.float64)

    variances = margin.sigma**2 * summed(np.ones(merged.size))
    return Comparison(summed(margin.values), variances, summed(released), rows, total)


def _strides(axes: Sequence[Integers]) -> list[int]:
    strides = [1]
    for axis in reversed(axes[1:]):
        strides.append(strides[-1] * (int(axis.max()) + 1))
    return strides[::-1]


def _scales(
    margin: Counted, released: NDArray[np.float64], special: dict[str, set[int]], ordered: set[str]
) -> list[list[Integers]]:
    """The groups of each axis, from single cells to the coarsest; scales that merge nothing are left out."""
    shape = margin.values.shape
    scales = [[np.arange(size) for size in shape]]
    shares = [released.sum(axis=tuple(i for i in range(len(shape)) if i != axis)) for axis in range(len(shape))]
    values = [_values(margin, name, size, special[name]) for name, size in zip(margin.clique, shape, strict=True)]
    for groups in GROUPS:
        axes = [
            _grouped(share, value, groups, name in ordered, apart=len(shape) == 1)
            for share, value, name in zip(shares, values, margin.clique, strict=True)
        ]
        if any(int(a.max()) < int(b.max()) for a, b in zip(axes, scales[-1], strict=True)):
            scales.append(axes)
    return scales


def _values(margin: Counted, name: str, size: int, special: set[int]) -> NDArray[np.bool_]:
    """Which cells of an axis hold values, and not only what is missing or outside the codebook."""
    map_ = margin.recoding.get(name)
    plain = [code for code in range(size if map_ is None else len(map_)) if code not in special]
    held = np.zeros(size, dtype=bool)
    held[plain if map_ is None else map_[plain]] = True
    return held


def _grouped(
    share: NDArray[np.float64], value: NDArray[np.bool_], groups: int, ordered: bool, *, apart: bool
) -> Integers:
    """The group of each cell: at most `groups` for values, and those that are none by themselves (`apart`) or together.

    Neighbours of about equal shares where the column has an order; otherwise the most frequent cells, and the rest.
    """
    found = np.zeros(len(share), dtype=np.int64)
    cells = np.flatnonzero(value)
    if ordered:
        below = np.cumsum(share[cells]) - share[cells] / 2
        place = np.minimum((below / max(float(share[cells].sum()), 1e-300) * groups).astype(np.int64), groups - 1)
    else:
        place = np.empty(len(cells), dtype=np.int64)
        place[np.argsort(-share[cells], kind="stable")] = np.minimum(np.arange(len(cells)), groups - 1)
    found[cells] = place
    rest = np.flatnonzero(~value)
    found[rest] = groups + (np.arange(len(rest)) if apart else 0)
    merged: Integers = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return merged


__all__ = ["ALPHA", "CLEAR", "CONFIDENCE", "MATERIAL", "Fit", "Verdict", "judged"]

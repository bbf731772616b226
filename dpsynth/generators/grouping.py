"""Neighbours of an ordered column grouped, so that margins with other columns stand out from their noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from dpsynth.generators.denoising import Denoised
from dpsynth.generators.recoding import Integers, Recoding
from dpsynth.graphical import Measurement, estimate_total
from dpsynth.graphical.factor import Array

FEWEST_GROUPS = 8
_SMALL = 20
"""Columns with this many cells or fewer are left alone."""
_EVIDENCE = 3.0
"""Logarithm of the Bayes factor above which codes are taken to be in order: 20 to 1."""


def grouped(recoding: Recoding, one_ways: Sequence[Denoised], ordered: Collection[str], least: float) -> Recoding:
    """A recoding in which neighbouring cells of ordered columns share a merged cell.

    Between the columns such a cell is one; within it rows are spread by the denoised one-way. A group takes
    neighbours until it holds `least` sigma (of the one-way's noise), or its part of the column where there
    would be fewer than `FEWEST_GROUPS`. A single cell of that size stays alone. What was merged for being rare
    stays together.

    Args:
        recoding: after rare cells were merged.
        one_ways: denoised, over base codes, one for each attribute.
        ordered: attributes whose order is declared. The others are grouped where their own noisy counts say that
            their codes are in order.
        least: in standard deviations; 0 groups nothing.
    """
    maps, weights = dict(recoding.maps), dict(recoding.weights)
    total = estimate_total([d.measurement for d in one_ways])
    for found in one_ways:
        measured = found.measurement
        (attribute,) = measured.clique
        in_order = attribute in ordered or found.order > _EVIDENCE
        share = min(least * _typical(measured), total / FEWEST_GROUPS)
        if least and in_order and len(measured.values) > _SMALL:
            codes = _groups(maps[attribute], measured.values, share)
            if codes.max() < maps[attribute].max():
                weights[attribute] = _within(codes, maps[attribute], weights[attribute], measured.values)
                maps[attribute] = codes
    return Recoding.of(recoding.base, maps, weights, recoding.empty)


def _typical(measured: Measurement) -> float:
    return float(np.sqrt(np.mean(np.square(measured.sigma))))


def _groups(merged: Integers, mass: Array, share: float) -> Integers:
    """The group of each base code; the cell merged of several stays one group, the last."""
    sizes = np.bincount(merged)
    codes = np.zeros(len(merged), dtype=np.int64)
    group, held = -1, np.inf
    for code in np.flatnonzero(sizes[merged] == 1):
        own = max(float(mass[code]), 0.0)
        if held + own / 2 > share or own > share:
            group, held = group + 1, 0.0
        codes[code] = group
        held = np.inf if own > share else held + own
    codes[sizes[merged] > 1] = group + 1
    return codes


def _within(codes: Integers, merged: Integers, weights: Array, mass: Array) -> Array:
    """Probability of each base code given its group: by mass, or as before in the cell merged of several."""
    alone = np.bincount(merged)[merged] == 1
    given = np.where(alone, np.maximum(mass, 0.0), weights)
    held = np.bincount(codes, given)[codes]
    share: Array = np.where(held > 0, given / np.where(held > 0, held, 1.0), 1.0 / np.bincount(codes)[codes])
    return share


__all__ = ["FEWEST_GROUPS", "grouped"]

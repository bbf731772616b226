"""Linkage: two halves of a record, held apart, find each other through a released row (Giomi et al. 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.judging import cannot, compared
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "linkage of two halves"


def linkage(case: Case, rng: np.random.Generator) -> list[Finding]:
    """The share of records both of whose halves have a released row in common among their five nearest."""
    del rng
    targets = case.targets
    if not all(case.halves):
        return [cannot(MEASURE, "", "One column alone has no halves.")]
    left, right = case.by_half
    linked = [
        side.most(_shared(one.places, other.places))
        for side, one, other in zip((targets.train, targets.holdout), left, right, strict=True)
    ]
    return list(compared(MEASURE, "", targets, *linked))


def _shared(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.asarray((one[:, :, None] == other[:, None, :]).any(axis=(1, 2)))


__all__ = ["MEASURE", "linkage"]

"""Completion: who knows a half of a record reads the other half off the released row closest to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.case import Case, Near
from dpsynth.evaluation.custodian.attacks.judging import cannot, compared
from dpsynth.evaluation.custodian.attacks.targets import Side
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "completion of half a record"


def completion(case: Case, rng: np.random.Generator) -> list[Finding]:
    """The share of the unknown columns that is read right, a number to its tenth; either half is the known one once.

    The rare units are what this attack is for: a common record is completed from the population alone.
    """
    del rng
    targets = case.targets
    if not all(case.halves):
        return [cannot(MEASURE, "", "One column alone has no halves.")]
    released = targets.space.classes(case.release)
    (left, right), (known_left, known_right) = case.by_half, case.halves
    read = []
    for i, side in enumerate((targets.train, targets.holdout)):
        truth = targets.space.classes(side.frame)
        both = [
            _read(case, side, truth, released, left[i], known_right),
            _read(case, side, truth, released, right[i], known_left),
        ]
        read.append(np.mean(both, axis=0))
    return list(compared(MEASURE, "", targets, *read))


def _read(
    case: Case,
    side: Side,
    truth: NDArray[np.int64],
    released: NDArray[np.int64],
    near: Near,
    unknown: tuple[str, ...],
) -> NDArray[np.float64]:
    columns = [case.targets.space.names.index(name) for name in unknown]
    guessed = released[near.places[:, 0]][:, columns]
    return side.mean((guessed == truth[:, columns]).mean(axis=1))


__all__ = ["MEASURE", "completion"]

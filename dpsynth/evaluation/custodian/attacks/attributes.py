"""Attribute inference: a model of the released rows guesses a column of real records from the others.

What it guesses of holdout records it has learnt of the population; only what it guesses better of training records is
loss of privacy (Giomi et al. 2023, Anonymeter).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.ensemble import ExtraTreesClassifier

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.judging import cannot, compared
from dpsynth.evaluation.custodian.attacks.space import Points
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "attribute inference"
MOST_ROWS = 20_000
MOST_COLUMNS = 5
"""Columns attacked where none are named."""
MOST_CLASSES = 64
"""Levels of a longer list are guessed by group: a tree's nodes hold a count for every class."""
TREES = 20


def attributes(case: Case, rng: np.random.Generator, sensitive: Sequence[str]) -> list[Finding]:
    """The share of records whose column is guessed right: a listed value, or a number's tenth.

    A list of more than 64 levels counts as right where the group of the level is.

    Args:
        case: who is attacked, and with what.
        rng: for the trees.
        sensitive: the columns to guess.
    """
    space = case.targets.space
    release = case.release.iloc[:MOST_ROWS]
    classes, features = space.classes(release), space.features(release)
    return [each for name in sensitive for each in _guess(case, name, classes, features, rng)]


def uncertain(case: Case) -> tuple[str, ...]:
    """The columns that the release leaves most to guess, by entropy; in their own order."""
    names = case.targets.space.names
    classes = case.targets.space.classes(case.release.iloc[:MOST_ROWS])
    bits = [entropy(np.unique(column, return_counts=True)[1]) for column in classes.T]
    return tuple(names[i] for i in sorted(np.argsort(bits)[::-1][:MOST_COLUMNS]))


def _guess(
    case: Case, name: str, classes: NDArray[np.int64], features: Points, rng: np.random.Generator
) -> list[Finding]:
    targets, space = case.targets, case.targets.space
    if name not in space.names:
        return [cannot(MEASURE, name, "The column has one value only, or is not in the schema.")]
    at = space.names.index(name)
    others = np.delete(np.arange(len(space.axes)), at)
    answers = _groups(classes[:, at])
    if len(others) == 0:
        return [cannot(MEASURE, name, "There is no other column to guess it from.")]
    if len(np.unique(answers)) < 2:
        return [cannot(MEASURE, name, "The column has one value only in the release.")]
    if len(np.unique(answers)) > len(answers) / 2:
        return [cannot(MEASURE, name, "The release has too few rows for so many values.")]
    model = ExtraTreesClassifier(TREES, max_features="sqrt", random_state=int(rng.integers(2**31)))
    model.fit(features[:, others], answers)
    hits = [
        side.mean(
            model.predict(space.features(side.frame)[:, others]) == _groups(space.axes[at].classes(side.frame[name]))
        )
        for side in (targets.train, targets.holdout)
    ]
    return list(compared(MEASURE, name, targets, *hits))


def _groups(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (classes + 1) % MOST_CLASSES


__all__ = ["MEASURE", "attributes", "uncertain"]

"""Attribute inference: a model of the released rows guesses a column of real records from the others.

What it guesses of holdout records it has learnt of the population; only what it guesses better of training records is
loss of privacy (Giomi et al. 2023, Anonymeter).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.ensemble import ExtraTreesClassifier

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.judging import cannot, compared
from dpsynth.evaluation.custodian.attacks.space import Points
from dpsynth.evaluation.custodian.attacks.targets import Targets
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
    answers = _groups(classes[:, at])
    if len(space.axes) == 1:
        return [cannot(MEASURE, name, "There is no other column to guess it from.")]
    if len(np.unique(answers)) < 2:
        return [cannot(MEASURE, name, "The column has one value only in the release.")]
    if len(np.unique(answers)) > len(answers) / 2:
        return [cannot(MEASURE, name, "The release has too few rows for so many values.")]
    found = list(compared(MEASURE, name, targets, *_hits(targets, at, features, answers, rng)))
    known = targets.population.iloc[:MOST_ROWS]
    answers = _groups(space.axes[at].classes(known[name]))
    if any(each.low > each.baseline for each in found) and len(np.unique(answers)) <= len(answers) / 2:
        blind = compared(MEASURE, name, targets, *_hits(targets, at, space.features(known), answers, rng))
        found = [_beside(ours, theirs) for ours, theirs in zip(found, blind, strict=True)]
    return found


def _hits(
    targets: Targets, at: int, features: Points, answers: NDArray[np.int64], rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Success on each attacked unit, training units and then holdout units, of trees trained on some rows.

    Args:
        targets: who is attacked.
        at: which column is guessed.
        features, answers: of the rows.
        rng: for the trees.
    """
    others = np.delete(np.arange(features.shape[1]), at)
    model = ExtraTreesClassifier(TREES, max_features="sqrt", random_state=int(rng.integers(2**31)))
    model.fit(features[:, others], answers)
    axis, hits = targets.space.axes[at], list[NDArray[np.float64]]()
    for side in (targets.train, targets.holdout):
        guesses = model.predict(targets.space.features(side.frame)[:, others])
        hits.append(side.mean(guesses == _groups(axis.classes(side.frame[axis.name]))))
    return hits


def _beside(found: Finding, blind: Finding) -> Finding:
    """An excess beside what an attacker gets who saw rows of neither side: units that anyone guesses better."""
    if not found.low > found.baseline:
        return found
    note = (
        f"An attacker who knows other rows of the population, and no release, guesses {blind.value:.3f} of these "
        f"training units and {blind.baseline:.3f} of the holdout's: as much of the excess is theirs, and no leak."
    )
    return replace(found, note=f"{found.note} {note}".strip())


def _groups(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (classes + 1) % MOST_CLASSES


__all__ = ["MEASURE", "attributes", "uncertain"]

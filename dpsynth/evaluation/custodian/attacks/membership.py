"""Membership inference without refitting: was this unit among the rows that the release was made from?

Sources: the distance to the closest released row (Chen et al. 2020, GAN-Leaks); released density over the
population's, DOMIAS (van Breugel et al. 2023), here by nearest neighbours and by a classifier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.judging import cannot, told_apart
from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.attacks.targets import Side
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "membership inference"
GRAIN = 0.01
"""Columns' worth below which two distances count as alike: of an exact copy no ratio is infinite."""
NEIGHBOURS = 2
"""Averaged over: one is best at copies, more at looser likeness."""
TREES = 50
TIE = 1e-6
"""Weight of the distance beside the trees' votes: it decides where these are all for "released"."""
MOST_ROWS = 20_000
LEAST_ROWS = 40


def membership(case: Case, rng: np.random.Generator) -> list[Finding]:
    """AUROC and hits at few false alarms of three scores, by unit: its most telling row counts."""
    targets = case.targets
    sides = (targets.train, targets.holdout)
    close = [side.most(-near.distances[:, 0]) for side, near in zip(sides, case.whole, strict=True)]
    dense = [
        side.most(_density_ratio(case, side, near.distances)) for side, near in zip(sides, case.whole, strict=True)
    ]
    return [
        *told_apart(MEASURE, "distance", targets, *close),
        *told_apart(MEASURE, "density ratio, neighbours", targets, *dense),
        *_by_classifier(case, rng),
    ]


def _density_ratio(case: Case, side: Side, released: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of released density over the reference's, up to constants, from the distances to the first neighbours."""
    reference = nearest(case.targets.reference, side.points, NEIGHBOURS)[0]
    few = min(NEIGHBOURS, len(case.release), len(case.targets.reference))
    ratios = np.log(reference[:, :few] + GRAIN) - np.log(released[:, :few] + GRAIN)
    return np.asarray(ratios.mean(axis=1))


def _by_classifier(case: Case, rng: np.random.Generator) -> list[Finding]:
    """Votes of fully grown trees that tell released rows from the reference: boosted trees smooth copies away."""
    targets, subject = case.targets, "density ratio, classifier"
    space = targets.space
    released, reference = (space.features(frame) for frame in (case.release.iloc[:MOST_ROWS], targets.population))
    if min(len(released), len(reference)) < LEAST_ROWS:
        few = f"{len(released)} released and {len(reference)} reference rows"
        return [cannot(f"{MEASURE}: AUROC", subject, f"{few}: a classifier needs at least {LEAST_ROWS} of both.")]
    rows = np.concatenate([released, reference])
    labels = np.repeat([1, 0], [len(released), len(reference)])
    model = ExtraTreesClassifier(TREES, random_state=int(rng.integers(2**31))).fit(rows, labels)
    scores = [
        side.most(model.predict_proba(space.features(side.frame))[:, 1] - TIE * near.distances[:, 0])
        for side, near in zip((targets.train, targets.holdout), case.whole, strict=True)
    ]
    return list(told_apart(MEASURE, subject, targets, *scores))


__all__ = ["GRAIN", "MEASURE", "membership"]

"""Copies and near copies of training records among the released rows.

Sources: distance to the closest record and its ratio (Zhao et al. 2021, CTAB-GAN); the share of released rows closer
to training rows than to a holdout's (Platzer and Reutterer 2021).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.intervals import clustered_share, excess, mean
from dpsynth.evaluation.custodian.attacks.judging import RARE, compared, finding
from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.finding import Finding

MOST_QUERIES = 3_000
"""Released rows whose closest real record is sought, at most."""


def copies(case: Case, rng: np.random.Generator) -> list[Finding]:
    """Units of which a released row is a copy, or nearly; and released rows that lie closer to training units.

    The share of attacked units with a row that prints as a released one; with a row no further from a released one
    than a single column; how much closer the closest released row is than the second closest (1 - NNDR). Each beside
    the same for holdout units.
    """
    targets, near = case.targets, case.whole
    sides = (targets.train, targets.holdout)
    released = np.unique(targets.space.hashes(case.release))
    exact = [side.most(np.isin(targets.space.hashes(side.frame), released)) for side in sides]
    close = [side.most(of.distances[:, 0] <= 1) for side, of in zip(sides, near, strict=True)]
    alone = [side.most(_isolation(of.distances)) for side, of in zip(sides, near, strict=True)]
    return [
        _all_copies(case, released),
        *(each for each in compared("copies", "", targets, *exact) if each.subject == RARE),
        *compared("near copies, within one column", "", targets, *close),
        *compared("closest released row alone (1 - NNDR)", "", targets, *alone),
        _closer(case, rng),
    ]


def _isolation(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = distances[:, 0], distances[:, 1]
    ratio = np.divide(first, second, out=np.ones(len(first)), where=(second > 0) & np.isfinite(second))
    return 1 - ratio


def _all_copies(case: Case, released: NDArray[np.uint64]) -> Finding:
    """Copies of any unit, not of attacked ones alone."""
    shares = []
    for name, frame in (("train", case.tables.train), ("holdout", case.tables.holdout)):
        units = np.unique(case.tables.units[name], return_inverse=True)[1]
        copied = np.zeros(units.max() + 1)
        np.maximum.at(copied, units, np.isin(case.targets.space.hashes(frame), released))
        shares.append(copied)
    ours, theirs = mean(shares[0]), mean(shares[1])
    counts = " and ".join(
        f"{int(share.sum())} of {len(share)} {name} units"
        for share, name in zip(shares, ("training", "holdout"), strict=True)
    )
    return finding("copies", "", excess(ours, theirs), theirs.value, f"{counts} have a row that was released as it is.")


def _closer(case: Case, rng: np.random.Generator) -> Finding:
    """The share of released rows whose closest real unit is a training unit, ties at random.

    Were the release blind to which units it was made from, each unit would be of the training rows with the same
    chance, whatever rows are closest to it: that chance is the baseline. Released rows with the same closest unit
    are one cluster.
    """
    tables, space = case.tables, case.targets.space
    trained, held = (np.unique(tables.units[name], return_inverse=True)[1] for name in ("train", "holdout"))
    units = np.concatenate([trained, trained.max() + 1 + held])
    order = rng.permutation(len(units))[: case.most_rows]
    real = space.embed(pd.concat([tables.train, tables.holdout]).iloc[order])
    closest = nearest(real, case.points[:MOST_QUERIES], 1)[1][:, 0]
    winners, weights = np.unique(units[order][closest], return_counts=True)
    share = clustered_share(winners <= trained.max(), weights)
    known = np.unique(units[order])
    baseline = float((known <= trained.max()).mean())
    return finding("closer to training rows than to the holdout's (DCR share)", "", share, baseline)


__all__ = ["copies"]

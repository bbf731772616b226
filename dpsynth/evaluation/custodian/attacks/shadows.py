"""Membership inference by shadow models: the generator is fitted again to rows of which membership is known.

Source: the likelihood ratio attack of Carlini et al. 2022 (LiRA), on the distance to the closest released row. Each
shadow model sees a random half of all units; of each attacked unit the distances with it and without it are two
normal laws with one spread, and their ratio at the release's own distance is its score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.judging import cannot, told_apart
from dpsynth.evaluation.custodian.attacks.membership import GRAIN
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "membership inference"
SUBJECT = "shadow models"
MODELS = 16


class Refit(Protocol):
    """Fits the release's generator anew, with fresh noise at the release's own settings, and draws a table.

    Args:
        rows: real rows of some units, the schema's columns.
        units: the privacy unit of each row.
        rng: for the drawing; privacy noise takes no seed.
    """

    def __call__(self, rows: pd.DataFrame, units: NDArray[np.int64], rng: np.random.Generator) -> pd.DataFrame:
        """Synthetic rows, the schema's columns, read as those of the tables are."""
        ...


def copied(rows: pd.DataFrame, units: NDArray[np.int64], rng: np.random.Generator) -> pd.DataFrame:
    """The leak that is planted: a generator that gives back what it was given."""
    del units
    return rows.iloc[rng.permutation(len(rows))]


def shadows(
    case: Case,
    rng: np.random.Generator,
    refit: Refit | None,
    models: int = MODELS,
    *,
    told: Callable[[pd.DataFrame], pd.DataFrame] = lambda released: released,
) -> list[Finding]:
    """AUROC and hits at few false alarms of the likelihood ratio, by unit.

    Args:
        case: who is attacked, and with what.
        rng: for the halves and the drawing.
        refit: see `Refit`; without it the attack is not made.
        models: how many shadow models; at least 4, an even number.
        told: is given each of their tables when it is there.
    """
    if refit is None:
        why = "Nothing was given to fit the generator again, or it started from a public table."
        return [cannot(f"{MEASURE}: AUROC", SUBJECT, why)]
    tables, targets = case.tables, case.targets
    rows = pd.concat([tables.train, tables.holdout])
    trained, held = (np.unique(tables.units[name], return_inverse=True)[1] for name in ("train", "holdout"))
    units = np.concatenate([trained, trained.max() + 1 + held]).astype(np.int64)
    attacked = np.concatenate([_numbers(case, "train", trained), trained.max() + 1 + _numbers(case, "holdout", held)])
    inside = _halves(int(units.max()) + 1, models, rng)
    scores = np.empty((models, len(attacked)))
    for i, members in enumerate(inside):
        chosen = members[units]
        released = told(refit(rows[chosen], units[chosen], rng))
        scores[i] = _closeness(Case(tables, targets, released, rng))
    ratio = _likelihood_ratio(_closeness(case), scores, inside[:, attacked])
    cut = len(targets.train.starts)
    return list(told_apart(MEASURE, SUBJECT, targets, ratio[:cut], ratio[cut:]))


def _numbers(case: Case, name: str, units: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of the attacked units of one side, in the side's own order."""
    side = getattr(case.targets, name)
    return np.asarray(units[side.rows[side.starts]])


def _halves(units: int, models: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Shape (models, units): every unit is inside half of the models, and they come in complementary pairs."""
    first = rng.random((models // 2, units)) < 0.5
    return np.concatenate([first, ~first])


def _closeness(case: Case) -> NDArray[np.float64]:
    """Minus the log of each attacked unit's least distance to a released row: training units, then holdout units."""
    sides = (case.targets.train, case.targets.holdout)
    return np.concatenate(
        [side.most(-np.log(near.distances[:, 0] + GRAIN)) for side, near in zip(sides, case.whole, strict=True)]
    )


def _likelihood_ratio(
    observed: NDArray[np.float64], scores: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """log of normal densities with and without the unit, at the spread that all units and both laws share.

    The gap between a unit's two means is drawn towards the mean gap by as much as it is noise (empirical Bayes): few
    models tell it badly.

    Args:
        observed: shape (units,).
        scores, inside: shapes (models, units).
    """
    means = [np.where(mask, scores, 0).sum(axis=0) / mask.sum(axis=0) for mask in (inside, ~inside)]
    rest = scores - np.where(inside, means[0], means[1])
    variance = (rest**2).sum() / max(1, rest.size - 2 * rest.shape[1]) + GRAIN**2
    gap, middle = means[0] - means[1], (means[0] + means[1]) / 2
    error = variance * 4 / len(scores)
    kept = np.clip(1 - error / max(float(gap.var()), GRAIN**2), 0, 1)
    gap = gap.mean() + kept * (gap - gap.mean())
    return np.asarray((observed - middle) * gap / variance)


__all__ = ["MODELS", "Refit", "copied", "shadows"]

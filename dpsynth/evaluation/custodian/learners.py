"""The same models trained on released and on real rows, tried on the same holdout (TSTR and TRTR)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.design import Design, plain
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.evaluation.custodian.task import Task

LINEAR, BOOSTED = "logistic regression", "gradient boosting"
LEAST_SQUARES = "ridge regression"
MOST_ROWS = 25_000
"""Rows a model is trained on at most, unless `deep`; more are drawn down, of released and real rows alike."""

TREES = 100
"""Boosting rounds: scikit-learn's default."""

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Predictions for the holdout rows whose target is known.

    Attributes:
        task: what was predicted.
        rows: which rows of the holdout.
        y: their targets.
        scores: by (model, table trained on): a probability, or the number guessed.
        prevalence: share of positives by table trained on.
        notes: why a table could not be trained on, by table.
        trained: rows trained on, by table.
    """

    task: Task
    rows: NDArray[np.int64]
    y: Floats
    scores: Mapping[tuple[str, str], Floats]
    prevalence: Mapping[str, float]
    notes: Mapping[str, str]
    trained: Mapping[str, int]

    @property
    def models(self) -> tuple[str, ...]:
        """Their names."""
        return (LINEAR if self.task.binary else LEAST_SQUARES, BOOSTED)


def trial(tables: Tables, task: Task, *, rng: np.random.Generator, deep: bool = False) -> Trial:
    """Train on released rows, train on real rows, predict the holdout.

    Encodings are learnt from the table trained on, as a receiver of it would.
    """
    rows = np.flatnonzero(~np.isnan(task.y["holdout"]))
    holdout = tables.holdout.iloc[rows]
    scores: dict[tuple[str, str], Floats] = {}
    notes, prevalence, trained = dict[str, str](), dict[str, float](), dict[str, int]()
    for name in ("synthetic", "train"):
        notes[name] = task.problem(name)
        if notes[name] or not len(rows):
            continue
        known = np.flatnonzero(~np.isnan(task.y[name]))
        if len(known) > MOST_ROWS and not deep:
            known = np.sort(rng.choice(known, MOST_ROWS, replace=False))
        frame, y = getattr(tables, name).iloc[known], task.y[name][known]
        prevalence[name], trained[name] = float(y.mean()), len(y)
        for model, guess in _fitted(frame, y, holdout, task.predictors, task.binary).items():
            scores[model, name] = guess
    return Trial(task, rows, task.y["holdout"][rows], scores, prevalence, notes, trained)


def _fitted(
    frame: pd.DataFrame, y: Floats, holdout: pd.DataFrame, names: Sequence[str], binary: bool
) -> dict[str, Floats]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    design = Design.of(frame, names)
    trees = plain(frame, names), plain(holdout, names)
    linear: Any = LogisticRegression(max_iter=300) if binary else Ridge()
    boosted: Any = (HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor)(
        max_iter=TREES, random_state=0
    )
    found: dict[str, Floats] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged after 300 steps: close enough, as in the benchmark protocol
        if design.terms:
            fitted = linear.fit(design.matrix(frame), y)
            found[LINEAR if binary else LEAST_SQUARES] = _guess(fitted, design.matrix(holdout), binary)
        if trees[0].shape[1]:
            found[BOOSTED] = _guess(boosted.fit(trees[0], y), trees[1], binary)
    return found


def _guess(model: Any, matrix: Floats, binary: bool) -> Floats:
    guess = model.predict_proba(matrix)[:, 1] if binary else model.predict(matrix)
    return np.asarray(guess, dtype=np.float64)


__all__ = ["BOOSTED", "LEAST_SQUARES", "LINEAR", "Trial", "trial"]

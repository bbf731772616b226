"""Whether a model tells released rows from real ones: the propensity score's mean squared error, and a classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from math import nan, sqrt

import numpy as np
import pandas as pd

from dpsynth.evaluation.custodian.design import Design, plain, varied
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.resampling import auroc

SECTION = "utility"
MOST_ROWS, MOST_ROWS_DEEP = 10_000, 50_000
"""Of each of the two tables."""
LEAST_ROWS = 50
FOLDS, TREES = 3, 50


def distinguishing(tables: Tables, *, rng: np.random.Generator, deep: bool = False) -> Iterator[Finding]:
    """pMSE with its null expectation (Snoke et al. 2018), and how well gradient boosting tells rows apart.

    The baseline is the holdout in the place of the released rows.
    """
    most = min(MOST_ROWS_DEEP if deep else MOST_ROWS, len(tables.train))
    few = min(len(tables.synthetic), most)
    if len(tables.holdout) >= LEAST_ROWS:
        few = min(few, len(tables.holdout))
    if few < LEAST_ROWS:
        note = f"Not computed: it takes {LEAST_ROWS} rows of each table."
        yield Finding(SECTION, "pMSE, ratio to its expectation", note=note)
        return
    real = _drawn(tables.train, most, rng)
    frames = {"released": _drawn(tables.synthetic, few, rng)}
    if len(tables.holdout) >= few:
        frames["holdout"] = _drawn(tables.holdout, few, rng)
    ratios, values, spreads, terms = {}, {}, {}, {}
    areas = {}
    for name, other in frames.items():
        values[name], ratios[name], spreads[name], terms[name] = _pmse(real, other, tables.schema.names)
        areas[name] = _area(real, other, tables.schema.names, rng)
    ratio, baseline = ratios["released"], ratios.get("holdout", nan)
    if np.isnan(ratio):
        note = "Not computed: no column varies, or the propensity model did not converge."
        yield Finding(SECTION, "pMSE, ratio to its expectation", note=note)
    else:
        apart = (few + len(real)) / len(real)
        note = (
            f"pMSE {values['released']:.5f}. Rows drawn from a model that fits these very training rows would score 1 "
            f"on average, another sample of the same population (as the holdout is) {apart:.1f}, give or take "
            f"{1.96 * apart * spreads['released']:.2f}. Logistic propensity model with {terms['released']} parameters, "
            f"{few} rows against {len(real)}."
        )
        yield Finding(SECTION, "pMSE, ratio to its expectation", "", ratio, baseline=baseline, note=note)
    note = "0.5 where released rows cannot be told from training rows, 1 where they always can; by cross-validation."
    value, baseline = areas["released"], areas.get("holdout", nan)
    half = _half(value, few, len(real))
    yield Finding(
        SECTION,
        "area under the ROC curve, released against training rows",
        "gradient boosting",
        value,
        value - half,
        value + half,
        baseline,
        note=note,
    )


def _drawn(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    if rows >= len(frame):
        return frame
    return frame.iloc[np.sort(rng.choice(len(frame), rows, replace=False))]


def _pmse(real: pd.DataFrame, other: pd.DataFrame, names: tuple[str, ...]) -> tuple[float, float, float, int]:
    """pMSE, its ratio to the null expectation, the ratio's standard deviation under the null, and terms.

    Snoke et al. (2018), equations 4 and 5: with k parameters, N rows and c the share of released ones,
    E = (k - 1) (1 - c)^2 c / N and SD = sqrt(2 (k - 1)) (1 - c)^2 c / N. That is for rows drawn from a model fitted to
    the very rows they are held against; two independent samples have both figures 1 / (1 - c) times as large.
    """
    import statsmodels.api as sm

    both = pd.concat([real, other], ignore_index=True)
    matrix = Design.of(both, names, reference=True).matrix(both)
    matrix = matrix[:, matrix.std(axis=0) > 0]
    matrix = matrix[:, varied(matrix)] if matrix.shape[1] else matrix
    k = matrix.shape[1] + 1
    if k < 2:
        return nan, nan, nan, 0
    membership = np.r_[np.zeros(len(real)), np.ones(len(other))]
    c, n = len(other) / len(both), len(both)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = sm.GLM(membership, sm.add_constant(matrix, has_constant="add"), sm.families.Binomial())
            score = np.asarray(model.fit(maxiter=25).fittedvalues)
    except (np.linalg.LinAlgError, ValueError, FloatingPointError):
        return nan, nan, nan, k
    value = float(np.mean((score - c) ** 2))
    expected = (k - 1) * (1 - c) ** 2 * c / n
    return value, value / expected, sqrt(2 / (k - 1)), k


def _area(real: pd.DataFrame, other: pd.DataFrame, names: tuple[str, ...], rng: np.random.Generator) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier

    matrix = np.vstack([plain(real, names), plain(other, names)])
    y = np.r_[np.zeros(len(real)), np.ones(len(other))]
    fold = rng.permutation(len(y)) % FOLDS
    score = np.zeros(len(y))
    for each in range(FOLDS):
        held = fold == each
        if len(np.unique(y[~held])) < 2 or not held.any():
            return nan
        model = HistGradientBoostingClassifier(max_iter=TREES, random_state=0).fit(matrix[~held], y[~held])
        score[held] = model.predict_proba(matrix[held])[:, 1]
    return auroc(y, score)


def _half(area: float, positives: int, negatives: int) -> float:
    """Half of the 95 % interval of an area under the ROC curve (Hanley and McNeil 1982)."""
    if np.isnan(area):
        return nan
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return 1.96 * sqrt(max(0.0, variance / (positives * negatives)))


__all__ = ["distinguishing"]

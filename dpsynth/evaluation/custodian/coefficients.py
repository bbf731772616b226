"""Regression coefficients from released and from real rows, and how far their intervals overlap (Karr et al. 2006)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.design import Design, varied
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.task import NAMES, Task

SECTION = "utility"
MOST_COLUMNS = 12
"""Predictors of a regression: those most associated with the target in the training rows."""
MOST_ROWS = 25_000
LEAST_ROWS = 50
LEAST_PER_TERM = 5
"""Rows of each class that must have, and lack, what an indicator says."""
WIDEST = 100.0
"""A wider interval means that nothing is estimated: numbers are standardised, indicators 0 or 1."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Coefficients with 95 % intervals, shape (terms,)."""

    values: Floats
    low: Floats
    high: Floats


def coefficients(tables: Tables, task: Task, *, rng: np.random.Generator, deep: bool = False) -> Iterator[Finding]:
    """Overlap of the intervals of a logistic or linear regression, on average and by coefficient."""
    measure = "confidence-interval overlap, mean over coefficients"
    for name in ("train", "synthetic"):
        problem = task.problem(name)
        if problem:
            yield Finding(SECTION, measure, task.title, note=f"Not computed: {problem}")
            return
    frames, targets = {}, {}
    for name in NAMES:
        known = np.flatnonzero(~np.isnan(task.y[name]))
        if len(known) > MOST_ROWS and not deep:
            known = np.sort(rng.choice(known, MOST_ROWS, replace=False))
        frames[name], targets[name] = getattr(tables, name).iloc[known], task.y[name][known]
    if not task.binary:  # in standard deviations of the training rows, as the predictors are
        center, spread = targets["train"].mean(), targets["train"].std()
        targets = {name: (each - center) / spread for name, each in targets.items()}
    yield from compared(
        frames,
        associated(frames["train"], targets["train"], task.predictors),
        lambda name, matrix: regression(matrix, targets[name], task.binary),
        targets if task.binary else {},
        task.title,
        "logistic regression" if task.binary else "linear regression",
    )


def associated(frame: pd.DataFrame, y: Floats, names: Sequence[str], most: int = MOST_COLUMNS) -> list[str]:
    """The columns with the largest correlation between any of their terms and `y`, in the table's order."""
    design = Design.of(frame, names)
    matrix, centered = design.matrix(frame), y - y.mean()
    spread = matrix.std(axis=0) * y.std() * len(y)
    scores = np.abs((matrix - matrix.mean(axis=0)).T @ centered) / np.where(spread > 0, spread, np.inf)
    best: dict[str, float] = {}
    for term, score in zip(design.terms, scores, strict=True):
        best[term.column] = max(best.get(term.column, 0.0), float(score))
    chosen = sorted(best, key=lambda name: -best[name])[:most]
    return [name for name in names if name in chosen]


def regression(matrix: Floats, y: Floats, binary: bool) -> Fit | None:
    """Coefficients of a logistic or linear regression without a penalty, None where there is no single best one."""
    import statsmodels.api as sm

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            exogenous = sm.add_constant(matrix, has_constant="add")
            model = sm.GLM(y, exogenous, sm.families.Binomial()) if binary else sm.OLS(y, exogenous)
            fitted = model.fit()
            bounds = np.asarray(fitted.conf_int())
    except (np.linalg.LinAlgError, ValueError, FloatingPointError):
        return None
    except Exception as error:  # statsmodels' own, for perfect separation
        if "Separation" in type(error).__name__:
            return None
        raise
    return fit_of(np.asarray(fitted.params)[1:], bounds[1:, 0], bounds[1:, 1])


def fit_of(values: Floats, low: Floats, high: Floats) -> Fit | None:
    """The fit, None where its figures are not finite or wider than any effect."""
    if not np.isfinite([values, low, high]).all() or float((high - low).max(initial=0.0)) > WIDEST:
        return None
    return Fit(values, low, high)


def overlaps(one: Fit, other: Fit) -> Floats:
    """Karr et al. (2006): the common part of two intervals, as a mean of its shares of both; 0 where there is none."""
    common = np.minimum(one.high, other.high) - np.maximum(one.low, other.low)
    shares = 0.5 * (common / (one.high - one.low) + common / (other.high - other.low))
    return np.maximum(0.0, shares)


def compared(
    frames: Mapping[str, pd.DataFrame],
    names: Sequence[str],
    fit: Callable[[str, Floats], Fit | None],
    marks: Mapping[str, Floats],
    title: str,
    model: str,
) -> Iterator[Finding]:
    """The same model on released and on training rows, coefficient by coefficient; the holdout's beside.

    Args:
        frames: the three tables, rows without a target left out.
        names: predictors.
        fit: a table's name and its matrix to coefficients.
        marks: by table 1.0 and 0.0 for the classes of its rows, none where they have none.
        title: what is predicted.
        model: what predicts it.
    """
    measure = "confidence-interval overlap, mean over coefficients"
    subject = f"{title}: {model}"
    design = Design.of(frames["train"], names, reference=True)
    matrices = {name: design.matrix(frame) for name, frame in frames.items()}
    compare = {name: (matrices[name], marks.get(name)) for name in NAMES if len(frames[name]) > LEAST_ROWS}
    both = "train" in compare and "synthetic" in compare
    kept = usable(design, list(compare.values())) if both else np.zeros(len(design.terms), dtype=bool)
    if not kept.any():
        yield Finding(
            SECTION,
            measure,
            subject,
            note="Not computed: no predictor varies enough in all tables.",
        )
        return
    real, ours = (fit(name, matrices[name][:, kept]) for name in ("train", "synthetic"))
    if real is None or ours is None:
        which = "training rows" if real is None else "released rows"
        note = f"Not computed: on the {which} the {model} has no single best fit (some rows are told apart perfectly)."
        yield Finding(SECTION, measure, subject, note=note)
        return
    held = fit("holdout", matrices["holdout"][:, kept]) if "holdout" in compare else None
    shares = overlaps(ours, real)
    baseline = float(overlaps(held, real).mean()) if held else nan
    note = f"1 where all intervals agree, 0 where none overlaps. {int(kept.sum())} coefficients, {len(names)} columns."
    left_out = len(design.terms) - int(kept.sum())
    note += f" {left_out} terms that hardly vary in one of the tables are left out." if left_out else ""
    yield Finding(SECTION, measure, subject, float(shares.mean()), baseline=baseline, note=note)
    inside = (ours.low <= real.values) & (real.values <= ours.high)
    covered = float(((held.low <= real.values) & (real.values <= held.high)).mean()) if held else nan
    note = "Share of real coefficients that lie in the interval from released rows."
    yield Finding(SECTION, "coefficients covered", subject, float(inside.mean()), baseline=covered, note=note)
    terms = [term for term, each in zip(design.terms, kept, strict=True) if each]
    for at, term in enumerate(terms):
        note = f"Real: {real.values[at]:.3g} ({real.low[at]:.3g} to {real.high[at]:.3g}). Overlap {shares[at]:.2f}."
        yield Finding(
            SECTION,
            f"coefficient, {model}",
            f"{title}: {term.label}",
            float(ours.values[at]),
            float(ours.low[at]),
            float(ours.high[at]),
            float(real.values[at]),
            note=note,
        )


def usable(design: Design, tables: Sequence[tuple[Floats, Floats | None]]) -> NDArray[np.bool_]:
    """Terms that vary in each matrix; indicators that hold and fail for a few rows of each class, so that none tells
    the classes apart by itself.

    Args:
        design: what the matrices' columns are.
        tables: for each a matrix, and 1.0 and 0.0 for the classes of its rows, None where they have none.
    """
    kept = np.ones(len(design.terms), dtype=bool)
    indicator = np.array([term.level is not None for term in design.terms], dtype=bool)
    for matrix, mark in tables:
        classes = [np.ones(len(matrix))] if mark is None else [mark, 1 - mark]
        for rows in classes:
            ones = rows @ matrix
            kept &= ~indicator | ((ones >= LEAST_PER_TERM) & (rows.sum() - ones >= LEAST_PER_TERM))
    kept[kept] = varied(*(matrix[:, kept] for matrix, _ in tables))
    return kept


__all__ = ["Fit", "associated", "coefficients", "compared", "fit_of", "overlaps", "regression", "usable"]

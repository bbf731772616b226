"""Survival: Kaplan-Meier curves, Cox models and their concordance, from released and from real rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import as_numbers
from dpsynth.evaluation.custodian.coefficients import Fit, associated, compared, fit_of, usable
from dpsynth.evaluation.custodian.design import Design
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.resampling import interval, weights
from dpsynth.evaluation.custodian.task import NAMES

SECTION = "utility"
MOST_ROWS = 8_000
"""Rows of a Cox model at most, unless `deep`."""
MOST_TRIED = 2_000
"""Holdout rows that concordance is computed on: all their pairs are compared."""
MOST_COLUMNS = 8
LEAST_EVENTS = 20
POINTS = 200
REPLICATES = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Follow:
    """Follow-up of the rows for which it is known.

    Attributes:
        rows: which they are.
        time, event: how long, and whether it ended with the event (1.0) or was censored (0.0).
    """

    rows: NDArray[np.int64]
    time: Floats
    event: Floats


def survival(
    tables: Tables,
    *,
    rng: np.random.Generator,
    deep: bool = False,
    target: str | None = None,
    time: str,
    event: str,
) -> list[Finding]:
    """Divergence of Kaplan-Meier curves, concordance and log hazard ratios with the overlap of their intervals.

    Args:
        tables, rng, deep, target: as for every section.
        time: a column of numbers.
        event: a flag, or a listed column of two levels whose second is the event.
    """
    del target
    title = f"{event} by {time}"
    followed = _followed(tables, time, event)
    if isinstance(followed, str):
        return [Finding(SECTION, "Kaplan-Meier divergence", title, note=f"Not computed: {followed}")]
    found = list(_curves(tables, followed, title, rng))
    for name in ("train", "synthetic"):
        if followed[name].event.sum() < LEAST_EVENTS:
            what = "training" if name == "train" else "released"
            note = f"Not computed: the {what} rows have fewer than {LEAST_EVENTS} events."
            return [*found, Finding(SECTION, "concordance index", title, note=note)]
    predictors = [name for name in tables.schema.names if name not in (time, event)]
    return found + list(_cox(tables, followed, predictors, title, rng, deep))


def kaplan_meier(time: Floats, event: Floats, weight: Floats, at: Floats) -> Floats:
    """The product-limit estimate of surviving beyond each point of `at` (Kaplan and Meier 1958), shape (points,).

    By rising time; `weight` counts how often each row stands for a unit drawn.
    """
    left = weight.sum() - np.r_[0.0, np.cumsum(weight)[:-1]]
    starts = np.flatnonzero(np.r_[True, time[1:] != time[:-1]])
    deaths = np.add.reduceat(weight * event, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(left[starts] > 0, 1 - deaths / left[starts], 1.0)
    curve = np.r_[1.0, np.cumprod(np.clip(factors, 0.0, 1.0))]
    return np.asarray(curve[np.searchsorted(time[starts], at, side="right")])


def concordance(time: Floats, event: Floats, risk: Floats) -> float:
    """Harrell's C (1982): of pairs whose earlier time is an event, how often the earlier has the higher risk."""
    first = (time[:, None] < time[None, :]) & (event[:, None] > 0)
    pairs = int(first.sum())
    if not pairs:
        return nan
    higher, same = risk[:, None] > risk[None, :], risk[:, None] == risk[None, :]
    return float(((first & higher).sum() + (first & same).sum() / 2) / pairs)


def _followed(tables: Tables, time: str, event: str) -> dict[str, Follow] | str:
    for name in (time, event):
        if name not in tables.schema.names:
            return f"The schema has no column {name!r}."
    if isinstance(tables.train[time].dtype, pd.CategoricalDtype):
        return f"The column {time!r} holds no numbers; --time takes a number of days or the like."
    kind = tables.train[event].dtype
    if not isinstance(kind, pd.CategoricalDtype) or len(kind.categories) != 2:
        return f"The column {event!r} is no flag; --event takes one of two levels, the second being the event."
    found = {}
    for name in NAMES:
        frame = getattr(tables, name)
        t, e = as_numbers(frame[time]), as_numbers(frame[event])
        rows = np.flatnonzero(~np.isnan(t) & ~np.isnan(e) & (t >= 0))
        if not len(rows):
            what = {"synthetic": "released rows", "train": "training rows", "holdout": "holdout"}[name]
            return f"No follow-up is known in the {what}."
        found[name] = Follow(rows, t[rows], e[rows])
    return found


def _curves(tables: Tables, followed: dict[str, Follow], title: str, rng: np.random.Generator) -> Iterator[Finding]:
    end = float(np.quantile(followed["train"].time, 0.95))
    measure = "Kaplan-Meier divergence"
    if not end > 0:
        yield Finding(SECTION, measure, title, note="Not computed: nobody is followed beyond time zero.")
        return
    at = np.linspace(0, end, POINTS)
    ordered = {}
    for name, each in followed.items():
        order = np.argsort(each.time, kind="stable")
        ordered[name] = (each.time[order], each.event[order], order)
    curves = {n: kaplan_meier(t, e, np.ones(len(t)), at) for n, (t, e, _) in ordered.items()}
    gaps = {name: float(np.abs(curves[name] - curves["train"]).mean()) for name in ("synthetic", "holdout")}
    t, e, order = ordered["train"]
    units = tables.units["train"][followed["train"].rows]
    replicates = []
    for weight in weights(units, rng, REPLICATES):
        drawn = kaplan_meier(t, e, weight[order], at)
        replicates.append(float(np.abs(curves["synthetic"] - drawn).mean()))
    low, high = interval(replicates)
    note = f"Mean distance of the two curves up to {end:.6g}, where 95 % of the training rows have ended."
    yield Finding(SECTION, measure, title, gaps["synthetic"], low, high, gaps["holdout"], note=note)
    for i in (POINTS // 4, POINTS // 2, POINTS - 1):
        ours, real, held = (float(curves[name][i]) for name in NAMES)
        note = f"{real:.3f} in training rows, {held:.3f} in the holdout."
        yield Finding(SECTION, "survival, share", f"{title}: beyond {at[i]:.6g}", ours, baseline=real, note=note)


def _cox(
    tables: Tables,
    followed: dict[str, Follow],
    predictors: list[str],
    title: str,
    rng: np.random.Generator,
    deep: bool,
) -> Iterator[Finding]:
    frames, follow = {}, {}
    for name, each in followed.items():
        chosen = np.arange(len(each.rows))
        if len(chosen) > MOST_ROWS and not deep:
            chosen = np.sort(rng.choice(len(chosen), MOST_ROWS, replace=False))
        frames[name] = getattr(tables, name).iloc[each.rows[chosen]]
        follow[name] = Follow(each.rows[chosen], each.time[chosen], each.event[chosen])
    own = follow["train"]
    rank = np.argsort(np.argsort(own.time, kind="stable"), kind="stable") / len(own.time)
    names = associated(frames["train"], own.event - rank, predictors, MOST_COLUMNS)
    yield from _tried(frames, follow, names, title, rng)
    yield from compared(
        frames,
        names,
        lambda name, matrix: _proportional(matrix, follow[name]),
        {name: each.event for name, each in follow.items()},
        title,
        "Cox log hazard ratios",
    )


def _tried(
    frames: dict[str, pd.DataFrame], follow: dict[str, Follow], names: list[str], title: str, rng: np.random.Generator
) -> Iterator[Finding]:
    """Concordance on the holdout, each model with an encoding of its own."""
    held = follow["holdout"]
    chosen = np.sort(rng.choice(len(held.time), min(MOST_TRIED, len(held.time)), replace=False))
    time, event = held.time[chosen], held.event[chosen]
    risks = {}
    for name in ("synthetic", "train"):
        design = Design.of(frames[name], names, reference=True)
        matrix = design.matrix(frames[name])
        kept = usable(design, [(matrix, follow[name].event)])
        fitted = _proportional(matrix[:, kept], follow[name]) if kept.any() else None
        if fitted is not None:
            risks[name] = design.matrix(frames["holdout"].iloc[chosen])[:, kept] @ fitted.values
    values = {name: concordance(time, event, risk) for name, risk in risks.items()}
    if not values or np.isnan(list(values.values())).all():
        note = "Not computed: no Cox model could be fitted, or no two rows of the holdout can be compared."
        yield Finding(SECTION, "concordance index", title, note=note)
        return
    low, high = nan, nan
    if "synthetic" in risks:
        replicates = []
        for _ in range(REPLICATES // 2):
            at = rng.integers(0, len(time), min(len(time), 500))
            replicates.append(concordance(time[at], event[at], risks["synthetic"][at]))
        spread = float(np.nanstd(replicates)) * np.sqrt(min(len(time), 500) / len(time))
        low, high = (values["synthetic"] + d * spread for d in (-1.96, 1.96))
    note = f"Cox models on {len(names)} columns, tried on {len(time)} rows of the holdout; the baseline's is from real."
    value, baseline = (values.get(name, nan) for name in ("synthetic", "train"))
    yield Finding(SECTION, "concordance index", title, value, low, high, baseline, note=note)


def _proportional(matrix: Floats, follow: Follow) -> Fit | None:
    """Cox's proportional hazards by Efron's method for ties, None where it has no single best fit."""
    from statsmodels.duration.hazard_regression import PHReg

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            fitted = PHReg(follow.time, matrix, status=follow.event, ties="efron").fit(disp=0)
            bounds = np.asarray(fitted.conf_int())
    except (np.linalg.LinAlgError, ValueError, FloatingPointError):
        return None
    return fit_of(np.asarray(fitted.params), bounds[:, 0], bounds[:, 1])


__all__ = ["concordance", "kaplan_meier", "survival"]

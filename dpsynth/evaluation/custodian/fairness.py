"""Fairness: what a model trained on released rows does to groups of people, beside one trained on real rows.

A release blurs small groups most, so a model learnt from it may treat them worse than one learnt from real rows would:
the difference of the two is what the release adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import as_numbers
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.learners import Trial, trial
from dpsynth.evaluation.custodian.resampling import interval, sorted_auroc, weights
from dpsynth.evaluation.custodian.task import task_of

SECTION = "fairness"
LEAST_ROWS = 50
LEAST_OF_CLASS = 10
"""Holdout rows that a group must have, of each class and altogether, to be judged."""
REPLICATES = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The strata of the holdout rows whose target is known.

    Attributes:
        code: of each row, -1 where it is in none that is judged.
        labels: by code.
        left_out: strata too small to be judged.
    """

    code: NDArray[np.int64]
    labels: tuple[str, ...]
    left_out: tuple[str, ...]


def fairness(
    tables: Tables,
    *,
    rng: np.random.Generator,
    deep: bool = False,
    target: str | None = None,
    sensitive: str | None = None,
    tried: Trial | None = None,
) -> list[Finding]:
    """Demographic parity, equalised odds and the worst stratum's gap, for the strata of a sensitive column.

    Args:
        tables, rng, deep, target: as for every section.
        sensitive: the column that says who is in which group; numbers are cut into thirds.
        tried: models trained before, for the same target.
    """

    def none(note: str) -> list[Finding]:
        return [Finding(SECTION, "demographic parity difference", sensitive or "", note=f"Not computed: {note}")]

    if sensitive is None or target is None:
        return none("it takes a target (--target) and a sensitive column (--sensitive).")
    if sensitive not in tables.schema.names:
        return none(f"The schema has no column {sensitive!r}.")
    task = task_of(tables, target)
    if isinstance(task, str):
        return none(task)
    if not task.binary:
        return none("the target is a number; name a level of a listed column.")
    if sensitive == task.column:
        return none("the sensitive column is the target itself.")
    problem = task.problem("holdout")
    if problem:
        return none(problem)
    tried = tried or trial(tables, task, rng=rng, deep=deep)
    groups = _groups(tables, tried, sensitive)
    if len(groups.labels) < 2:
        small = f" Too small: {', '.join(groups.left_out[:8])}." if groups.left_out else ""
        return none(f"fewer than two strata of {sensitive!r} have enough rows of each class in the holdout.{small}")
    notes = [f"Models from {'released' if n == 'synthetic' else 'real'} rows: {t}" for n, t in tried.notes.items() if t]
    found = [Finding(SECTION, "strata judged", sensitive, float(len(groups.labels)), note=_who(groups))]
    found += [Finding(SECTION, "demographic parity difference", sensitive, note=note) for note in notes]
    draws = list(weights(tables.units["holdout"][tried.rows], rng, REPLICATES))
    for model in tried.models:
        found += _judged(tried, groups, model, sensitive, draws)
    return found


def _groups(tables: Tables, tried: Trial, sensitive: str) -> Groups:
    cells = tables.holdout[sensitive].iloc[tried.rows]
    if isinstance(cells.dtype, pd.CategoricalDtype):
        codes, labels = cells.cat.codes.to_numpy().astype(np.int64), [str(each) for each in cells.cat.categories]
    else:
        values = as_numbers(cells)
        known = as_numbers(tables.train[sensitive])
        edges = np.unique(np.nanquantile(known, [1 / 3, 2 / 3])) if (~np.isnan(known)).any() else np.zeros(0)
        codes = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        ends = ["", *(f"{edge:.6g}" for edge in edges), ""]
        labels = [f"{low or '…'} to {high or '…'}" for low, high in pairwise(ends)]
    kept, left_out = [], []
    for code, label in enumerate(labels):
        y = tried.y[codes == code]
        enough = len(y) >= LEAST_ROWS and LEAST_OF_CLASS <= y.sum() <= len(y) - LEAST_OF_CLASS
        if enough:
            kept.append(code)
        elif len(y):
            left_out.append(label)
    map_ = np.full(len(labels) + 1, -1)
    map_[kept] = np.arange(len(kept))
    return Groups(map_[codes], tuple(labels[code] for code in kept), tuple(left_out))


def _who(groups: Groups) -> str:
    note = f"Strata: {', '.join(groups.labels[:20])}."
    return f"{note} Left out as too small: {', '.join(groups.left_out[:20])}." if groups.left_out else note


def _judged(tried: Trial, groups: Groups, model: str, sensitive: str, draws: list[Floats]) -> Iterator[Finding]:
    measured = {}
    for name in ("synthetic", "train"):
        score = tried.scores.get((model, name))
        if score is not None:
            # As many are told positive as the table trained on has: a fixed 0.5 would find no rare class at all.
            cut = float(np.quantile(score, 1 - tried.prevalence[name]))
            said = (score > cut) | ((score == cut) & (cut > 0.5))
            measured[name] = [_gaps(tried.y, said, score, groups, w) for w in (np.ones(len(tried.y)), *draws)]
    subject = f"{sensitive}: {model}"
    for measure, note in MEASURES.items():
        values = {name: each[0][measure] for name, each in measured.items()}
        if "synthetic" in values:
            low, high = interval([each[measure] for each in measured["synthetic"][1:]])
            value, baseline = values["synthetic"], values.get("train", nan)
            yield Finding(SECTION, measure, subject, value, low, high, baseline, note=note)
        elif "train" in values:
            yield Finding(SECTION, measure, subject, baseline=values["train"], note="From real rows alone.")
        if len(values) == 2:
            pairs = zip(measured["synthetic"][1:], measured["train"][1:], strict=True)
            low, high = interval([ours[measure] - real[measure] for ours, real in pairs])
            gap = values["synthetic"] - values["train"]
            more = "The release amplifies it." if low > 0 else "The release lessens it." if high < 0 else ""
            yield Finding(
                SECTION, f"{measure}, added by the release", subject, gap, low, high, 0.0, note=more or "Within chance."
            )


MEASURES = {
    "demographic parity difference": "Largest difference between strata in the share told positive.",
    "equalised odds difference": "Largest difference between strata in true- or in false-positive rates.",
    "worst-stratum gap": "Area under the ROC curve of all rows less that of the worst stratum.",
}


def _gaps(y: Floats, said: NDArray[np.bool_], score: Floats, groups: Groups, weight: Floats) -> Mapping[str, float]:
    """The three measures; NaN where a stratum lacks a class."""
    rates, true, false, areas = [], [], [], []
    order = np.argsort(score, kind="stable")
    y, said, score, weight, code = y[order], said[order], score[order], weight[order], groups.code[order]
    for at in range(len(groups.labels)):
        mine = code == at
        w, p, s = weight[mine], y[mine] > 0, said[mine]
        with np.errstate(invalid="ignore", divide="ignore"):
            rates.append(float(np.divide(w[s].sum(), w.sum())))
            true.append(float(np.divide(w[s & p].sum(), w[p].sum())))
            false.append(float(np.divide(w[s & ~p].sum(), w[~p].sum())))
        areas.append(sorted_auroc(y[mine], score[mine], w))
    spread = [max(each) - min(each) if not np.isnan(each).any() else nan for each in (rates, true, false)]
    whole = sorted_auroc(y, score, weight)
    return {
        "demographic parity difference": spread[0],
        "equalised odds difference": max(spread[1:]) if not np.isnan(spread[1:]).any() else nan,
        "worst-stratum gap": whole - min(areas) if not np.isnan(areas).any() else nan,
    }


__all__ = ["fairness"]

"""Utility: what models learnt from released rows are worth on real rows they never saw, beside those learnt from real.

Esteban et al. (2017) call the two *train on synthetic, test on real* (TSTR) and *train on real, test on real* (TRTR).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np

from dpsynth.evaluation.custodian.coefficients import coefficients
from dpsynth.evaluation.custodian.distinguishing import distinguishing
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.learners import Trial, trial
from dpsynth.evaluation.custodian.resampling import interval, r_squared, sorted_auroc, weights
from dpsynth.evaluation.custodian.task import task_of

SECTION = "utility"


def utility(
    tables: Tables,
    *,
    rng: np.random.Generator,
    deep: bool = False,
    target: str | None = None,
    tried: Trial | None = None,
) -> list[Finding]:
    """pMSE of all columns; for a target also TSTR beside TRTR, and coefficients with overlapping intervals.

    Args:
        tables, rng, deep, target: as for every section.
        tried: models trained before, for the same target.
    """
    found = list(distinguishing(tables, rng=rng, deep=deep))
    if target is None:
        note = "Not computed: no target was named (--target COLUMN, or COLUMN=LEVEL)."
        return [*found, Finding(SECTION, "train on synthetic, test on real", note=note)]
    task = task_of(tables, target)
    if isinstance(task, str):
        return [*found, Finding(SECTION, "train on synthetic, test on real", target, note=f"Not computed: {task}")]
    found += _scores(tables, tried or trial(tables, task, rng=rng, deep=deep), rng)
    found += coefficients(tables, task, rng=rng, deep=deep)
    return found


def _scores(tables: Tables, tried: Trial, rng: np.random.Generator) -> Iterator[Finding]:
    task = tried.task
    problem = task.problem("holdout")
    if problem:
        yield Finding(SECTION, "train on synthetic, test on real", task.title, note=f"Not computed: {problem}")
        return
    for name, note in tried.notes.items():
        if note:
            what = "synthetic" if name == "synthetic" else "real"
            yield Finding(SECTION, f"train on {what}, test on real", task.title, note=f"Not computed: {note}")
    units = tables.units["holdout"][tried.rows]
    draws = list(weights(units, rng))
    measure = "area under the ROC curve" if task.binary else "R squared"
    rows = f"{tried.trained.get('synthetic', 0)} released and {tried.trained.get('train', 0)} real rows"
    for model in tried.models:
        values: dict[str, float] = {}
        replicates: dict[str, list[float]] = {}
        for name in ("synthetic", "train"):
            score = tried.scores.get((model, name))
            if score is None:
                continue
            if task.binary:
                order = np.argsort(score, kind="stable")
                y, ordered = tried.y[order], score[order]
                values[name] = sorted_auroc(y, ordered, np.ones(len(y)))
                replicates[name] = [sorted_auroc(y, ordered, w[order]) for w in draws]
            else:
                values[name] = r_squared(tried.y, score)
                replicates[name] = [r_squared(tried.y, score, w) for w in draws]
        subject = f"{task.title}: {model}"
        if "synthetic" in values:
            low, high = interval(replicates["synthetic"])
            note = f"Trained on {rows}, tried on {len(tried.y)} rows of the holdout; the baseline is trained on real."
            value, baseline = values["synthetic"], values.get("train", nan)
            yield Finding(SECTION, measure, subject, value, low, high, baseline, note=note)
        elif "train" in values:
            note = "Real rows alone could be trained on."
            yield Finding(SECTION, measure, subject, baseline=values["train"], note=note)
        if len(values) == 2:
            gaps = np.subtract(replicates["synthetic"], replicates["train"])
            low, high = interval(gaps)
            note = "Released less real; below zero, something was lost."
            gap = values["synthetic"] - values["train"]
            yield Finding(SECTION, f"{measure}, difference to real rows", subject, gap, low, high, 0.0, note=note)
        if task.binary and values:
            briers = {n: float(np.mean((tried.scores[model, n] - tried.y) ** 2)) for n in values}
            value, baseline = briers.get("synthetic", nan), briers.get("train", nan)
            yield Finding(SECTION, "Brier score", subject, value, baseline=baseline, note="Lower is better.")


__all__ = ["utility"]

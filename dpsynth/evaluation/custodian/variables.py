"""Each variable by itself: what diverges by more than 5 % is flagged; ranges; missingness."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import as_numbers
from dpsynth.evaluation.custodian.finding import Finding, Tables

FLAG = 0.05
"""Divergence from which a variable is flagged, as a share."""
FLAGGED = "FLAGGED"

Floats = NDArray[np.float64]


def variable(name: str, tables: Tables) -> Iterator[Finding]:
    """The figures of one variable."""
    ours, real, held = (frame[name] for frame in (tables.synthetic, tables.train, tables.holdout))
    yield from _missing(name, ours, real, held)
    if real.isna().all() or ours.isna().all():
        which = "training rows" if real.isna().all() else "released rows"
        yield _unknown(name, f"Not computed: the column is empty in all {which}.")
    elif isinstance(real.dtype, pd.CategoricalDtype):
        yield from _listed(name, ours, real, held)
    else:
        a, b, c = (each[~np.isnan(each)] for each in map(as_numbers, (ours, real, held)))
        yield from _measured(name, a, b, c)
        yield from _range(name, a, b, c)


def _unknown(name: str, note: str) -> Finding:
    return Finding("fidelity", "divergence of a variable", name, note=note)


def _divergence(measure: str, name: str, value: float, half: float, baseline: float, note: str) -> Finding:
    if abs(value) > FLAG:
        note += f" {FLAGGED}: it differs by more than {FLAG:.0%}."
        note += " So does the holdout." if abs(baseline) > FLAG else ""
    return Finding("fidelity", measure, name, value, value - half, value + half, baseline, note=note)


def _missing(name: str, ours: pd.Series[Any], real: pd.Series[Any], held: pd.Series[Any]) -> Iterator[Finding]:
    a, b, c = (float(each.isna().mean()) if len(each) else nan for each in (ours, real, held))
    if a == b == 0 and not c > 0:
        return
    half = 1.96 * sqrt(a * (1 - a) / len(ours) + b * (1 - b) / len(real))
    note = f"Empty or not in the codebook: {a:.1%} of released rows, {b:.1%} of training rows."
    yield _divergence("missingness, difference in share", name, a - b, half, c - b, note)


def _listed(name: str, ours: pd.Series[Any], real: pd.Series[Any], held: pd.Series[Any]) -> Iterator[Finding]:
    labels = list(real.cat.categories)
    counts = [np.bincount(each.cat.codes[each.notna()], minlength=len(labels)) for each in (ours, real, held)]
    sizes = [int(each.sum()) for each in counts]
    a, b, c = (each / size if size else np.full(len(labels), nan) for each, size in zip(counts, sizes, strict=True))
    at = int(np.argmax(np.abs(a - b)))
    half = 1.96 * sqrt(a[at] * (1 - a[at]) / sizes[0] + b[at] * (1 - b[at]) / sizes[1])
    note = f"Largest for {labels[at]!r}: {a[at]:.1%} of released rows, {b[at]:.1%} of training rows."
    measure = "share of a level, largest difference"
    yield _divergence(measure, name, float(a[at] - b[at]), half, float(c[at] - b[at]), note)
    if (counts[1] > 0).sum() == 1:
        yield _unknown(name, "The column is constant in the training rows.")
    lacking = np.flatnonzero((counts[0] > 0) & (counts[2] == 0))
    if len(lacking) and sizes[2]:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        note = f"Released levels that the holdout lacks: {', '.join(repr(labels[i]) for i in lacking[:5])}{more}."
        unseen = sum(1 for i in lacking if not counts[1][i])
        note += f" {unseen} of them are not in the training rows either." if unseen else ""
        share = float(a[lacking].sum())
        yield Finding("fidelity", "levels the holdout lacks, share of released rows", name, share, note=note)


def _measured(name: str, ours: Floats, real: Floats, held: Floats) -> Iterator[Finding]:
    spread, center = float(real.std()), float(real.mean())
    if spread == 0:
        yield _unknown(name, "The column is constant in the training rows.")
    centered = abs(center) <= spread / 10
    scale, of = (spread, "of the standard deviation") if centered else (abs(center), "of the mean")
    for measure, statistic in (("mean", np.mean), ("median", np.median), ("standard deviation", np.std)):
        a, b, c = (float(statistic(each)) if len(each) else nan for each in (ours, real, held))
        unit, share = (spread, "of itself") if measure == "standard deviation" else (scale, of)
        unit, half = unit or 1.0, nan
        if measure == "mean":
            half = 1.96 * sqrt(float(ours.var()) / len(ours) + float(real.var()) / len(real)) / unit
        note = f"{a:.4g} in released rows, {b:.4g} in training rows; as a share {share}."
        yield _divergence(f"{measure}, relative difference", name, (a - b) / unit, half, (c - b) / unit, note)


def _range(name: str, ours: Floats, real: Floats, held: Floats) -> Iterator[Finding]:
    low, high = float(real.min()), float(real.max())
    a, c = (float(((each < low) | (each > high)).mean()) if len(each) else nan for each in (ours, held))
    note = f"Training rows lie between {low:.6g} and {high:.6g}, released ones between "
    note += f"{ours.min():.6g} and {ours.max():.6g}."
    yield Finding("fidelity", "outside the range of the training rows, share", name, a, baseline=c, note=note)
    if high > low:
        a, c = (_covered(each, low, high) for each in (ours, held))
        yield Finding("fidelity", "range of the training rows covered, share", name, a, baseline=c)


def _covered(values: Floats, low: float, high: float) -> float:
    if not len(values):
        return nan
    return max(0.0, float(min(high, values.max()) - max(low, values.min())) / (high - low))


__all__ = ["FLAG", "FLAGGED", "variable"]

"""Correlations between columns: Pearson, Spearman, and Cramér's V of listed ones, released beside real."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import Cells, as_numbers
from dpsynth.evaluation.custodian.finding import Finding, Tables

SECTION = "fidelity"
SHOWN = 10
LEAST_PAIRS = 30
"""Rows with both cells from which a correlation is computed."""


def associations(tables: Tables, few: Cells, train: Cells, held: Cells) -> list[Finding]:
    """Mean and worst differences of the associations of all pairs.

    Args:
        tables: for numbers and ordered values.
        few, train, held: released, training and holdout rows in cells, for listed ones.
    """
    ordered = [c.name for c in tables.schema.columns if c.ordered or c.type == "boolean"]
    listed = [c.name for c in tables.schema.columns if isinstance(tables.train[c.name].dtype, pd.CategoricalDtype)]
    frames = (tables.synthetic, tables.train, tables.holdout)
    values = [pd.DataFrame({name: as_numbers(frame[name]) for name in ordered}) for frame in frames]
    found: list[Finding] = []
    if len(ordered) > 1:
        found += _matrices("Pearson correlation", ordered, [_pearson(each) for each in values])
        found += _matrices("Spearman correlation", ordered, [_pearson(each.rank()) for each in values])
    if len(listed) > 1:
        matrices = [_cramer(cells, listed) for cells in (few, train, held)]
        found += _matrices("Cramér's V", listed, matrices)
    return found


def _pearson(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Over rows with both cells; of ranks, which are those among all non-empty cells of a column, it is Spearman's."""
    return np.array(frame.corr(min_periods=LEAST_PAIRS), dtype=np.float64)


def _cramer(cells: Cells, names: list[str]) -> NDArray[np.float64]:
    """Cramér's V with Bergsma's (2013) correction for bias, the empty cell a level like others."""
    matrix = np.full((len(names), len(names)), nan)
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        if cells.rows < LEAST_PAIRS:
            continue
        joint = cells.counts((a, b)).reshape(cells.sizes[a], cells.sizes[b])
        rows, columns = joint.sum(axis=1), joint.sum(axis=0)
        joint = joint[rows > 0][:, columns > 0]
        r, c = joint.shape
        if min(r, c) < 2:
            continue
        expected = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        phi = float(((joint - expected) ** 2 / expected).sum())
        n = cells.rows - 1
        corrected = max(0.0, phi - (r - 1) * (c - 1) / n)
        least = min(r - (r - 1) ** 2 / n, c - (c - 1) ** 2 / n) - 1
        matrix[i, j] = np.sqrt(corrected / least) if least > 0 else nan
    return matrix


def _matrices(measure: str, names: list[str], matrices: list[NDArray[np.float64]]) -> Iterator[Finding]:
    ours, real, held = matrices
    pairs = [(i, j) for i, j in combinations(range(len(names)), 2) if not np.isnan(ours[i, j] - real[i, j])]
    undefined = len(names) * (len(names) - 1) // 2 - len(pairs)
    if not pairs:
        yield Finding(
            SECTION, f"{measure}, mean absolute difference", note="Not computed: no pair varies in both tables."
        )
        return
    gap = np.array([ours[i, j] - real[i, j] for i, j in pairs])
    own = np.array([held[i, j] - real[i, j] for i, j in pairs])
    baseline = float(np.nanmean(np.abs(own))) if not np.isnan(own).all() else nan
    note = f"Over {len(pairs)} pairs."
    if undefined:
        note += f" {undefined} more are undefined, since a column is constant or hardly filled in one of the tables."
    yield Finding(
        SECTION, f"{measure}, mean absolute difference", "", float(np.abs(gap).mean()), baseline=baseline, note=note
    )
    for at in np.argsort(-np.abs(gap), kind="stable")[:SHOWN]:
        i, j = pairs[at]
        yield Finding(
            SECTION,
            f"{measure}, difference",
            f"{names[i]} × {names[j]}",
            float(gap[at]),
            baseline=float(own[at]),
            note=f"{ours[i, j]:.3f} in released rows, {real[i, j]:.3f} in training rows.",
        )


__all__ = ["associations"]

"""Columns as a few cells each, for counting: bins of numbers follow the quantiles of the real training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.finding import Tables

MOST_BINS = 10
MOST_LEVELS = 50
"""Cells of one column at most; of more levels, the most frequent ones are kept and the rest shares one."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """One table in cells.

    Attributes:
        codes: by column, shape (rows,). The last cell of a column is that of empty and unreadable values.
        sizes: number of cells by column, the same for all tables.
        rows: number of rows.
    """

    codes: Mapping[str, Integers]
    sizes: Mapping[str, int]
    rows: int

    def counts(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """Shares of the joint cells of some columns, flat; NaN where there is no row."""
        joint, size = np.zeros(self.rows, dtype=np.int64), 1
        for name in columns:
            joint = joint * self.sizes[name] + self.codes[name]
            size *= self.sizes[name]
        return np.bincount(joint, minlength=size) / self.rows if self.rows else np.full(size, np.nan)

    def drawn(self, rows: int, rng: np.random.Generator) -> Cells:
        """That many of the rows, or all."""
        if rows >= self.rows:
            return self
        kept = np.sort(rng.choice(self.rows, rows, replace=False))
        return Cells({name: codes[kept] for name, codes in self.codes.items()}, self.sizes, rows)


def in_cells(tables: Tables) -> tuple[Cells, Cells, Cells]:
    """The released rows, train and holdout in the same cells."""
    frames = (tables.synthetic, tables.train, tables.holdout)
    codes: list[dict[str, Integers]] = [{}, {}, {}]
    sizes = {}
    for name in tables.schema.names:
        series = [frame[name] for frame in frames]
        coded, sizes[name] = _levels(series) if isinstance(series[1].dtype, pd.CategoricalDtype) else _bins(series)
        for each, own in zip(codes, coded, strict=True):
            each[name] = own
    synthetic, train, holdout = (Cells(c, sizes, len(f)) for c, f in zip(codes, frames, strict=True))
    return synthetic, train, holdout


def as_numbers(series: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers as they are, moments in days since 1970, listed values by their place; NaN where empty."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy().astype(np.float64)
        return np.where(codes < 0, np.nan, codes)
    if series.dtype.kind == "M":
        moments = series.to_numpy()
        days = moments.astype("datetime64[s]").astype(np.int64) / 86400
        return np.where(np.isnat(moments), np.nan, days)
    return series.to_numpy(dtype=np.float64)


def _levels(series: Sequence[pd.Series[Any]]) -> tuple[list[Integers], int]:
    codes = [each.cat.codes.to_numpy().astype(np.int64) for each in series]
    size = len(series[1].cat.categories)
    if size > MOST_LEVELS:
        frequent = np.argsort(-np.bincount(codes[1][codes[1] >= 0], minlength=size), kind="stable")
        map_ = np.full(size, MOST_LEVELS - 1)
        map_[frequent[: MOST_LEVELS - 1]] = np.arange(MOST_LEVELS - 1)
        codes, size = [np.where(each < 0, -1, map_[each]) for each in codes], MOST_LEVELS
    return [np.where(each < 0, size, each) for each in codes], size + 1


def _bins(series: Sequence[pd.Series[Any]]) -> tuple[list[Integers], int]:
    values = [as_numbers(each) for each in series]
    known = values[1][~np.isnan(values[1])]
    distinct = np.unique(known)
    if len(distinct) <= MOST_BINS:
        inner = (distinct[1:] + distinct[:-1]) / 2
    else:
        inner = np.unique(np.quantile(known, np.linspace(0, 1, MOST_BINS + 1)[1:-1]))
    size = len(inner) + 1
    coded = [np.where(np.isnan(each), size, np.searchsorted(inner, each, side="right")) for each in values]
    return coded, size + 1


__all__ = ["Cells", "as_numbers", "in_cells"]

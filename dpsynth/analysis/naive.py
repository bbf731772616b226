"""What an analyst finds who takes the synthetic table for real: beside the honest interval, to show what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.analysis.values import Values
from dpsynth.columns import BinnedBase
from dpsynth.domain import Codes
from dpsynth.schema import Schema

Floats = NDArray[np.float64]
Found = tuple[float, float]
"""An estimate and its variance."""
_FEWEST = 2


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The synthetic rows, as values and as codes."""

    schema: Schema
    frame: pd.DataFrame
    codes: Codes

    def values(self, each: Values) -> tuple[Floats, NDArray[np.bool_]]:
        """Numbers, and which rows have one."""
        codes = np.asarray(self.codes[each.column]).astype(np.int64)
        has = each.valid[codes] > 0
        if each.question or not isinstance(self.schema.column(each.column), BinnedBase):
            return each.mean[codes], has
        numbers = pd.to_numeric(self.frame[each.column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(has, numbers, 0.0), has

    def average(self, values: Values) -> Found | None:
        """Mean and its variance."""
        y, has = self.values(values)
        return _mean(y[has])

    def difference(self, values: Values, first: Values, second: Values) -> Found | None:
        """Difference of two groups' means."""
        return _apart(*self._groups(values, first, second))

    def effect(self, values: Values, first: Values, second: Values, given: Sequence[str]) -> Found | None:
        """The same in each stratum, averaged by the strata's rows."""
        (y, has), one, two = self.values(values), *(self._inside(each) for each in (first, second))
        strata = np.unique(
            np.stack([np.asarray(self.codes[a]).astype(np.int64) for a in given]), axis=1, return_inverse=True
        )
        label = strata[1].reshape(-1)
        value = variance = rows = 0.0
        for stratum in range(int(label.max(initial=-1)) + 1):
            inside = has & (label == stratum)
            apart = _apart(y[inside & one], y[inside & two])
            if apart is not None:
                n = float((inside & (one | two)).sum())
                value, variance, rows = value + n * apart[0], variance + n * n * apart[1], rows + n
        return (value / rows, variance / rows**2) if rows else None

    def least_squares(self, outcome: Values, terms: Sequence[Values]) -> list[Found] | None:
        """Coefficients and their variances by Huber and White, the constant first."""
        (y, has), columns = self.values(outcome), []
        for term in terms:
            x, own = self.values(term)
            columns.append(x)
            has = has & own
        design = np.stack([np.ones(int(has.sum())), *(x[has] for x in columns)], axis=1)
        if len(design) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
            return None
        inverse = np.linalg.inv(design.T @ design)
        beta = inverse @ (design.T @ y[has])
        lever = design @ inverse * (y[has] - design @ beta)[:, None]
        return [*zip(beta.tolist(), np.square(lever).sum(axis=0).tolist(), strict=True)]

    def _groups(self, values: Values, first: Values, second: Values) -> tuple[Floats, Floats]:
        y, has = self.values(values)
        return y[has & self._inside(first)], y[has & self._inside(second)]

    def _inside(self, group: Values) -> NDArray[np.bool_]:
        asked, has = self.values(group)
        return np.asarray(has & (asked > 0))


def _mean(y: Floats) -> Found | None:
    return (float(y.mean()), float(y.var(ddof=1)) / len(y)) if len(y) >= _FEWEST else None


def _apart(one: Floats, two: Floats) -> Found | None:
    a, b = _mean(one), _mean(two)
    return None if a is None or b is None else (a[0] - b[0], a[1] + b[1])


__all__ = ["Rows"]

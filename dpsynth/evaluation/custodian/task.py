"""What is predicted: one column as yes or no, or as a number, in each of the three tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import as_numbers
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.evaluation.custodian.questions import named

NAMES = ("synthetic", "train", "holdout")
LEAST_SHARE = 0.01
"""Of the training rows, that a level must have to be chosen as the positive one."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A prediction task.

    Attributes:
        column: the target.
        title: the target, with its positive level.
        binary: whether it is yes or no.
        y: by table, 1.0 and 0.0 or the number, NaN where the cell is empty.
        predictors: all other columns.
    """

    column: str
    title: str
    binary: bool
    y: Mapping[str, NDArray[np.float64]]
    predictors: tuple[str, ...]

    def problem(self, name: str) -> str:
        """Why a model cannot be trained or tested on that table, in a sentence; empty where it can."""
        y = self.y[name][~np.isnan(self.y[name])]
        what = {"synthetic": "released rows", "train": "training rows", "holdout": "holdout"}[name]
        if not len(y):
            return f"The {what} hold no value of {self.title}."
        if self.binary and y.min() == y.max():
            return f"The {what} hold only one class of {self.title}, so nothing can be told apart."
        if not self.binary and np.ptp(y) == 0:
            return f"{self.title} is constant in the {what}."
        return ""


def task_of(tables: Tables, target: str) -> Task | str:
    """The task that ``COLUMN`` or ``COLUMN=LEVEL`` names, or a sentence on why there is none.

    Of a column with more than two levels, or where none is named, the rarest that at least 1 % of training rows have is
    the positive one; of a flag and of two ordered levels the higher one.
    """
    column, level = named(tables.schema, target)
    if column not in tables.schema.names:
        return f"The schema has no column {column!r} to predict."
    predictors = tuple(name for name in tables.schema.names if name != column)
    frames = {name: getattr(tables, name)[column] for name in NAMES}
    real = frames["train"]
    if not isinstance(real.dtype, pd.CategoricalDtype):
        return Task(column, column, False, {name: as_numbers(each) for name, each in frames.items()}, predictors)
    labels = [str(label) for label in real.cat.categories]
    if level and level not in labels:
        return f"The column {column!r} has no level {level!r}; it has {', '.join(labels[:12])}."
    positive = labels.index(level) if level else _positive(real, labels)
    y = {}
    for name, each in frames.items():
        codes = each.cat.codes.to_numpy()
        y[name] = np.where(codes < 0, np.nan, (codes == positive).astype(np.float64))
    return Task(column, f"{column} = {labels[positive]}", True, y, predictors)


def _positive(real: pd.Series[str], labels: list[str]) -> int:
    if len(labels) == 2 and (real.cat.ordered or labels == ["false", "true"]):
        return 1
    counts = np.bincount(real.cat.codes[real.notna()], minlength=len(labels))
    enough = np.flatnonzero(counts >= max(1.0, LEAST_SHARE * counts.sum()))
    return int(enough[np.argmin(counts[enough])]) if len(enough) else 0


def column_of(tables: Tables, target: str | None) -> str | None:
    """The column that a target names, None where it names none of the schema's."""
    column = None if target is None else named(tables.schema, target)[0]
    return column if column in tables.schema.names else None


__all__ = ["NAMES", "Task", "column_of", "task_of"]

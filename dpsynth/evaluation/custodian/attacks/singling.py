"""Singling out: predicates that isolate one released row, and then one real unit.

Sources: Cohen and Nissim 2020 for what it means; Giomi et al. 2023 (Anonymeter) for predicates from released rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.intervals import excess, proportion
from dpsynth.evaluation.custodian.attacks.judging import LEAST_UNITS, RARE, cannot, finding
from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.attacks.targets import RARE_SHARE
from dpsynth.evaluation.custodian.finding import Finding

MEASURE = "singling out"
MOST_PREDICATES = 2_000
TRIES = 2_500
MOST_COLUMNS = 12
MOST_ROWS = 30_000


Test = tuple[int, Callable[..., NDArray[np.bool_]], float]
"""Column, comparison and value; a value of nan is met by empty cells."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """A conjunction of tests of single columns."""

    tests: tuple[Test, ...]

    def rows(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Places of the rows that meet it; `values` has shape (columns, rows)."""
        met = np.arange(values.shape[1])
        for test in self.tests:
            met = _meet(test, values, met)
        return met


def _meet(test: Test, values: NDArray[np.float64], among: NDArray[np.intp]) -> NDArray[np.intp]:
    column, compare, value = test
    cells = values[column] if len(among) == values.shape[1] else values[column][among]
    return among[np.isnan(cells) if np.isnan(value) else compare(cells, value)]


def singling(case: Case, rng: np.random.Generator) -> list[Finding]:
    """The share of predicates that isolate one training unit, beside one unit among as many of the holdout.

    Each predicate isolates one row of about as many released rows. Univariate: one value, or all that lies at an end.
    Multivariate: as many columns of a released row as that takes, each number met by all further from the median.
    A unit counts once.
    """
    tables, targets = case.tables, case.targets
    real = [
        (_values(case, frame.iloc[rows[:MOST_ROWS]]), np.asarray(units)[rows[:MOST_ROWS]])
        for frame, rows, units in (
            (tables.train, targets.train_rows, tables.units["train"]),
            (tables.holdout, targets.holdout_rows, tables.units["holdout"]),
        )
    ]
    released = _values(case, case.release.iloc[: max(len(units) for _, units in real)])
    ordered = np.array([axis.ordered for axis in targets.space.axes])
    everywhere = rng.permutation(released.shape[1])[:TRIES]
    far = _far(case, released.shape[1], rng)
    return [
        _judged("univariate", list(_univariate(released, ordered)), real, rng),
        _judged("multivariate", list(_multivariate(released, ordered, everywhere, rng)), real, rng),
        _judged(f"multivariate, {RARE}", list(_multivariate(released, ordered, far, rng)), real, rng),
    ]


def _values(case: Case, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Shape (columns, rows)."""
    return np.ascontiguousarray(case.targets.space.values(frame).T)


def _univariate(released: NDArray[np.float64], ordered: NDArray[np.bool_]) -> Iterator[Predicate]:
    for column, cells in enumerate(released):
        found, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
        if ordered[column] and len(found):
            for end, compare in ((0, np.less_equal), (-1, np.greater_equal)):
                if counts[end] == 1:
                    yield Predicate(((column, compare, float(found[end])),))
        for value in found[counts == 1]:
            yield Predicate(((column, np.equal, float(value)),))


def _multivariate(
    released: NDArray[np.float64], ordered: NDArray[np.bool_], sources: NDArray[np.intp], rng: np.random.Generator
) -> Iterator[Predicate]:
    """Tests of a released row's cells, columns in random order, until no other released row meets them all."""
    known = [cells[~np.isnan(cells)] for cells in released]
    median = np.array([np.median(cells) if len(cells) else np.nan for cells in known])
    high = released >= median[:, None]
    for source in sources:
        met, tests = np.arange(released.shape[1]), list[Test]()
        for column in rng.permutation(len(released)):
            beyond = np.greater_equal if high[column, source] else np.less_equal
            compare = beyond if ordered[column] else np.equal
            test: Test = (int(column), compare, float(released[column, source]))
            left = _meet(test, released, met)
            if len(left) < len(met):
                met, tests = left, [*tests, test]
            if len(met) == 1 or len(tests) == MOST_COLUMNS:
                break
        if len(met) == 1:
            yield Predicate(tuple(tests))


def _far(case: Case, rows: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Released rows far from the population: the rarest tenth."""
    some = rng.permutation(rows)[: int(TRIES / RARE_SHARE)]
    distances = nearest(case.targets.reference, case.points[some], 1)[0][:, 0]
    far = np.argsort(distances, kind="stable")[::-1][: math.ceil(RARE_SHARE * len(some))]
    return some[far]


def _judged(
    subject: str,
    predicates: list[Predicate],
    real: Sequence[tuple[NDArray[np.float64], NDArray[Any]]],
    rng: np.random.Generator,
) -> Finding:
    if len(predicates) < LEAST_UNITS:
        return cannot(MEASURE, subject, f"{len(predicates)} predicates isolate one released row: too few to judge.")
    tried = [predicates[i] for i in rng.permutation(len(predicates))[:MOST_PREDICATES]]
    shares = []
    for values, units in real:
        met = [np.unique(units[predicate.rows(values)]) for predicate in tried]
        alone = {int(found[0]) for found in met if len(found) == 1}
        shares.append(proportion(len(alone), len(tried)))
    return finding(MEASURE, subject, excess(*shares), shares[1].value, f"{len(tried)} predicates were tried.")


__all__ = ["MEASURE", "Predicate", "singling"]

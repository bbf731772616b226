"""What a survey finds: a noisy number of rows, and how much of each column is missing or outside its codebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from accountants import Allowance, Budget, Claim, FixedPlan, Gaussian, PrivacyUnit
from dpsynth.generators.base import PrivateTable
from dpsynth.measurement import NoisyCounts
from dpsynth.schema import Schema

GENERATOR = "survey"
"""What its claim says in place of a generator: no model is made, so nothing can ever be drawn from it."""
AT_BOUNDS = "numbers and dates out of bounds are taken for the bound, as in a release, and are not counted as outside"
"""What a share of 0 does not say."""
CONFIDENCE = 0.95
"""With which all limits of a survey hold together."""
_VALUE, _MISSING, _OUTSIDE = range(3)

Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One column: noisy shares of the rows, cut off at 0 and 1.

    Attributes:
        name: of the column.
        missing: None where the schema declares no missing cells.
        outside: cells that the codebook does not list or that do not read, an undeclared missing one included. Numbers
            and dates out of bounds are taken for the bound, so they are not among them.
        sigma: standard deviation of either.
        missing_within, outside_within: what the real shares lie within; 0 to 1 where nothing can be told.
    """

    name: str
    missing: float | None
    outside: float
    sigma: float
    missing_within: Limits | None
    outside_within: Limits


@dataclass(frozen=True, slots=True)
class Survey:
    """Noisy answers, paid for and public. All limits hold together with `CONFIDENCE`.

    Attributes:
        rows, sigma: noisy number of rows after bounding, and its standard deviation.
        rows_within: what the real number lies within.
        columns: one by one.
        budget: what it cost.
    """

    rows: float
    sigma: float
    rows_within: Limits
    columns: tuple[Surveyed, ...]
    budget: Budget

    @property
    def tells_shares(self) -> bool:
        """Whether there are more rows than noise may have made: without them a share is of nothing."""
        return self.rows_within[0] > 0

    @property
    def figures(self) -> int:
        """How many limits there are."""
        return 1 + sum(1 if column.missing is None else 2 for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.rows,
            "sigma": self.sigma,
            "rows_within": self.rows_within,
            "confidence": CONFIDENCE,
            "columns": [asdict(column) for column in self.columns],
            "budget": self.budget.to_json(),
            "note": AT_BOUNDS,
        }


def survey_claim(schema: Schema, budget: Budget) -> Claim:
    """What the ledger is asked for: one Gaussian event with all of the budget.

    Raises:
        PlanError: the budget leaves nothing to spend.
    """
    return Claim(
        budget=budget,
        unit=PrivacyUnit(schema.unit, schema.at_most),
        plan=Allowance(budget).calibrate(lambda scale: FixedPlan([Gaussian(scale)])),
        generator=GENERATOR,
        schema_digest=schema.digest,
        schema_origin=schema.origin,
        assumptions=("the schema: column names, types, categories, bounds and bins",),
    )


def ask(private: PrivateTable, look: Gaussian, schema: Schema) -> tuple[NoisyCounts, ...]:
    """One stacked look: for each column how many cells hold a value, nothing, or something else.

    Raises:
        UnplannedEvent: the plan has no such look; nothing was looked at.
    """
    names = schema.domain.attributes
    return private.recoded({column.name: _kinds(column) for column in schema.encoded}).count_all(
        [(name,) for name in names], look
    )


def read(answers: Sequence[NoisyCounts], schema: Schema, budget: Budget) -> Survey:
    """The answers of `ask`, for people. The number of rows is the mean over columns: each of them counted all rows.

    Limits of the counts are simultaneous (Bonferroni); those of a share follow from the limits of its count and of the
    number of rows, at no loss of confidence.
    """
    totals = [float(answer.values.sum()) for answer in answers]
    spread = [answer.sigma**2 * answer.values.size for answer in answers]
    rows, sigma = float(np.mean(totals)), sqrt(sum(spread)) / len(answers)
    base = max(rows, 1.0)
    counts = 1 + sum(1 if column.missing_code is None else 2 for column in schema.encoded)
    reach = -float(ndtri((1 - CONFIDENCE) / (2 * counts)))
    # Noise is a rounded Gaussian: half a row a cell on top.
    beyond = reach * sigma + 0.5 * sum(answer.values.size for answer in answers) / len(answers)
    within = (max(0.0, rows - beyond), max(0.0, rows + beyond))

    def share(value: float) -> float:
        return min(1.0, max(0.0, value / base))

    def limits(value: float, sigma: float) -> Limits:
        if within[0] <= 0:
            return 0.0, 1.0
        low, high = value - reach * sigma - 0.5, value + reach * sigma + 0.5
        return min(1.0, max(0.0, low / within[1])), min(1.0, max(0.0, high / within[0]))

    columns = []
    for column, answer in zip(schema.encoded, answers, strict=True):
        missing, outside = float(answer.values[_MISSING]), float(answer.values[-1])
        declared = column.missing_code is not None
        columns.append(
            Surveyed(
                column.name,
                share(missing) if declared else None,
                share(outside),
                answer.sigma / base,
                limits(missing, answer.sigma) if declared else None,
                limits(outside, answer.sigma),
            )
        )
    return Survey(max(0.0, rows), sigma, within, tuple(columns), budget)


def _kinds(column: Any) -> NDArray[np.int64]:
    """The kind of every code: a value, missing where that is declared, or outside."""
    kinds = np.full(column.size, _VALUE, dtype=np.int64)
    if column.missing_code is not None:
        kinds[column.missing_code] = _MISSING
    kinds[column.outside_code] = _OUTSIDE if column.missing_code is not None else _OUTSIDE - 1
    return kinds


__all__ = ["AT_BOUNDS", "CONFIDENCE", "GENERATOR", "Survey", "Surveyed", "ask", "read", "survey_claim"]

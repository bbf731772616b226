"""What a section of the custodian's report is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.schema import Schema


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure. It may hold real data: it is for the custodian alone.

    Attributes:
        section: ``fidelity``, ``utility``, ``fairness`` or ``privacy``.
        measure: what was measured, by its usual name.
        subject: the columns, the model or the variant of an attack; empty for the whole table.
        value: the figure; nan where `note` says why there is none.
        low, high: 95 % confidence interval; nan where none is known.
        baseline: the same figure for the holdout, for real training rows, or for guessing without the release.
        control: for attacks, the same figure where a leak was planted.
        note: a sentence for the reader, or nothing.
    """

    section: str
    measure: str
    subject: str = ""
    value: float = nan
    low: float = nan
    high: float = nan
    baseline: float = nan
    control: float = nan
    note: str = ""

    __private__: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The released rows beside the real ones, read through the release's schema.

    Each frame has the schema's columns, in order. Listed values, flags and codes are categorical over all labels the
    schema declares, as text; numbers are float64; dates and moments are datetime64[s]. A cell is null where it is
    empty, does not read, or is not in the codebook; a number outside the declared bounds is kept as it is.

    Attributes:
        schema: of the release.
        synthetic: released rows.
        train: real rows that the release was made from.
        holdout: real rows that it never saw.
        units: for ``train`` and ``holdout`` the privacy unit of each row, as whole numbers shared between the two.
    """

    schema: Schema
    synthetic: pd.DataFrame
    train: pd.DataFrame
    holdout: pd.DataFrame
    units: Mapping[str, NDArray[Any]]

    __private__: ClassVar[bool] = True


class Section(Protocol):
    """One part of the report: a function of the tables. Bad input becomes a finding with a note, never an error.

    Args:
        tables: see there.
        rng: for subsampling and bootstraps.
        deep: also what refits models many times.
        target: the column to predict, if one was named.
    """

    def __call__(
        self, tables: Tables, *, rng: np.random.Generator, deep: bool = False, target: str | None = None
    ) -> list[Finding]:
        """The findings."""
        ...


__all__ = ["Finding", "Section", "Tables"]

"""Questions to a release, each answered with an interval that knows of the noise, or with why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor, log10
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from dpsynth.analysis import reading
from dpsynth.analysis.cuts import Cuts
from dpsynth.analysis.estimands import Margins, Solved, average, difference, effect
from dpsynth.analysis.evidence import Evidence
from dpsynth.analysis.looked import Looked
from dpsynth.analysis.naive import Found, Rows
from dpsynth.analysis.refits import Refits
from dpsynth.analysis.regression import least_squares
from dpsynth.analysis.values import Values, numbers
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.release import Release
from dpsynth.release.bundle import MEASUREMENTS, SCHEMA, TABLE
from dpsynth.release.measurements import Measurements, load
from dpsynth.release.parquet import from_parquet
from dpsynth.release.verification import read_signed
from dpsynth.schema import Schema

ABOUT = ("population", "table")
"""What an interval is about: whom the rows were drawn from, or the rows themselves."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        question: what was asked.
        estimate, low, high, level: the interval, by the normal distribution.
        about: ``population`` or ``table``.
        noise, sampling, merging: standard deviations of its parts: privacy noise, the drawing of the rows (0 about the
            table), and what merged cells hide.
        naive: estimate, low and high of who takes the synthetic table for real; None where it has none.
        notes: what else is to be known, a sentence each.
        shift: how far the estimate may lie off, besides, for where in their bins numbers lie; None where they are known
            to their bin and that was not reckoned.
        against: of a coefficient of a value, the value it is compared with.
    """

    question: str
    estimate: float
    low: float
    high: float
    level: float
    about: str
    noise: float
    sampling: float
    merging: float
    naive: tuple[float, float, float] | None
    notes: tuple[str, ...] = ()
    shift: float | None = 0.0
    against: str | None = None

    def __str__(self) -> str:
        return "\n".join(
            [self.question + ("" if self.against is None else f" (against {self.against})"), *self.lines()]
        )

    def lines(self, without: Collection[str] = ()) -> Iterator[str]:
        """What is to be said of the question, for people, but for the notes named."""
        own = _shown(self.estimate, self.low, self.high)
        yield f"  estimate       {own}   {self.level:.0%} about the {self.about}"
        if self.naive is not None:
            yield f"  naive          {_shown(*self.naive)}"
        yield f"  why            {self.why}"
        yield from (f"  note           {note}" for note in self.notes if note not in without)

    @property
    def why(self) -> str:
        """Why it differs from the naive one, in a sentence."""
        if self.naive is None:
            return "the table has no naive interval to compare with"
        wide, narrow = self.high - self.low, self.naive[2] - self.naive[1]
        half = (self.high - self.low) / 2
        parts = []
        if self.about == "table":
            parts.append("the interval is about the rows themselves: it holds the privacy noise alone")
        elif self.noise > 0.1 * self.sampling:
            share = self.noise**2 / (self.noise**2 + self.sampling**2)
            parts.append(f"privacy noise makes {share:.0%} of its variance, which the naive one leaves out")
        else:
            parts.append("privacy noise is small beside the sampling of rows")
        if narrow > 0 and wide < narrow:
            parts.append("it is narrower since it is not about a sample of the synthetic rows")
        if abs(self.naive[0] - self.estimate) > half:
            parts.append("the table itself lies elsewhere: it was fitted to all margins at once and smoothed")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A release opened for questions. It holds nothing but what is in the folder.

    Attributes:
        schema: the public description of the table.
        measurements: the noisy answers that the release rests on.
        rows: the synthetic rows.
        given: whether columns of the table were supplied, so that it cannot stand for the real one.
        level, about: of the intervals.
    """

    schema: Schema
    measurements: Measurements
    looked: Looked
    margins: Margins
    rows: Rows
    given: bool
    level: float = 0.95
    about: str = "population"

    @classmethod
    def read(cls, folder: Path | str, *, level: float = 0.95, about: str = "population") -> Analysis:
        """A release folder. Its files are those that the certificate names; who signed it, `verify` tells.

        Raises:
            BundleError: the folder is no release, lacks its measurements, or holds another file than was certified.
            NotSupported: `level` or `about` is outside what is allowed.
            TypeError: `level` is no number.
        """
        files, predicate = read_signed(folder, (MEASUREMENTS, SCHEMA, TABLE))
        given = bool(predicate.get("table", {}).get("given"))
        schema = Schema.loads(files[SCHEMA].decode("utf-8"))
        frame = from_parquet(files[TABLE])
        return cls.made(schema, load(files[MEASUREMENTS]), frame, given, level=level, about=about)

    @classmethod
    def of(cls, release: Release, *, level: float = 0.95, about: str = "population") -> Analysis:
        """A release at hand."""
        given = bool(release.certificate["predicate"]["table"]["given"])
        return cls.made(release.schema, release.measurements, release.frame, given, level=level, about=about)

    @classmethod
    def made(
        cls,
        schema: Schema,
        said: Measurements,
        frame: pd.DataFrame,
        given: bool = False,
        *,
        level: float = 0.95,
        about: str = "population",
    ) -> Analysis:
        """What a folder holds, at hand: noisy answers and synthetic rows."""
        if isinstance(level, bool) or not isinstance(level, int | float | np.floating):
            raise TypeError(f"level takes a number, such as 0.95; got {type(level).__name__}")
        if not 0 < level < 1:
            raise NotSupported(f"level must lie between 0 and 1, such as 0.95, got {level}")
        if about not in ABOUT:
            raise NotSupported(f"about must be one of {', '.join(ABOUT)}, got {about!r}")
        looked = Looked.of(said, schema)
        evidence = Evidence(schema.domain, said.counts)
        recoding = looked.recoding(schema)
        weights = {
            a: recoding.weights[a]
            if np.array_equal(recoding.maps[a], evidence.maps[a])
            else (1.0 / np.bincount(evidence.maps[a]))[evidence.maps[a]]
            for a in schema.domain.attributes
        }
        rows = Rows(schema, frame, Encoder(schema).encode(frame))
        moments = frozenset(s.attribute for s in looked.moments.scores) if looked.moments else frozenset()
        cuts = {a: Cuts.of(schema, a, evidence.maps[a], weights[a]) for a in schema.names if a not in schema.derived}
        margins = Margins(evidence, weights, moments, cuts)
        return cls(schema, said, looked, margins, rows, given, level, about)

    def mean(self, column: str) -> Interval:
        """The mean of a column of numbers, over the rows that have one."""
        values = numbers(self.schema, reading.column_in(self.schema, _typed(column, "mean takes a column")))
        return self._average(f"mean {values.name}", values)

    def proportion(self, question: str) -> Interval:
        """The share of ``COLUMN=VALUE`` among the rows in which the column is filled."""
        values = reading.question_in(self.schema, _typed(question, "proportion takes COLUMN=VALUE"))
        return self._average(f"proportion {values.name}", values)

    def difference(self, compared: str) -> Interval:
        """``OUTCOME by GROUPS``: the second group's mean less the first's, or ``OUTCOME by COLUMN: A - B``."""
        values, one, two = reading.compared_in(self.schema, _typed(compared, "difference takes OUTCOME by COLUMN"))
        solved = difference(self.margins, values, one, two)
        name = f"difference of {values.name}, {one.name} less {two.name}"
        return self._told(name, solved, lambda: self.rows.difference(values, one, two))

    def effect(self, asked: str) -> Interval:
        """``OUTCOME of TREATMENT given COLUMN + COLUMN``: the groups' difference, standardised over the columns."""
        values, one, two, given = reading.effect_in(
            self.schema, _typed(asked, "effect takes OUTCOME of COLUMN given COLUMNS")
        )
        solved = effect(self.margins, values, one, two, given)
        name = f"effect on {values.name}, {one.name} less {two.name}, given {', '.join(given)}"
        return self._told(name, solved, lambda: self.rows.effect(values, one, two, given))

    def regress(self, formula: str) -> tuple[Interval, ...]:
        """``Y ~ X1 + X2``: coefficients of least squares, the constant first."""
        outcome, terms = reading.formula_in(self.schema, _typed(formula, "regress takes Y ~ X + X"))
        solved = least_squares(self.margins, outcome, terms)
        naive = None if self.given else self.rows.least_squares(outcome, terms)
        scale = len(self.rows.frame) / self.measurements.total
        found = []
        for i, (name, each) in enumerate(solved.items()):
            known = None if naive is None else naive[i]
            if each.sampling is None and self.about == "population":
                if known is None:
                    raise NotSupported(
                        f"{formula}: the columns were counted in pairs, and how the outcome varies about the line the "
                        "synthetic rows would say, of which columns were supplied; ask about the table"
                    )
                each = replace(each, sampling=known[1] * scale)
            told = self._told(f"regression of {outcome.name} on {name}", each, partial(_same, known))
            found.append(replace(told, against=terms[i - 1].against if i else None))
        return tuple(found)

    def _average(self, name: str, values: Values) -> Interval:
        solved = average(self.margins, values)
        return self._told(name, solved, lambda: self.rows.average(values))

    def _told(self, name: str, solved: Solved, naive: Callable[[], Found | None]) -> Interval:
        z = float(ndtri((1 + self.level) / 2))
        noise = self.margins.evidence.sum(solved.weights, solved.base).variance
        notes = list(solved.notes)
        sampling = 0.0
        if self.about == "population":
            sampling = float(solved.sampling or 0.0) * self.schema.at_most
            if self.schema.at_most > 1:
                notes.append(
                    f"rows of one {self.schema.unit} may be alike: sampling variance is that of rows times "
                    f"{self.schema.at_most}, the most it can be"
                )
        if self.schema.unit is not None:
            kept = "one row" if self.schema.at_most == 1 else f"{self.schema.at_most} rows"
            notes.append(
                f"at most {kept} of each {self.schema.unit} were counted, so shares are among the rows counted; each "
                f"{self.schema.unit} with more rows weighs less than in the table"
            )
        half = z * (noise + sampling + solved.merging) ** 0.5
        found = None if self.given else naive()
        beside = None if found is None else (found[0], found[0] - z * found[1] ** 0.5, found[0] + z * found[1] ** 0.5)
        return Interval(
            question=name,
            estimate=solved.value,
            low=solved.value - half,
            high=solved.value + half,
            level=self.level,
            about=self.about,
            noise=noise**0.5,
            sampling=sampling**0.5,
            merging=solved.merging**0.5,
            naive=beside,
            notes=tuple(notes),
            shift=solved.shift,
        )

    def tables(self, tables: int = 20, seed: int | None = None) -> Iterator[pd.DataFrame]:
        """Synthetic tables of models refitted to the answers with fresh noise, for `combine` (see `Refits`).

        Args:
            tables: how many, at least 2.
            seed: makes them repeatable; it steers post-processing of answers that are public.

        Raises:
            NotSupported: fewer than 2, or the release rests on a network.
        """
        if isinstance(tables, bool) or not isinstance(tables, int | np.integer):
            raise TypeError(f"tables takes a whole number; got {type(tables).__name__}")
        if tables < 2:
            raise NotSupported(f"tables must be at least 2, got {tables}: one alone hides the noise")
        refits = Refits(self.schema, self.measurements, self.looked)
        return refits.tables(tables, np.random.default_rng(seed))

    def measured(self) -> Sequence[tuple[str, ...]]:
        """Every set of columns that was counted together: what can be asked of several."""
        return self.margins.evidence.measured

    def cuts(self) -> Mapping[str, Cuts]:
        """What can be asked of each column beside others: starts of bins, and values of its own."""
        return self.margins.cuts


def _shown(estimate: float, low: float, high: float) -> str:
    """With the decimals that show two figures of the interval's width."""
    digits = max(0, 1 - floor(log10(high - low))) if high > low else 6
    return f"{estimate:.{digits}f}  [{low:.{digits}f}, {high:.{digits}f}]"


def _typed(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what}, as text; got {type(text).__name__}")
    return text


def _same(found: Found | None) -> Found | None:
    return found


__all__ = ["ABOUT", "Analysis", "Interval"]

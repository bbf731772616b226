"""What a reader must know before anything else, in sentences, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dpsynth.constraints.checking import Checked
from dpsynth.domain import Clique
from dpsynth.release.report.margins import FEW, ColumnMargin
from dpsynth.release.report.verdicts import Fit, Verdict

DROWNED = 3.0
"""Rows, in standard deviations of the least noise, below which nothing can be told; below `FEW`, little can."""
FAR = 10.0
"""Times by which the declared and the noisy number of rows differ before it is said."""


class Kind(StrEnum):
    """What an alert is about."""

    FEW_ROWS = "few-rows"
    CONTRADICTION = "contradiction"
    UNSEEN = "unseen-contradiction"
    CODEBOOK = "codebook"
    CONSTRAINT = "constraint"
    UNMEASURED = "unmeasured"
    NOISY = "too-noisy"
    EMPTY = "empty"
    ABOUT_ROWS = "about-rows"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to know.

    Attributes:
        kind: what it is about.
        says: a sentence or two that end in a full stop; they hold no name.
        about: the columns, or sets of columns, that it is about; or a constraint's name.
        wrong: whether something is wrong, and not only unknown.
    """

    kind: Kind
    says: str
    about: tuple[Clique, ...] = ()
    wrong: bool = True


def alerts(
    columns: Sequence[ColumnMargin],
    fits: Sequence[Fit],
    unseen: Sequence[Fit],
    held: Sequence[Checked],
    total: float,
    about_rows: int | None = None,
) -> tuple[Alert, ...]:
    """All that apply.

    Args:
        columns, fits, unseen, held: what was made of the measurements.
        total: noisy number of rows.
        about_rows: what the schema declares of it.
    """
    return tuple(_all(columns, fits, unseen, held, total, about_rows))


def _all(
    columns: Sequence[ColumnMargin],
    fits: Sequence[Fit],
    unseen: Sequence[Fit],
    held: Sequence[Checked],
    total: float,
    about_rows: int | None,
) -> Iterator[Alert]:
    least = min((c.sigma for c in columns if c.sigma is not None), default=0.0)
    yield from _planned_for(total, about_rows, least)
    if total < DROWNED * least:
        yield Alert(
            Kind.FEW_ROWS,
            "The real table seems to have so few rows that noise drowns them: nothing in this release says anything "
            "about it.",
        )
        return
    if total < FEW * least:
        yield Alert(
            Kind.FEW_ROWS,
            "The real table seems to have few rows beside the noise: even in the column that was measured best, the "
            f"share of a value is known to plus or minus {200 * least / total:.0f} % of the rows only (two standard "
            "deviations of noise).",
            wrong=False,
        )
    for kind, judged, seen in (
        (Kind.CONTRADICTION, fits, "The table contradicts what was measured, beyond what noise explains."),
        (Kind.UNSEEN, unseen, "The table contradicts counts that its model was fitted without."),
    ):
        wrong = sorted((f for f in judged if f.verdict is Verdict.CONTRADICTS), key=lambda f: -f.least)
        if wrong:
            yield Alert(kind, f"{seen} Do not rely on:", _cliques(wrong))
    empty = [c for c in columns if c.wrong_codebook]
    if empty:
        yield Alert(
            Kind.CODEBOOK,
            "Most rows hold values that the schema does not list, so these columns come out empty: the codebook is "
            "wrong, or written in another spelling than the table.",
            tuple((c.name,) for c in empty),
        )
    unfilled = [c for c in columns if c.empty]
    if unfilled:
        yield Alert(
            Kind.EMPTY,
            "Nearly every row is empty in these columns, as measured. If the real table has values there, they were "
            "not read as such.",
            tuple((c.name,) for c in unfilled),
            wrong=False,
        )
    broken = [c for c in held if c.broken]
    if broken:
        yield Alert(Kind.CONSTRAINT, "Constraints are broken in this table.", tuple((c.title,) for c in broken))
    never = [c for c in columns if c.source is None]
    if never:
        yield Alert(
            Kind.UNMEASURED,
            "Nothing was measured of these columns: what the table says of them is made up.",
            tuple((c.name,) for c in never),
            wrong=False,
        )
    noisy = [c for c in columns if c.fit is not None and c.fit.verdict is Verdict.TOO_NOISY]
    if noisy:
        most = max(c.fit.bound for c in noisy if c.fit is not None)
        yield Alert(
            Kind.NOISY,
            f"Too noisy to tell whether these columns are right: up to {100 * most:.0f} % of the rows may hold other "
            "values, unnoticed.",
            tuple((c.name,) for c in noisy),
            wrong=False,
        )


def _planned_for(total: float, about_rows: int | None, least: float) -> Iterator[Alert]:
    """Where the schema's number of rows is far from the noisy one: models and steps were chosen for another table."""
    if about_rows is None or about_rows <= 0:
        return
    seems = max(total, 1.0)
    if about_rows >= FAR * max(seems, DROWNED * least) or FAR * about_rows <= seems - DROWNED * least:
        yield Alert(
            Kind.ABOUT_ROWS,
            f"The plan reckoned with about {about_rows:,} rows, as the schema declares (about_rows), but the real "
            f"table seems to have about {seems:,.0f}: what to measure was chosen for another table. Declare a better "
            "figure before another release.",
            wrong=False,
        )


def _cliques(fits: Iterable[Fit]) -> tuple[Clique, ...]:
    return tuple(dict.fromkeys(fit.clique for fit in fits))


__all__ = ["Alert", "Kind", "alerts"]

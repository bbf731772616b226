"""``dpsynth analyse``: what a receiver asks a release, with intervals that know of the privacy noise."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dpsynth.console import progress

if TYPE_CHECKING:
    from dpsynth.analysis import Analysis, Interval

ANALYSE = """\b
Examples:
  dpsynth analyse release/                                   # what can be asked
  dpsynth analyse release/ --mean age --proportion "readmitted=<30" --proportion "age<40"
  dpsynth analyse release/ --difference "length_of_stay by sex" --difference "cost by ward: north - south"
  dpsynth analyse release/ --regress "cost ~ age + sex" --effect "readmitted=<30 of treatment given age" --json
  dpsynth analyse release/ --tables 20 --write-tables tables/
Exit code 0: all answered. 1: a question that the release cannot answer; it says why.
"""
_QUESTIONS = ("mean", "proportion", "difference", "effect", "regress")


def _asked(name: str, metavar: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(f"--{name}", multiple=True, metavar=metavar, help=text)


@click.command(short_help="Honest intervals from a release folder.", epilog=ANALYSE)
@click.argument("release", type=click.Path())
@_asked("mean", "COLUMN", "Mean of a column of numbers.")
@_asked("proportion", "QUESTION", "Share of COLUMN=VALUE, COLUMN<NUMBER or COLUMN>=NUMBER.")
@_asked("difference", "'OUTCOME by COLUMN'", "Second value less the first; or 'by COLUMN: A - B', 'by COLUMN<NUMBER'.")
@_asked("effect", "'OUTCOME of COLUMN given COLUMNS'", "The same, standardised over columns joined by +.")
@_asked("regress", "'Y ~ X + X'", "Least squares; categories by value, C(COLUMN) for codes.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option(
    "--about",
    type=click.Choice(["population", "table"]),
    default="population",
    show_default=True,
    help="Whom the rows were drawn from, or the rows themselves (privacy noise alone).",
)
@click.option("--tables", type=int, default=20, show_default=True, help="How many tables --write-tables makes.")
@click.option(
    "--write-tables", type=click.Path(), metavar="DIR", help="Write tables of refitted models, to analyse one by one."
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def analyse(
    release: str,
    level: float,
    about: str,
    tables: int,
    write_tables: str | None,
    as_json: bool,
    **asked: tuple[str, ...],
) -> None:
    """Ask RELEASE, a folder, for figures with intervals that know of the privacy noise.

    Everything is computed from the noisy counts in the folder, at no cost in privacy. What was never counted together
    is not supported, and a sentence says what is. Whether the folder is genuine, 'dpsynth verify' tells.
    """
    from dpsynth.analysis import Analysis
    from dpsynth.errors import NotSupported
    from dpsynth.release import check_target

    if write_tables is not None:
        check_target(write_tables)
    opened = Analysis.read(release, level=level, about=about)
    answers: list[dict[str, Any]] = []
    for kind in _QUESTIONS:
        for text in asked[kind]:
            try:
                found = getattr(opened, kind)(text)
            except NotSupported as reason:
                answers.append({"question": f"{kind} {text}", "supported": False, "reason": str(reason)})
                continue
            each_one = found if isinstance(found, tuple) else (found,)
            answers += [{"supported": True, **asdict(each), "why": each.why, "interval": each} for each in each_one]
    if as_json:
        plain = [{name: value for name, value in each.items() if name != "interval"} for each in answers]
        click.echo(json.dumps({"about": about, "level": level, "synthetic": True, "answers": plain}, indent=1))
    elif answers:
        click.echo("\n".join(line for each in answers for line in _lines(each)))
    elif write_tables is None:
        click.echo("\n".join(_menu(opened)))
    if write_tables is not None:
        from dpsynth.analysis.writing import write

        with progress():
            folder = write(opened, tables, write_tables)
        click.echo(
            f"Wrote {folder}: {tables} synthetic tables. Analyse each, and combine as multiply imputed data.",
            err=as_json,
        )
    if not all(each["supported"] for each in answers):
        sys.exit(1)


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    yield answer["question"]
    if not answer["supported"]:
        yield f"  not supported  {answer['reason']}"
        return
    found: Interval = answer["interval"]
    own = _interval(found.estimate, found.low, found.high)
    yield f"  estimate       {own}   {found.level:.0%} about the {found.about}"
    if found.naive is not None:
        yield f"  naive          {_interval(*found.naive)}"
    yield f"  why            {found.why}"
    for note in found.notes:
        yield f"  note           {note}"


def _interval(estimate: float, low: float, high: float) -> str:
    digits = _digits(high - low)
    return f"{estimate:.{digits}f}  [{low:.{digits}f}, {high:.{digits}f}]"


def _digits(width: float) -> int:
    """Decimals that show two figures of an interval's width."""
    from math import floor, log10

    return max(0, 1 - floor(log10(width))) if width > 0 else 6


def _menu(opened: Analysis) -> Iterator[str]:
    yield f"About {opened.measurements.total:,.0f} rows. Each column can be asked by itself (--mean, --proportion)."
    yield "Together (--difference, --effect, --regress) those that were counted together:"
    for clique in opened.measured():
        if len(clique) > 1:
            yield f"  {', '.join(clique)}"
    merged = [cuts for cuts in opened.cuts().values() if not cuts.all]
    if merged:
        yield "Beside others, where rare values and neighbours were counted together:"
        yield from (f"  {cuts}" for cuts in merged)
        yield "Other columns by each value, and at each start of a bin."


__all__ = ["analyse"]

"""``dpsynth analyse``: what a receiver asks a release, with intervals that know of the privacy noise."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

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
GIVEN = (
    "The table was drawn with given values: answers are about all rows of the protected table, not about those drawn."
)
_QUESTIONS = ("mean", "proportion", "difference", "effect", "regress")


def _asked(name: str, metavar: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(f"--{name}", multiple=True, metavar=metavar, help=text)


class _InOrder(click.Command):
    """Remembers the order of questions of several kinds."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        order = self.make_parser(ctx).parse_args(list(args))[2]
        ctx.meta[__name__] = [each.name for each in order if each.name in _QUESTIONS]
        return super().parse_args(ctx, args)


@click.command(cls=_InOrder, short_help="Honest intervals from a release folder.", epilog=ANALYSE)
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
@click.pass_context
def analyse(
    ctx: click.Context,
    /,
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
    elif ctx.get_parameter_source("tables") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--tables says how many tables --write-tables DIR makes; name that, too")
    opened = Analysis.read(release, level=level, about=about)
    answers: list[dict[str, Any]] = []
    texts = {kind: iter(asked[kind]) for kind in _QUESTIONS}
    for kind in ctx.meta[__name__]:
        text = next(texts[kind])
        try:
            found = getattr(opened, kind)(text)
        except NotSupported as reason:
            answers.append({"question": f"{kind} {text}", "asked": text, "supported": False, "reason": str(reason)})
            continue
        each_one = found if isinstance(found, tuple) else (found,)
        answers += [{"supported": True, "asked": text, **asdict(e), "why": e.why, "interval": e} for e in each_one]
    if as_json:
        plain = [{name: value for name, value in each.items() if name != "interval"} for each in answers]
        notes = [GIVEN] if opened.given else []
        body = {"about": about, "level": level, "synthetic": True, "notes": notes, "answers": plain}
        click.echo(json.dumps(body, indent=1))
    elif answers:
        click.echo("\n".join([*([GIVEN] if opened.given else []), *_told(answers)]))
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


def _told(answers: list[dict[str, Any]]) -> Iterator[str]:
    for asked, same in groupby(answers, key=lambda each: (each["asked"], each["question"].partition(" ")[0])):
        group = [*same]
        found: list[Interval] = [each["interval"] for each in group if each["supported"]]
        if not found:
            yield from (f"{each['question']}\n  not supported  {each['reason']}" for each in group)
        elif asked[1] == "regression":
            yield from _regression(asked[0], found)
        else:
            yield from map(str, found)


def _regression(formula: str, found: list[Interval]) -> Iterator[str]:
    """Coefficients under one heading, and what is to be known of all of them once."""
    shared = [note for note in found[0].notes if all(note in each.notes for each in found)]
    yield f"regression {formula}"
    for each in found:
        name = each.question.partition(" on ")[2]
        yield f" {name}" + ("" if each.against is None else f" (against {each.against})")
        yield from each.lines(without=shared)
    yield from (f" note            {note}" for note in shared)


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

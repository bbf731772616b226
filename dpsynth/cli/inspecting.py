"""``dpsynth inspect``: what a schema says before any row is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dpsynth.cli.options import figure

if TYPE_CHECKING:
    from dpsynth.inspection import Inspection

EXAMPLES = """\b
Examples:
  dpsynth inspect patients.yaml --epsilon 1
  dpsynth inspect patients.yaml --epsilon 1 --delta 1e-9 --rows 20000 --json
"""


@click.command(
    name="inspect",
    short_help="Say who might be recognised and what noise will drown, reading no data.",
    epilog=EXAMPLES,
)
@click.argument("schema", metavar="SCHEMA", type=click.Path())
@click.option("--epsilon", callback=figure, help="Budget of the release you consider, e.g. 1.")
@click.option("--delta", callback=figure, default="1e-9", show_default=True, help="Its delta.")
@click.option("--rows", type=click.IntRange(min=1), help="A rough, public number of rows. [default: the schema's]")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def inspect_(schema: str, epsilon: str | None, delta: str, rows: int | None, as_json: bool) -> None:
    """Look at a schema before anything is generated. It touches no data and costs nothing.

    It lists columns that may name people, single them out or be sensitive, by their names and kinds: a heuristic, and
    no substitute for someone who knows the data. With a budget it says which columns noise will drown, and which
    generator fits.
    """
    from accountants import Budget
    from dpsynth.inspection import inspect
    from dpsynth.schema import Schema

    found = inspect(Schema.from_yaml(schema), None if epsilon is None else Budget(epsilon, delta), rows)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Inspection) -> Iterator[str]:
    from dpsynth.inspection import Role

    rows = "an unknown number of" if found.rows is None else f"about {found.rows:,}"
    yield f"{len(found.columns)} columns, {rows} rows, protecting {found.unit}"
    if found.sigma is not None and found.pair_sigma is not None:
        pair = f"{found.pair_sigma:,.0f} in one of a pair"
        yield f"noise of about {found.sigma:,.0f} rows in a count of one column, {pair}"
    yield ""
    yield "By name and kind (a heuristic; someone who knows the data must look):"
    for role in Role:
        notes = found.having(role)
        yield f"  {'sensitive' if role is Role.SENSITIVE else f'{role}s'}: {len(notes) or 'none found'}"
        for note in notes:
            because = next(each.because for each in note.roles if each.role is role)
            yield f"    {_shown(note.name)}: {because}"
    fine = [note for note in found.columns if note.too_fine]
    if found.sigma is not None and found.rows is not None:
        yield ""
        yield f"Too fine for the budget: {len(fine) or 'none'}"
        for note in fine:
            yield f"  {_shown(note.name)} ({note.cells:,} cells): {note.too_fine}"
    if found.advice is not None:
        yield ""
        yield f"Generator: {found.advice.generator or 'none'}; {found.advice.because}"
        for name, why in found.advice.others.items():
            yield f"  or {name}: {why}"
    if found.warnings:
        yield ""
        for warning in found.warnings:
            yield f"Note: {warning}"


def _shown(name: str) -> str:
    """A name on one line of a terminal, whatever it holds."""
    return "".join(c if c.isprintable() else "·" for c in name[:60]) + ("…" if len(name) > 60 else "")

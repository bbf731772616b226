"""``dpsynth inspect``: what a schema says before any row is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dpsynth.cli.options import figure, ledger_of, policy_in
from dpsynth.console import progress

if TYPE_CHECKING:
    from dpsynth.inspection import Inspection
    from dpsynth.survey import Survey

EXAMPLES = """\b
Examples:
  dpsynth inspect patients.yaml --epsilon 1
  dpsynth inspect patients.yaml --epsilon 1 --delta 1e-9 --rows 20000 --json
  dpsynth inspect patients.yaml --data patients.parquet --dataset hie-2026 --charge 0.05
"""


def _charge(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An epsilon, checked before anything runs."""
    from accountants import Budget
    from accountants.errors import BudgetError

    problem = ""
    try:
        Budget(value or 1)
    except BudgetError as error:
        problem = str(error)
    if problem:
        raise click.BadParameter(problem)
    return value


@click.command(
    name="inspect",
    short_help="Say who might be recognised and what noise will drown, reading no data.",
    epilog=EXAMPLES,
)
@click.argument("schema", metavar="SCHEMA", type=click.Path())
@click.option("--epsilon", callback=figure, help="Budget of the release you consider, e.g. 1.")
@click.option("--delta", callback=figure, default="1e-9", show_default=True, help="Its delta.")
@click.option("--rows", type=click.IntRange(min=1), help="A rough, public number of rows. [default: the schema's]")
@click.option("--data", metavar="TABLE", type=click.Path(), help="On request: survey this table, charged.")
@click.option("--dataset", help="With --data: the account that pays.")
@click.option("--charge", callback=_charge, metavar="EPSILON", help="With --data: what the survey costs, at --delta.")
@click.option("--policy", "policy_file", type=click.Path(), help="With --data: policy (YAML) beyond the account's.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.pass_context
def inspect_(
    ctx: click.Context,
    schema: str,
    epsilon: str | None,
    delta: str,
    rows: int | None,
    data: str | None,
    dataset: str | None,
    charge: str | None,
    policy_file: str | None,
    as_json: bool,
) -> None:
    """Look at a schema before anything is generated. Without --data it touches no data and costs nothing.

    It lists columns that may name people, single them out or be sensitive, by their names and kinds: a heuristic, and
    no substitute for someone who knows the data. With a budget it says which columns noise will drown, and which
    generator fits.

    With --data, --dataset and --charge one noisy look at a table is paid for: its number of rows, and for each column
    how much is missing or not in the codebook. Numbers and dates out of bounds are taken for the bound, as in a
    release, so they are not among these.
    """
    from accountants import Budget
    from dpsynth.inspection import inspect
    from dpsynth.schema import Schema

    asked = (data, dataset, charge)
    if any(asked) and not all(asked):
        raise click.UsageError("--data, --dataset and --charge go together: a table, who pays, and how much")
    read = Schema.from_yaml(schema)
    budget, surveyed = None if epsilon is None else Budget(epsilon, delta), None
    found = inspect(read, budget, rows)  # before anything is charged: what cannot be answered costs nothing
    if data and dataset and charge:
        from dpsynth import session

        account = ledger_of(ctx).account(dataset)
        with progress():
            surveyed = session.survey(read, data, account, Budget(charge, delta), policy=policy_in(policy_file))
        if not as_json:  # paid for: said before anything else can go wrong
            for line in _surveyed(surveyed):
                click.echo(line)
            click.echo()
        found = inspect(read, budget, rows or read.about_rows or max(1, round(surveyed.rows)))
    if as_json:
        body = found.to_json() | ({"survey": surveyed.to_json()} if surveyed else {})
        click.echo(json.dumps(body, indent=1))
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


def _surveyed(found: Survey) -> Iterator[str]:
    from dpsynth.survey import AT_BOUNDS, CONFIDENCE

    least, most = found.rows_within
    yield f"Survey, charged {found.budget}: {found.rows:,.0f} rows (between {least:,.0f} and {most:,.0f})"
    if not found.tells_shares:
        yield "  Too few rows beside the noise: nothing can be told of the columns. A larger --charge would tell more."
        return
    for column in found.columns:
        missing = "" if column.missing is None else f"{_share(column.missing, column.missing_within)} missing, "
        yield f"  {_shown(column.name)}: {missing}{_share(column.outside, column.outside_within)} not in the codebook"
    yield f"  All {found.figures} figures lie within their limits together, with {CONFIDENCE:.0%} confidence."
    yield f"  Note: {AT_BOUNDS}"


def _share(value: float, within: tuple[float, float] | None) -> str:
    if within is None:
        return f"{value:.1%}"
    if within[0] <= 0:  # the figure itself is noise, and would alarm
        return f"no sign of any (at most {within[1]:.1%})"
    return f"{value:.1%} ({within[0]:.1%} to {within[1]:.1%})"


def _shown(name: str) -> str:
    """A name on one line of a terminal, whatever it holds."""
    return "".join(c if c.isprintable() else "·" for c in name[:60]) + ("…" if len(name) > 60 else "")

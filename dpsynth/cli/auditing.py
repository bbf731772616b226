"""``dpsynth audit``: attacks on the kernel and the generators, on made-up tables. No private row is read."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dpsynth.cli.options import GENERATOR_NAMES


@click.command(
    short_help="Attack the kernel and the generators, on made-up tables.",
    epilog="Example: dpsynth audit --tier 0 --generator aim --schema patients.yaml",
)
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(["0", "1"]),
    multiple=True,
    help="Only this one. [default: both; 0 with --generator or --schema]",
)
@click.option(
    "--generator",
    "generators",
    type=click.Choice(GENERATOR_NAMES),
    multiple=True,
    help="Replay only this one; likewise.",
)
@click.option("--schema", type=click.Path(), help="Make up tables for this schema (YAML) instead of a small one.")
@click.option(
    "--draws", type=click.IntRange(10_000, 10**8), default=100_000, show_default=True, help="Of each look, in tier 1."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--out", type=click.Path(), help="Write the findings as JSON to this file.")
@click.pass_context
def audit(
    ctx: click.Context,
    tiers: tuple[str, ...],
    generators: tuple[str, ...],
    schema: str | None,
    draws: int,
    as_json: bool,
    out: str | None,
) -> None:
    """Attack the kernel and the generators on made-up tables: what a broken guarantee would show.

    Tier 0 replays every generator on worst-case neighbours: with equal answers it must ask the same looks, pay the same
    and make the same model, and no exact answer may move farther than its look was charged for. Tier 1 draws each look
    on two neighbouring tables and states a lower bound on epsilon. Beside every audit stand planted faults that it must
    notice. No data is read, and no budget spent. Exit code 1: a claim was refuted, or a planted fault went unnoticed.

    Attacks falsify and never certify: what stands is what was not refuted.
    """
    from dpsynth.audit import run
    from dpsynth.console import progress
    from dpsynth.errors import BundleError
    from dpsynth.schema import Schema

    read = Schema.from_yaml(schema) if schema else None
    chosen = [int(tier) for tier in dict.fromkeys(tiers)] or ([0] if generators or schema else [0, 1])
    with progress():
        found = run(chosen, generators=list(dict.fromkeys(generators)) or None, schema=read, draws=draws)
    text = json.dumps(found.to_json(), indent=1)
    if out:
        problem = ""
        try:
            Path(out).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            problem = error.strerror or "it cannot be written"
        if problem:
            raise BundleError(f"cannot write the findings to {out!r}: {problem}")
    click.echo(text if as_json else "\n".join(found.lines()))
    if not found.passed:
        ctx.exit(1)

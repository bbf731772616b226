"""``dpsynth schema``: the public description of a table."""

from __future__ import annotations

import click


@click.group(epilog="Example: dpsynth schema check patients.yaml")
def schema() -> None:
    """The public description of a table."""


@schema.command(
    name="draft",
    short_help="Draft a schema from a codebook CSV.",
    epilog="Example: dpsynth schema draft codebook.csv > patients.yaml",
)
@click.argument("book", metavar="CODEBOOK", type=click.Path())
def draft(book: str) -> None:
    """Draft a schema from a codebook CSV (column,type,values,min,max,missing,label)."""
    from dpsynth import codebook

    click.echo(codebook.draft(book), nl=False)


@schema.command(name="check", epilog="Example: dpsynth schema check patients.yaml")
@click.argument("path", metavar="SCHEMA", type=click.Path())
def check(path: str) -> None:
    """Read a schema and say what it declares."""
    from dpsynth.schema import Schema

    read = Schema.from_yaml(path)
    unit = f"unit {read.unit}, at most {read.at_most} rows" if read.unit else "each row is its own unit"
    click.echo(f"{len(read.columns)} columns, {unit}, digest {read.digest}")
    for name, size in read.domain.sizes.items():
        derived = read.derived.get(name)
        click.echo(f"  {name}: {size} cells" + (f", encoded relative to {', '.join(derived.base)}" if derived else ""))
    for constraint in read.constraints:
        click.echo(f"  holds in every row: {constraint}")

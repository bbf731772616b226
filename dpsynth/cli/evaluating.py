"""``dpsynth split`` and ``dpsynth evaluate``: the custodian's own, private side of a release."""

from __future__ import annotations

from pathlib import Path

import click

from dpsynth.cli.options import ledger_of
from dpsynth.console import progress


@click.command(
    short_help="Hold out some units of a table, privately.",
    epilog="Example: dpsynth split patients.parquet --schema patients.yaml --holdout .25 --out split/",
)
@click.argument("table", type=click.Path())
@click.option("--schema", "schema_file", required=True, type=click.Path(), help="Schema (YAML): it names the unit.")
@click.option("--holdout", type=float, default=0.25, show_default=True, help="Share of the units to hold out.")
@click.option("--seed", type=int, help="Makes the choice repeatable. [default: the operating system's randomness]")
@click.option("--out", type=click.Path(), help="Folder to write. [default: PRIVATE-split beside the table]")
def split(table: str, schema_file: str, holdout: float, seed: int | None, out: str | None) -> None:
    """Cut TABLE in two by privacy unit: release from one part, evaluate with both.

    The files hold real rows. They are readable by you alone, stamped as private, and refused wherever something could
    be released; 'dpsynth release' reads them as it reads any table.
    """
    from dpsynth.evaluation.custodian.split import split as write_split
    from dpsynth.schema import Schema

    target = out or str(Path(table).absolute().parent / "PRIVATE-split")
    folder = write_split(table, Schema.from_yaml(schema_file), holdout, target, seed=seed)
    click.echo(f"Wrote {folder}: real rows, private. Release from PRIVATE-train.parquet.")


EVALUATE = """\b
Examples:
  dpsynth evaluate release/ --train split/PRIVATE-train.parquet --holdout split/PRIVATE-holdout.parquet
  dpsynth evaluate release/ --train ... --holdout ... --target "readmitted=<30" --sensitive race
  dpsynth evaluate release/ --train ... --holdout ... --time d_time --event death --out private/
\b
Needs scikit-learn and statsmodels: pip install 'dpsynth[evaluation]'
"""


@click.command(short_help="Hold a release against real rows, privately.", epilog=EVALUATE)
@click.argument("release", type=click.Path())
@click.option("--train", required=True, type=click.Path(), help="Real rows that the release was made from.")
@click.option("--holdout", required=True, type=click.Path(), help="Real rows that it never saw.")
@click.option("--target", metavar="COLUMN[=LEVEL]", help="What models are to predict.")
@click.option("--sensitive", metavar="COLUMN", help="Whose strata are compared; needs a target.")
@click.option("--time", "time_", metavar="COLUMN", help="Length of follow-up; with --event.")
@click.option("--event", metavar="COLUMN", help="Whether follow-up ended with the event; with --time.")
@click.option("--deep", is_flag=True, help="Attacks that fit models many times, and all rows: takes longer.")
@click.option("--out", type=click.Path(), default="PRIVATE-report", show_default=True, help="Folder to write.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    release: str,
    train: str,
    holdout: str,
    target: str | None,
    sensitive: str | None,
    time_: str | None,
    event: str | None,
    deep: bool,
    out: str,
) -> None:
    """Hold a finished RELEASE against real rows: fidelity, utility, fairness, privacy attacks.

    The report is private: it is computed from real rows without noise. Choosing a release after reading it is a look at
    the data that no guarantee covers, so the ledger notes that it was made, and later certificates say so.
    """
    from dpsynth.errors import QuestionError

    _check_installed()
    from dpsynth.evaluation.custodian.folder import check_private_target
    from dpsynth.evaluation.custodian.questions import Questions
    from dpsynth.evaluation.custodian.report import evaluate as made
    from dpsynth.home import keyring

    check_private_target(out)
    questions = Questions(target, sensitive, time_, event, deep)
    problem = ""
    try:
        with progress():
            report = made(release, train, holdout, ledger_of(ctx), keyring().trusted(), questions)
    except QuestionError as error:
        problem = str(error)
    if problem:
        raise click.UsageError(problem)
    folder = report.write(out)
    click.echo(f"Wrote {folder}: private, computed from real rows. The ledger notes it, and later certificates say so.")
    click.echo("Doubts about the tables that were given, if there are any, stand first on its page.")


def _check_installed() -> None:
    """Say which extra the report needs, before its own imports fail."""
    from importlib.util import find_spec

    from dpsynth.errors import SourceError

    if any(find_spec(name) is None for name in ("sklearn", "statsmodels")):
        raise SourceError("the report needs scikit-learn and statsmodels: pip install 'dpsynth[evaluation]'")

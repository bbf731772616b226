"""``dpsynth sample``: another table from the model of an earlier release, at zero epsilon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dpsynth.cli.options import deployment_in, ledger_of, policy_in
from dpsynth.console import progress

if TYPE_CHECKING:
    from accountants import Account, Ledger


SAMPLE = """\b
Examples:
  dpsynth sample release/ --rows 50000 --out more/
  dpsynth sample release/ --rows 10000 --given "readmitted=<30" --out rare/
  dpsynth sample --dataset hie-2026 --release RELEASE-ID --out more/
"""


@click.command(short_help="Draw another table at zero epsilon.", epilog=SAMPLE)
@click.argument("source", metavar="[RELEASE]", type=click.Path(), required=False)
@click.option("--dataset", help="With --release, in the place of a release folder: the account.")
@click.option(
    "--release", "release_id", metavar="ID", help="A committed release of it, as 'dpsynth ledger show' lists."
)
@click.option("--rows", type=int, help="Rows to draw. [default: the noisy total]")
@click.option(
    "--given",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Hold a column at a value in every row (declared public); no value: an empty cell.",
)
@click.option(
    "--given-table",
    type=click.Path(),
    metavar="FILE",
    help="Hold columns at the values of a table (.csv, .parquet), one row for each drawn (declared public).",
)
@click.option("--out", required=True, type=click.Path(), help="Folder to write; must not exist or be empty.")
@click.option("--policy", "policy_file", type=click.Path(), help="Policy (YAML).")
@click.option("--deployment", "deployment_file", type=click.Path(), help="Who publishes, why, for whom (YAML).")
@click.pass_context
def sample(
    ctx: click.Context,
    source: str | None,
    dataset: str | None,
    release_id: str | None,
    rows: int | None,
    given: tuple[str, ...],
    given_table: str | None,
    out: str,
    policy_file: str | None,
    deployment_file: str | None,
) -> None:
    """Draw another table from the model of an earlier release, at zero epsilon.

    RELEASE is its folder; where none was written, name the release with --dataset and --release.
    """
    from dpsynth.home import model_store
    from dpsynth.release import FittedModel, admit, check_target, read_origin
    from dpsynth.release.given import read_given

    if (source is None) is (dataset is None and release_id is None) or (dataset is None) is not (release_id is None):
        raise click.UsageError("give either the folder RELEASE, or both --dataset and --release")
    check_target(out)
    fixed: dict[str, Any] = {}
    for pair in given:
        column, equals, value = pair.partition("=")
        if not equals or column in fixed:
            twice = (
                f"column {column!r} twice; to hold it at several values, use --given-table" if equals else repr(pair)
            )
            raise click.UsageError(f"--given takes COLUMN=VALUE, each column once; got {twice}")
        fixed[column] = value
    if given_table is not None:
        listed = read_given(given_table)
        if both := sorted(set(fixed) & set(listed)):
            raise click.UsageError(f"column {both[0]!r} is in --given and in --given-table; leave it out of one")
        fixed |= listed
    policy, deployment = policy_in(policy_file), deployment_in(deployment_file)
    if source is not None:
        dataset, release_id = read_origin(source)
    assert dataset is not None
    assert release_id is not None
    account = _issuing(ledger_of(ctx), dataset)
    with progress():
        model = FittedModel.open(account, model_store(), release_id)
        made = admit(model.sample(rows, given=fixed or None), account, policy, deployment=deployment)
        folder = made.write(out)
    named = [*given, *([f"the columns of {given_table}"] if given_table else [])]
    held = f", with {' and '.join(named)}" if named else ""
    click.echo(f"Released {folder}: {len(made.frame):,} rows{held}, another draw of {release_id} at no further cost.")


def _issuing(book: Ledger, dataset: str) -> Account:
    """The account that a release says it was charged to.

    Raises:
        UnknownDataset: it is not in this ledger. Opening another one would protect nobody.
    """
    from accountants import UnknownDataset

    try:
        return book.account(dataset)
    except UnknownDataset:
        pass
    raise UnknownDataset(
        f"dataset {dataset!r} has no account in this ledger; only whoever made the release can draw from its model "
        "again, with their own ledger and $DPSYNTH_HOME (see --ledger)"
    )

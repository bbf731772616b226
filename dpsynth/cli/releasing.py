"""``dpsynth release``: learn from a table under the budget, write a release folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dpsynth.cli.options import deployment_in, ledger_of, policy_in
from dpsynth.cli.planning import planned_in, planning
from dpsynth.console import Interrupted, progress

if TYPE_CHECKING:
    from accountants import Account
    from dpsynth.planned import ReleasePlan


@click.command(
    short_help="Learn from a table, write a release folder.",
    epilog="Example: dpsynth release patients.parquet --plan plan.json --dataset hie-2026 --out release/",
)
@click.argument("table", type=click.Path())
@click.option(
    "--plan", "plan_file", type=click.Path(), help="A plan made with 'dpsynth plan'; or give its options here."
)
@planning
@click.option("--dataset", required=True, help="The account that pays, opened with 'dpsynth ledger open'.")
@click.option("--out", required=True, type=click.Path(), help="Folder to write; must not exist or be empty.")
@click.option("--rows", type=int, help="Rows to draw. [default: the noisy total]")
@click.option("--policy", "policy_file", type=click.Path(), help="Policy (YAML) beyond the account's budget.")
@click.option("--deployment", "deployment_file", type=click.Path(), help="Who publishes, why, for whom (YAML).")
@click.pass_context
def release(
    ctx: click.Context,
    /,
    table: str,
    plan_file: str | None,
    dataset: str,
    out: str,
    rows: int | None,
    policy_file: str | None,
    deployment_file: str | None,
    **options: Any,
) -> None:
    """Learn from TABLE (.parquet, .csv, .feather) under the budget and write a release folder."""
    from dpsynth import session
    from dpsynth.errors import BundleError
    from dpsynth.public_rows import refuse_the_private_one, too_few
    from dpsynth.release import admit, check_target
    from dpsynth.standing import label_lines, standing

    check_target(out)
    if rows is not None and rows < 1:
        raise BundleError(f"--rows must be at least 1, got {rows}; leave it out for the noisy total")
    if options["public"] is not None:
        refuse_the_private_one(options["public"], table)  # before it is read as the other
    planned = planned_in(plan_file, options)
    policy, deployment = policy_in(policy_file), deployment_in(deployment_file)
    account = ledger_of(ctx).account(dataset)
    if few := too_few(planned.claim.public):
        click.echo(f"Note: {few}.", err=True)
    with _telling(account, planned), progress():
        model = session.fit(planned, table, account, policy=policy, public=options["public"])
        made = admit(model.sample(rows), account, policy, deployment=deployment)
        try:
            folder = made.write(out)
        except BundleError as error:
            again = f"dpsynth sample --dataset {shlex.quote(dataset)} --release {model.release} --out FOLDER"
            raise BundleError(f"{error}. The release is charged and its model kept: write it with `{again}`") from None
    click.echo(f"Released {folder}: {len(made.frame):,} rows, {planned.claim.budget}, by {planned.claim.generator}.")
    wrong = [alert for alert in made.evidence.alerts if alert.wrong]
    if wrong:
        click.echo(
            f"Note: by noisy counts something is wrong ({', '.join(alert.kind for alert in wrong)}): read report.html."
        )
    for line in (standing(account.state), *label_lines(account.state)):
        click.echo(line)


@contextmanager
def _telling(account: Account, planned: ReleasePlan) -> Iterator[None]:
    """Where Ctrl-C stops a release, look at the ledger and say what it cost."""
    from dpsynth.standing import outcome

    before = set(account.state.releases)
    try:
        yield
    except KeyboardInterrupt:
        mine = [
            release
            for release in account.state.releases.values()
            if release.id not in before and release.claim == planned.claim
        ]
        raise Interrupted(outcome(mine[-1] if mine else None, account.dataset)) from None

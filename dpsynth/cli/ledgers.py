"""``dpsynth ledger``: the record of every privacy cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from dpsynth.cli.options import figure, ledger_of, policy_in, read_ledger_of

if TYPE_CHECKING:
    from accountants import Account, Budget, Policy


@click.group(epilog="Example: dpsynth ledger show hie-2026")
def ledger() -> None:
    """The record of every privacy cost."""


@ledger.command(
    name="open",
    short_help="Open a dataset's account, once.",
    epilog="Example: dpsynth ledger open hie-2026 --epsilon 3 --delta 1e-8",
)
@click.argument("dataset")
@click.option("--epsilon", callback=figure, required=True, help="Lifetime budget of the dataset.")
@click.option("--delta", callback=figure, default="1e-9", show_default=True, help="Lifetime delta.")
@click.option(
    "--filter",
    "filter_",
    type=click.Choice(["gdp", "sum"]),
    default="gdp",
    show_default=True,
    help="How releases add up.",
)
@click.option(
    "--delta0",
    callback=figure,
    default="0",
    show_default=True,
    help="Part of delta set aside for releases that need some.",
)
@click.option("--policy", "policy_file", type=click.Path(), help="Policy (YAML) that every release must meet.")
@click.pass_context
def open_(
    ctx: click.Context, dataset: str, epsilon: str, delta: str, filter_: str, delta0: str, policy_file: str | None
) -> None:
    """Open a dataset's account, once. It may be widened later, never narrowed."""
    from accountants import Budget

    policy = policy_in(policy_file)
    account = ledger_of(ctx).open(dataset, Budget(epsilon, delta), filter=filter_, policy=policy, delta0=delta0)
    click.echo(f"Opened {dataset}: lifetime {account.state.budget}, releases add up by '{filter_}'.")
    _warn(account.state.budget, policy)
    click.echo("It can be widened later ('dpsynth ledger amend'), never narrowed. Datasets that share people share it.")


@ledger.command(
    name="amend",
    short_help="Widen a budget, or replace a policy.",
    epilog="Example: dpsynth ledger amend hie-2026 --epsilon 4",
)
@click.argument("dataset")
@click.option("--epsilon", callback=figure, help="New lifetime epsilon. [default: stays]")
@click.option("--delta", callback=figure, help="New lifetime delta. [default: stays]")
@click.option(
    "--delta0", callback=figure, help="New part of delta set aside for releases that need some. [default: stays]"
)
@click.option("--policy", "policy_file", type=click.Path(), help="New policy (YAML). [default: stays]")
@click.pass_context
def amend(
    ctx: click.Context,
    dataset: str,
    epsilon: str | None,
    delta: str | None,
    delta0: str | None,
    policy_file: str | None,
) -> None:
    """Widen a dataset's lifetime budget, or replace its policy. Budgets never shrink."""
    from accountants import Budget
    from accountants.figures import small

    policy = policy_in(policy_file)
    book = ledger_of(ctx)
    standing = book.account(dataset).state
    if delta0 and not (epsilon or delta):
        wider = standing.lifetime.widened(delta0=delta0).budget.delta
        raise click.UsageError(
            f"--delta0 {delta0} widens the lifetime delta from {small(standing.budget.delta)} to {small(wider)}, since "
            f"what is set aside comes on top; say so: --delta0 {delta0} --delta {small(wider)}"
        )
    budget = Budget(epsilon or standing.budget.epsilon, delta or standing.budget.delta) if epsilon or delta else None
    state = book.amend(dataset, budget=budget, delta0=delta0, policy=policy if policy_file else ...).state
    aside = f", delta0 {small(state.lifetime.delta0)}" if delta0 else ""
    click.echo(f"Amended {dataset}: lifetime {state.budget}{aside}{', policy replaced' if policy_file else ''}.")
    _warn(state.budget, state.policy)


def _warn(budget: Budget, policy: Policy | None) -> None:
    """Say on standard error where a policy admits less than the budget it stands beside."""
    from dpsynth.standing import tighter

    for sentence in tighter(budget, policy):
        click.echo(f"Note: {sentence}, and the lifetime budget is {budget}.", err=True)


SHOW = """\b
Examples:
  dpsynth ledger show
  dpsynth ledger show hie-2026
  dpsynth ledger show hie-2026 --json
"""


@ledger.command(name="show", short_help="Say what was spent and what is left.", epilog=SHOW)
@click.argument("dataset", required=False)
@click.option("--json", "as_json", is_flag=True, help="All that is on record, as JSON.")
@click.pass_context
def show(ctx: click.Context, dataset: str | None, as_json: bool) -> None:
    """Say what was spent and what is left, for all datasets; of one, its terms, policy and releases too."""
    from dpsynth.standing import described, history

    book = read_ledger_of(ctx)
    names = [dataset] if dataset else list(book.datasets())
    told = described(book, names) if dataset or as_json else None
    if as_json:
        click.echo(json.dumps(told, indent=1))
        return
    if not names:
        click.echo("No account is open; open one with 'dpsynth ledger open NAME --epsilon E --delta D'.")
    for name in names:
        account = book.account(name)
        for line in _summary(account):
            click.echo(line)
        for line in _releases(account) if told is None else history(told["accounts"][0]):
            click.echo(f"  {line}")
    if not book.rollback_detectable:
        click.echo(
            "Without an anchor a restored backup would not be noticed: plant one with 'dpsynth --anchor FILE ledger "
            "anchor', and have it heeded with 'dpsynth --anchor FILE ledger show' or $DPSYNTH_ANCHOR.",
            err=True,
        )


def _summary(account: Account) -> list[str]:
    """How an account stands, and what it was opened with beyond its budget, where there is anything to say."""
    from accountants.figures import small
    from dpsynth.standing import label_lines, standing

    state = account.state
    lines = [standing(state), *(f"  {line}" for line in label_lines(state))]
    if state.filter == "gdp" and (state.lifetime.delta0 or state.spent.delta0):
        lines.append(f"  delta0: {small(state.spent.delta0)} of {small(state.lifetime.delta0)} is charged")
    if state.amendments:
        lines.append(f"  amended {state.amendments} time{'s' if state.amendments > 1 else ''} since it was opened")
    if state.policy is not None:
        lines.append("  it has a policy of its own")
    return lines


def _releases(account: Account) -> list[str]:
    from accountants import Status
    from dpsynth.standing import read

    lines = []
    for release in account.state.releases.values():
        note = "costs nothing" if release.status is Status.VOIDED else f"charged {release.claim.budget}"
        draws = f", {len(release.draws)} drawn" if release.draws else ""
        note = f"{note}{draws}{read(release.reads)}"
        lines.append(f"{release.id}  {release.status.value:<9}  {release.claim.generator:<11} {note}")
    return lines


@ledger.command(
    name="anchor",
    short_help="Give a ledger that has rows its anchor.",
    epilog="Example: dpsynth --anchor /elsewhere/anchor.json ledger anchor",
)
@click.pass_context
def anchor_(ctx: click.Context) -> None:
    """Give a ledger that has rows its anchor: check every row, then note the head there."""
    from dpsynth.home import adopt_anchor

    book = adopt_anchor(ctx.obj.get("ledger"), anchor=ctx.obj.get("anchor"))
    click.echo(f"The ledger is intact and anchored at row {book.head[0]}.")


@ledger.command(name="verify", short_help="Check every row.", epilog="Example: dpsynth ledger verify")
@click.pass_context
def verify_ledger(ctx: click.Context) -> None:
    """Check every row of the ledger: chain, signatures, anchor."""
    book = read_ledger_of(ctx)
    book.verify()
    held = "its head agrees with the anchor" if book.rollback_detectable else "held against no anchor"
    click.echo(f"The ledger is intact: {book.head[0]} rows, {held}.")


@ledger.command(name="void", epilog="Example: dpsynth ledger void hie-2026 RELEASE-ID")
@click.argument("dataset")
@click.argument("release_id", metavar="RELEASE")
@click.pass_context
def void(ctx: click.Context, dataset: str, release_id: str) -> None:
    """Give back a reservation that never ran."""
    ledger_of(ctx).account(dataset).void(release_id)
    click.echo(f"Voided {release_id}: it costs nothing.")

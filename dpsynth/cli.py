"""The command line: each command is a few lines over the same functions the Python API has.

Commands import what they need when they run, so that help is there at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dpsynth.console import Interrupted, one_sentence, progress

if TYPE_CHECKING:
    from accountants import Account, Budget, Ledger, Policy
    from accountants.deployment import Deployment
    from dpsynth.planned import ReleasePlan

GENERATOR_NAMES = ("aim", "independent", "mst")

EPILOG = """\b
A first release:
  dpsynth schema draft codebook.csv > patients.yaml
  dpsynth ledger open hie-2026 --epsilon 3 --delta 1e-8
  dpsynth release patients.parquet --schema patients.yaml --epsilon 1 --dataset hie-2026 --out release/
  dpsynth verify release/
"""


class Commands(click.Group):
    """A group whose errors are one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with one_sentence():
            return super().invoke(ctx)


def _ledger(ctx: click.Context) -> Ledger:
    from dpsynth.home import open_ledger

    return open_ledger(ctx.obj.get("ledger"), anchor=ctx.obj.get("anchor"))


def _read(ctx: click.Context) -> Ledger:
    """The ledger of a command that writes nothing."""
    from dpsynth.home import read_ledger

    return read_ledger(ctx.obj.get("ledger"), anchor=ctx.obj.get("anchor"))


def _figure(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An epsilon or a delta, checked before anything runs and passed on as it was written."""
    from accountants import Budget
    from accountants.errors import BudgetError
    from accountants.exact import real

    problem = ""
    if value is not None:
        try:
            if param.name == "epsilon":
                Budget(value)
            elif param.name == "delta":
                Budget(1, value)
            elif real("delta0", value, BudgetError) < 0:
                problem = f"delta0 must be at least 0, got {value!r}"
        except BudgetError as error:
            problem = str(error)
    if problem:
        raise click.BadParameter(problem)
    return value


def _policy(path: str | None) -> Policy | None:
    from accountants import Policy

    return Policy.from_yaml(path) if path else None


def _deployment(path: str | None) -> Deployment | None:
    from accountants.deployment import Deployment

    return Deployment.from_yaml(path) if path else None


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("rounds=30", "workload=all-2way")`` as a mapping, values read as JSON where they are."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes name=value, got {pair!r}")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _made(
    schema: str | None,
    epsilon: str | None,
    delta: str,
    generator: str,
    settings: tuple[str, ...],
    purpose: str | None,
    recipient: str | None,
) -> ReleasePlan:
    """A plan from options."""
    from accountants import Budget
    from dpsynth.errors import PlanFileError
    from dpsynth.generators import generator_from
    from dpsynth.planned import plan
    from dpsynth.schema import Schema

    for option, value in (("--schema", schema), ("--epsilon", epsilon)):
        if value is None:
            raise click.UsageError(f"{option} is missing; a plan needs --schema and --epsilon")
    problem = ""
    try:
        recipe = generator_from(generator, _settings(settings))
    except ValueError as error:
        problem = str(error)
    if problem:
        raise PlanFileError(problem)
    budget = Budget(str(epsilon), delta)
    return plan(recipe, Schema.from_yaml(str(schema)), budget, purpose=purpose, recipient=recipient)


def _planned(plan_file: str | None, options: dict[str, Any]) -> ReleasePlan:
    """A plan from a file or from options."""
    from dpsynth.planned import ReleasePlan

    if plan_file is None:
        return _made(**options)
    given = [f"--{name}" for name in ("schema", "epsilon", "purpose", "recipient") if options[name] is not None]
    given += ["--set"] if options["settings"] else []
    if given:
        raise click.UsageError(f"--plan already holds what {' and '.join(given)} would say; leave out one or the other")
    return ReleasePlan.load(plan_file)


def planning(command: Any) -> Any:
    """The options that make a plan."""
    options = [
        click.option("--schema", type=click.Path(), help="The schema (YAML)."),
        click.option("--epsilon", callback=_figure, help="Budget of this release, e.g. 1."),
        click.option("--delta", callback=_figure, default="1e-9", show_default=True, help="Its delta."),
        click.option("--generator", type=click.Choice(GENERATOR_NAMES), default="aim", show_default=True),
        click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the generator."),
        click.option("--purpose", help="A label that policy may cap."),
        click.option("--recipient", help="A label that policy may cap."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--ledger",
    metavar="URL",
    help="Ledger address, e.g. sqlite:///ledger.db or postgresql://me@host/db. "
    "[default: $DPSYNTH_LEDGER or in the home folder]",
)
@click.option(
    "--anchor",
    metavar="FILE|URL",
    help="File or second database outside the ledger that notes its head. [default: $DPSYNTH_ANCHOR]",
)
@click.version_option(package_name="dpsynth")
@click.pass_context
def main(ctx: click.Context, ledger: str | None, anchor: str | None) -> None:
    """Synthetic tables under differential privacy, with a ledger, a release gate and a certificate.

    Ledger, keys and models live in $DPSYNTH_HOME. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unknown signer
    (verify), 4 refused by the gate, 130 interrupted.
    """
    ctx.obj = {"ledger": ledger, "anchor": anchor}


@main.command(
    short_help="Decide what to spend on what, reading no data.",
    epilog="Example: dpsynth plan --schema patients.yaml --epsilon 1 > plan.json",
)
@planning
def plan(**options: Any) -> None:
    """Decide what will be spent on what, without reading any data: JSON on standard output, a summary beside it."""
    made = _made(**options)
    for line in made.describe():
        click.echo(line, err=True)
    click.echo(json.dumps(made.to_json(), indent=1))


@main.command(
    short_help="Say what a plan's guarantee means.",
    epilog="Example: dpsynth profile plan.json --dataset hie-2026 --plot guarantee.svg",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path())
@click.option("--dataset", help="Say the same of all releases of this dataset together.")
@click.option("--plot", type=click.Path(), help="Draw the trade-off curves (.svg, .png, .pdf; needs dpsynth[plot]).")
@click.pass_context
def profile(ctx: click.Context, plan_file: str, dataset: str | None, plot: str | None) -> None:
    """Say what a plan's guarantee means: epsilon at several deltas, mu, the odds, the best attack. Touches no data."""
    from accountants import Refused, decide
    from accountants.explanation import explain, explain_lifetime, lifetime_profile
    from accountants.plot import plot as draw
    from dpsynth.planned import ReleasePlan
    from dpsynth.standing import known_size

    claim = ReleasePlan.load(plan_file).claim
    state = _read(ctx).account(dataset).state if dataset else None
    lifetime = None if state is None else state.lifetime
    click.echo(f"This release ({claim.generator})")
    for line in explain(claim.profile, claim.budget):
        click.echo(f"  {line}")
    if state is not None:
        click.echo(f"All releases of {dataset} together, ever (filter {state.filter}).{known_size(state)}")
        for line in explain_lifetime(state.lifetime, state.relation):
            click.echo(f"  {line}")
        decision = decide(claim, state)
        fits = (
            f"no, rule {decision.rule}: {decision.reason} {decision.way_out}"
            if isinstance(decision, Refused)
            else "yes"
        )
        click.echo(f"Does this release fit what is left? {fits}")
    if plot:
        drawn = draw(claim.profile, plot, None if lifetime is None else lifetime_profile(lifetime))
        click.echo(f"Drawn: {drawn}")


@main.command(
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
    from dpsynth.release import admit, check_target
    from dpsynth.standing import label_lines, standing

    check_target(out)
    if rows is not None and rows < 1:
        raise BundleError(f"--rows must be at least 1, got {rows}; leave it out for the noisy total")
    planned = _planned(plan_file, options)
    policy, deployment = _policy(policy_file), _deployment(deployment_file)
    account = _ledger(ctx).account(dataset)
    with _telling(account, planned), progress():
        model = session.fit(planned, table, account, policy=policy)
        made = admit(model.sample(rows), account, policy, deployment=deployment)
        folder = made.write(out)
    click.echo(f"Released {folder}: {len(made.frame):,} rows, {planned.claim.budget}, by {planned.claim.generator}.")
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


SAMPLE = """\b
Examples:
  dpsynth sample release/ --rows 50000 --out more/
  dpsynth sample release/ --rows 10000 --given "readmitted=<30" --out rare/
  dpsynth sample --dataset hie-2026 --release RELEASE-ID --out more/
"""


@main.command(short_help="Draw another table at zero epsilon.", epilog=SAMPLE)
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
    fixed: dict[str, Any] = dict(pair.split("=", 1) for pair in given if "=" in pair)
    if len(fixed) != len(given):
        raise click.UsageError("--given takes COLUMN=VALUE, each column once")
    if given_table is not None:
        listed = read_given(given_table)
        if both := sorted(set(fixed) & set(listed)):
            raise click.UsageError(f"column {both[0]!r} is in --given and in --given-table; leave it out of one")
        fixed |= listed
    policy, deployment = _policy(policy_file), _deployment(deployment_file)
    if source is not None:
        dataset, release_id = read_origin(source)
    assert dataset is not None
    assert release_id is not None
    account = _issuing(_ledger(ctx), dataset)
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


VERIFY = """\b
Example: dpsynth verify release/
Exit code 0: intact, known signer. 3: intact, unknown signer. 1: broken.
"""


@main.command(name="verify", short_help="Check a release folder.", epilog=VERIFY)
@click.argument("folder", type=click.Path())
def verify_(folder: str) -> None:
    """Check a release folder: files, signature, and that its events imply its epsilon."""
    from dpsynth.home import keyring
    from dpsynth.release import verify

    found = verify(folder, keyring().trusted())
    for line in found.findings:
        click.echo(line)
    sys.exit(found.exit_code)


@main.command(short_help="Print what a certificate says.", epilog="Example: dpsynth certificate release/")
@click.argument("folder", metavar="RELEASE", type=click.Path())
@click.option("--html", "page", type=click.Path(), help="Write the page for people to this new file instead.")
def certificate(folder: str, page: str | None) -> None:
    """Print what the certificate of a release says. It is read, not checked: 'dpsynth verify' checks."""
    from dpsynth.release import read_certificate, write_page

    if page is None:
        click.echo(read_certificate(folder), nl=False)
    else:
        click.echo(f"Wrote {write_page(folder, page)}.")
    click.echo(f"Not checked here; run 'dpsynth verify {folder}'.", err=True)


@main.group(epilog="Example: dpsynth schema check patients.yaml")
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


@main.group(epilog="Example: dpsynth ledger show hie-2026")
def ledger() -> None:
    """The record of every privacy cost."""


@ledger.command(
    name="open",
    short_help="Open a dataset's account, once.",
    epilog="Example: dpsynth ledger open hie-2026 --epsilon 3 --delta 1e-8",
)
@click.argument("dataset")
@click.option("--epsilon", callback=_figure, required=True, help="Lifetime budget of the dataset.")
@click.option("--delta", callback=_figure, default="1e-9", show_default=True, help="Lifetime delta.")
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
    callback=_figure,
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

    policy = _policy(policy_file)
    account = _ledger(ctx).open(dataset, Budget(epsilon, delta), filter=filter_, policy=policy, delta0=delta0)
    click.echo(f"Opened {dataset}: lifetime {account.state.budget}, releases add up by '{filter_}'.")
    _warn(account.state.budget, policy)
    click.echo("It can be widened later ('dpsynth ledger amend'), never narrowed. Datasets that share people share it.")


@ledger.command(
    name="amend",
    short_help="Widen a budget, or replace a policy.",
    epilog="Example: dpsynth ledger amend hie-2026 --epsilon 4",
)
@click.argument("dataset")
@click.option("--epsilon", callback=_figure, help="New lifetime epsilon. [default: stays]")
@click.option("--delta", callback=_figure, help="New lifetime delta. [default: stays]")
@click.option(
    "--delta0", callback=_figure, help="New part of delta set aside for releases that need some. [default: stays]"
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

    policy = _policy(policy_file)
    book = _ledger(ctx)
    standing = book.account(dataset).state.budget
    budget = Budget(epsilon or standing.epsilon, delta or standing.delta) if epsilon or delta else None
    account = book.amend(dataset, budget=budget, delta0=delta0, policy=policy if policy_file else ...)
    click.echo(f"Amended {dataset}: lifetime {account.state.budget}{', policy replaced' if policy_file else ''}.")
    _warn(account.state.budget, account.state.policy)


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

    book = _read(ctx)
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
    from dpsynth.standing import label_lines, small, standing

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

    lines = []
    for release in account.state.releases.values():
        note = "costs nothing" if release.status is Status.VOIDED else f"charged {release.claim.budget}"
        draws = f", {len(release.draws)} drawn" if release.draws else ""
        lines.append(f"{release.id}  {release.status.value:<9}  {release.claim.generator:<11} {note}{draws}")
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
    book = _read(ctx)
    book.verify()
    held = "its head agrees with the anchor" if book.rollback_detectable else "held against no anchor"
    click.echo(f"The ledger is intact: {book.head[0]} rows, {held}.")


@ledger.command(name="void", epilog="Example: dpsynth ledger void hie-2026 RELEASE-ID")
@click.argument("dataset")
@click.argument("release_id", metavar="RELEASE")
@click.pass_context
def void(ctx: click.Context, dataset: str, release_id: str) -> None:
    """Give back a reservation that never ran."""
    _ledger(ctx).account(dataset).void(release_id)
    click.echo(f"Voided {release_id}: it costs nothing.")


@main.group(epilog="Example: dpsynth keys show > hospital.pem")
def keys() -> None:
    """The signing key and the keys trusted."""


@keys.command(name="new", short_help="Make this home's signing key.", epilog="Example: dpsynth keys new")
def new_key() -> None:
    """Make this home's signing key. There is one, and it is never overwritten."""
    from dpsynth.home import keyring

    ring = keyring()
    public = ring.new_signing_key().public
    click.echo(f"Made key {public.key_id} in {ring.signing_path}.")


@keys.command(
    name="show", short_help="Print this home's public key.", epilog="Example: dpsynth keys show > hospital.pem"
)
def show_keys() -> None:
    """Print this home's public key, to hand to receivers and colleagues."""
    from dpsynth.home import keyring

    public = keyring().signing_key().public
    click.echo(f"key id {public.key_id}", err=True)
    click.echo(public.pem(), nl=False)


TRUST = """\b
Examples:
  dpsynth keys trust hospital.pem
  dpsynth keys trust --writer colleague.pem
"""


@keys.command(name="trust", short_help="Trust a signer.", epilog=TRUST)
@click.argument("pem", type=click.Path())
@click.option("--writer", is_flag=True, help="Believe its rows in a shared ledger, not its certificates.")
def trust(pem: str, writer: bool) -> None:
    """Trust the signer whose public key is in the file PEM."""
    from accountants.errors import KeyFileError
    from dpsynth.home import keyring

    try:
        text = Path(pem).read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    if not text:
        raise KeyFileError(f"cannot read a public key from {pem!r}; give a PEM file printed by 'dpsynth keys show'")
    key = keyring().trust(text, writer=writer)
    click.echo(f"Trusted {key.key_id} as a {'writer of the ledger' if writer else 'publisher'}.")


@main.command(short_help="The main job on real data.", epilog="Example: dpsynth demo --out dpsynth-demo")
@click.option("--out", type=click.Path(), default="dpsynth-demo", show_default=True, help="Folder to write.")
def demo(out: str) -> None:
    """The main job on real data: RAND Health Insurance Experiment, AIM at epsilon 1, a release and a refusal."""
    from dpsynth.demo import run

    run(Path(out))

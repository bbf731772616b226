"""``dpsynth plan`` and ``dpsynth profile``: what will be spent on what, and what that means. No data is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dpsynth.cli.options import GENERATOR_NAMES, figure, read_ledger_of, settings_in

if TYPE_CHECKING:
    from dpsynth.planned import ReleasePlan


def plan_of(
    schema: str | None,
    epsilon: str | None,
    delta: str,
    generator: str,
    settings: tuple[str, ...],
    purpose: str | None,
    recipient: str | None,
    evaluation_share: float,
    public: str | None = None,
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
        recipe = generator_from(generator, settings_in(settings))
    except ValueError as error:
        problem = str(error)
    if problem:
        raise PlanFileError(problem)
    budget = Budget(str(epsilon), delta)
    return plan(
        recipe,
        Schema.from_yaml(str(schema)),
        budget,
        purpose=purpose,
        recipient=recipient,
        evaluation_share=evaluation_share,
        public=public,
    )


def planned_in(plan_file: str | None, options: dict[str, Any]) -> ReleasePlan:
    """A plan from a file or from options."""
    from dpsynth.planned import ReleasePlan

    if plan_file is None:
        return plan_of(**options)
    source = click.get_current_context().get_parameter_source
    given = [
        "--set" if name == "settings" else f"--{name.replace('_', '-')}"
        for name in options
        if name != "public" and source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--plan already holds what {' and '.join(given)} would say; leave out one or the other")
    return ReleasePlan.load(plan_file)


def planning(command: Any) -> Any:
    """The options that make a plan."""
    options = [
        click.option("--schema", type=click.Path(), help="The schema (YAML)."),
        click.option("--epsilon", callback=figure, help="Budget of this release, e.g. 1."),
        click.option("--delta", callback=figure, default="1e-9", show_default=True, help="Its delta."),
        click.option("--generator", type=click.Choice(GENERATOR_NAMES), default="aim", show_default=True),
        click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the generator."),
        click.option("--purpose", help="A label that policy may cap."),
        click.option("--recipient", help="A label that policy may cap."),
        click.option(
            "--evaluation-share",
            type=click.FloatRange(0, 0.5),
            default=0.0,
            show_default=True,
            help="Share of the budget for counts that check the fitted model in the report, e.g. .05.",
        ),
        click.option(
            "--public",
            type=click.Path(),
            metavar="FILE",
            help="Rows that are public: a network (made, vae, gan) is trained on them first. Nothing protects them, "
            "and a copy of private rows in it would not be noticed: that they are public is your word.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    short_help="Decide what to spend on what, reading no data.",
    epilog="Example: dpsynth plan --schema patients.yaml --epsilon 1 > plan.json",
)
@planning
def plan(**options: Any) -> None:
    """Decide what will be spent on what, without reading any data: JSON on standard output, a summary beside it."""
    made = plan_of(**options)
    for line in made.describe():
        click.echo(line, err=True)
    click.echo(json.dumps(made.to_json(), indent=1))


@click.command(
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
    state = read_ledger_of(ctx).account(dataset).state if dataset else None
    lifetime = None if state is None else state.lifetime
    click.echo(f"This release ({claim.generator})")
    for line in explain(claim.profile, claim.budget, mu_squared=claim.capacity):
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

"""What several commands read from their options: the ledger, figures, settings, policy and deployment."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from accountants import Ledger, Policy
    from accountants.deployment import Deployment


GENERATOR_NAMES = ("aim", "gan", "independent", "made", "mst", "vae")
"""Those of `dpsynth.generators`, known before it is imported."""

_CHARGED_AS = (*GENERATOR_NAMES, "diffprivlib", "opacus", "survey")
"""What a charge of ours, the bridges' included, may say was its generator."""


def ledger_of(ctx: click.Context) -> Ledger:
    """The ledger of a command that writes to it."""
    from dpsynth.home import open_ledger

    return open_ledger(ctx.obj.get("ledger"), anchor=ctx.obj.get("anchor"))


def read_ledger_of(ctx: click.Context) -> Ledger:
    """The ledger of a command that writes nothing."""
    from dpsynth.home import read_ledger

    return read_ledger(ctx.obj.get("ledger"), anchor=ctx.obj.get("anchor"))


def figure(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
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


def policy_in(path: str | None) -> Policy | None:
    """The policy in a file, if one is named. A generator in it that is none of ours is noted on standard error.

    It is not refused: a recipe of your own, used from Python on the same account, may have any name.
    """
    from accountants import Policy

    policy = Policy.from_yaml(path) if path else None
    for name in sorted(policy.generators or () if policy else ()):
        if name not in _CHARGED_AS:
            near = get_close_matches(name, _CHARGED_AS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            click.echo(
                f"Note: the policy admits the generator {name!r}, which dpsynth does not have; {hint}"
                f"it has {', '.join(_CHARGED_AS)}.",
                err=True,
            )
    return policy


def deployment_in(path: str | None) -> Deployment | None:
    """The deployment in a file, if one is named."""
    from accountants.deployment import Deployment

    return Deployment.from_yaml(path) if path else None


_BARE_POINT = re.compile(r"^(-?)\.(?=\d)")
"""A number without its leading zero, which JSON does not read."""


def settings_in(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("rounds=30", "workload=all-2way")`` as a mapping, values read as JSON where they are."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE, such as --set max_cells=100000, got {pair!r}")
        if name in settings:
            raise click.UsageError(f"--set {name}=... is given twice; give it once")
        try:
            settings[name] = json.loads(_BARE_POINT.sub(r"\g<1>0.", value))
        except ValueError:
            settings[name] = value
    return settings

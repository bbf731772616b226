"""A planned release: the schema, the recipe and the claim, decided without reading a row. What ``plan.json`` holds."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountants import (
    AdaptivePlan,
    Allowance,
    Budget,
    Claim,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Plan,
    PlanError,
    PrivacyUnit,
    SubsampledGaussian,
    declared_delta0,
)
from accountants.errors import AccountingError
from dpsynth.checking_looks import asked_pairs, evaluation_look, noise_of_a_pair
from dpsynth.errors import PlanFileError
from dpsynth.generators import GENERATORS, Generator, generator_from
from dpsynth.hints import too_loose
from dpsynth.public_rows import PublicRows, too_few
from dpsynth.schema import Schema

FORMAT = 1
DROWNED = 0.05
"""Noise of a one-way count, as a share of the declared rows, from which a plan warns."""


@dataclass(frozen=True, slots=True, repr=False)
class ReleasePlan:
    """What will be asked of the data, and what it costs.

    Attributes:
        schema: the public description of the table.
        generator: the recipe.
        claim: what the ledger is asked for.
    """

    schema: Schema
    generator: Generator
    claim: Claim

    def __post_init__(self) -> None:
        wrong = [
            what
            for what, differs in {
                "the schema": self.claim.schema_digest != self.schema.digest,
                "the schema's origin": self.claim.schema_origin != self.schema.origin,
                "the privacy unit": self.claim.unit != PrivacyUnit(self.schema.unit, self.schema.at_most),
                "the generator": self.claim.generator != self.generator.name
                or dict(self.claim.parameters) != self.generator.parameters()
                or self.claim.numerics != _numerics(self.generator),
            }.items()
            if differs
        ]
        if wrong:
            raise PlanFileError(f"the plan's claim does not fit {' or '.join(wrong)} beside it; make the plan again")
        if self.claim.public is not None:
            _starts_from_public(self.generator)
        if self.claim.frame and not (len(self.claim.frame) == 1 and type(self.claim.frame[0]) is Gaussian):
            raise PlanFileError("the plan has looks beside the generator's that are no evaluation look; make it again")
        own = self.generator.plan(self.schema.domain, Allowance(self.claim.budget, self.claim.frame), self.schema.hints)
        if _shape(own) != _shape(self.claim.plan):
            raise PlanFileError(
                f"the looks in the plan are not those that {self.claim.generator!r} asks for (another version's plan, "
                "or an edited one); make the plan again"
            )

    @property
    def evaluation(self) -> Gaussian | None:
        """The look that checks the fitted model; None where none is planned."""
        match self.claim.frame:
            case (Gaussian() as look,):
                return look
        return None

    def __repr__(self) -> str:
        return "ReleasePlan(\n  " + "\n  ".join(self.describe()) + "\n)"

    def to_json(self) -> dict[str, Any]:
        """``{"format", "schema", "claim"}``."""
        return {"format": FORMAT, "schema": self.schema.to_json(), "claim": self.claim.to_json()}

    @classmethod
    def from_json(cls, body: Any) -> ReleasePlan:
        """The inverse of `to_json`.

        Raises:
            PlanFileError: the text is no plan, or its parts do not fit each other.
            SchemaError: the schema inside is wrong.
        """
        if not isinstance(body, Mapping) or body.get("format") != FORMAT:
            raise PlanFileError(f"not a plan of format {FORMAT}; make one with 'dpsynth plan'")
        schema = Schema.from_json(body.get("schema", {}))
        problem = ""
        try:
            claim = Claim.from_json(body["claim"])
            return cls(schema, generator_from(claim.generator, claim.parameters), claim)
        except (PlanFileError, AccountingError) as error:
            problem = str(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = f"its claim cannot be read ({type(error).__name__})"
        raise PlanFileError(f"the plan is damaged: {problem}; make it again with 'dpsynth plan'")

    @classmethod
    def load(cls, path: str | Path) -> ReleasePlan:
        """The plan in a JSON file.

        Raises:
            PlanFileError, SchemaError: see `from_json`; also an unreadable file.
        """
        try:
            body = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not JSON"
            body = None
        if body is None:
            raise PlanFileError(f"cannot read the plan {str(path)!r}: {reason}; make one with 'dpsynth plan'")
        return cls.from_json(body)

    def describe(self) -> list[str]:
        """What will be spent on what, in plain lines."""
        claim, k = self.claim, self.claim.unit.at_most
        unit = f"one {claim.unit.column} (at most {k} rows)" if claim.unit.column else "one row"
        dominated = (
            "" if claim.profile.mu is not None else " (it has no mu of its own: a Gaussian of this one dominates it)"
        )
        lines = [
            f"generator  {claim.generator} on {len(self.schema.domain)} columns",
            f"budget     {claim.budget}",
            f"protects   {unit}, added or removed",
            *(
                [f"public     {claim.public}: promises nothing about its rows, public by your word alone"]
                if claim.public
                else []
            ),
            f"capacity   mu = {math.sqrt(claim.capacity):.5g}, which is epsilon "
            f"{claim.profile.epsilon(claim.budget.delta):.5g}{dominated}",
        ]
        if (target := claim.parameters.get("target")) is not None:
            share = claim.parameters.get("target_share", 0.0)
            looks = f": {share:.0%} of mu squared for looks at every column together with it" if share else ""
            lines.append(f"target     {target}{looks}")
        match claim.plan:
            case AdaptivePlan(mu=mu, kinds=kinds):
                lines.append(
                    f"looks      chosen as it goes ({', '.join(sorted(kinds))}) within a filter of mu {mu:.5g}; "
                    f"the whole on one marginal would be noise of {k / mu:.1f} rows"
                )
            case plan:
                counted = Counter(plan.events)
                whole = [e for e in plan.events if not isinstance(e, SubsampledGaussian)]  # mu squared in closed form
                left = 1.0 - sum(float(event.mu_squared / claim.capacity) for event in (*whole, *claim.frame))
                for event, count in counted.items():
                    share = float(count * event.mu_squared / claim.capacity)
                    match event:
                        case Gaussian(noise_multiplier=z):
                            what = f"count, noise of {z * k:.1f} rows times the root of the marginals stacked in it"
                        case ExponentialMechanism(eta=eta):
                            what = f"private selection of range {eta:.4g}"
                        case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=steps):
                            what = f"{steps} steps on samples of {q:.4g} of the units, noise {z:.4g} times the norm"
                            share = left * count / (len(plan.events) - len(whole))
                        case _:
                            what = event.kind.replace("_", " ")
                    lines.append(f"looks      {count} x {what}: {share:.1%} of mu squared")
        if (look := self.evaluation) is not None:
            pairs, share = asked_pairs(self.schema), float(look.mu_squared / claim.capacity)
            noise = noise_of_a_pair(look, self.schema, pairs)
            what = f"{len(pairs)} pairs counted after the fit, noise of {noise:.1f} rows"
            lines.append(f"check      {what}: {share:.1%} of mu squared")
        return [*lines, *self._warnings()]

    def _warnings(self) -> list[str]:
        """What to expect little of: by what the recipe says of its plan, and by noise over the declared rows."""
        said = getattr(self.generator, "warnings", None)
        found = [f"warning:   {line}" for line in (said(self.claim.plan) if said else ())]
        rows, k, columns = self.schema.about_rows, self.claim.unit.at_most, len(self.schema.domain)
        told = (too_loose(self.claim.budget, rows), too_few(self.claim.public))
        found += [f"warning:   {line}" for line in told if line]
        match self.claim.plan:
            case AdaptivePlan(mu=mu):
                noise, what = k * math.sqrt(columns) / mu, "even the whole budget on one-way counts leaves"
            case FixedPlan(events=(Gaussian(noise_multiplier=z), *_)):
                noise, what = z * k * math.sqrt(columns), "one-way counts get"
            case _:
                return found
        if rows is None or noise <= DROWNED * rows:
            return found
        return [
            *found,
            f"warning:   {what} noise of {noise:,.0f} rows a cell, {noise / rows:.0%} of the {rows:,} declared; expect "
            "little of the table: spend more epsilon, release fewer columns or keep fewer rows of each unit",
        ]


def expect(name: str, value: object, kind: type, hint: str) -> None:
    """Refuse an argument of the wrong type, with what to give instead.

    Raises:
        TypeError: `value` is not a `kind`.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {type(value).__name__}; {hint}")


def _numerics(generator: Generator) -> str:
    """How the recipe's noise will be made: ``exact`` unless it declares otherwise."""
    return str(getattr(generator, "numerics", "exact"))


def _starts_from_public(generator: Generator) -> None:
    """Refuse a recipe that has no way to start from public rows.

    Raises:
        PlanError: it has none.
    """
    if not getattr(generator, "starts_from_public", False):
        able = sorted(name for name, made in GENERATORS.items() if getattr(made, "starts_from_public", False))
        raise PlanError(
            f"the generator {generator.name!r} learns from noisy answers alone and cannot start from a public table; "
            f"{', '.join(able)} can"
        )


def _shape(plan: Plan) -> tuple[str, ...]:
    """What a plan lets a recipe ask, its noise aside."""
    match plan:
        case AdaptivePlan(kinds=kinds):
            return (plan.kind, *sorted(kinds))
        case FixedPlan(events=events):
            return (plan.kind, *(event.kind for event in events))


def plan(
    generator: Generator | str,
    schema: Schema,
    budget: Budget,
    *,
    purpose: str | None = None,
    recipient: str | None = None,
    evaluation_share: float = 0.0,
    public: str | os.PathLike[str] | None = None,
) -> ReleasePlan:
    """Turn a budget into noise. Reads no rows but those of a public table.

    Args:
        generator: a recipe or its name.
        schema: the public description of the table.
        budget: of the whole release.
        purpose, recipient: labels that policy may cap.
        evaluation_share: share of the budget (of mu^2, 0 to 0.5) for counts that the model is not fitted to, so that
            the report can check it on them.
        public: a file whose rows are public: the recipe is trained on them first, at no cost and without noise. Give
            it to `dpsynth.fit` as well. Nothing is promised about these rows.

    Raises:
        PlanError: the recipe cannot work within the budget, or not start from public rows.
        SourceError: the public table cannot be read, or does not fit the schema.
        ValueError: an unknown generator.
        TypeError: an argument of another type.
    """
    expect("schema", schema, Schema, "load one with dpsynth.Schema.from_yaml(path)")
    expect("budget", budget, Budget, "give dpsynth.Budget(epsilon, delta)")
    recipe = generator_from(generator) if isinstance(generator, str) else generator
    if public is not None:
        _starts_from_public(recipe)
    started = None if public is None else PublicRows.read(public, schema).table
    frame = evaluation_look(budget, evaluation_share)
    events = recipe.plan(schema.domain, Allowance(budget, frame), schema.hints)
    assumptions = ["the schema: column names, types, categories, bounds and bins"]
    if schema.about_rows is not None:
        assumptions.append(f"about {schema.about_rows} rows, as declared")
    if schema.constraints:
        assumptions.append(f"what its {len(schema.constraints)} constraints between columns say")
    claim = Claim(
        budget=budget,
        unit=PrivacyUnit(schema.unit, schema.at_most),
        plan=events,
        generator=recipe.name,
        parameters=recipe.parameters(),
        frame=frame,
        schema_digest=schema.digest,
        schema_origin=schema.origin,
        numerics=_numerics(recipe),
        assumptions=tuple(assumptions),
        purpose=purpose,
        recipient=recipient,
        delta0=declared_delta0(events, budget),
        public=started,
    )
    return ReleasePlan(schema, recipe, claim)

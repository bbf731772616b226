"""What a release asks of its dataset's account: everything declared, nothing measured. The gate decides on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from accountants.budget import Budget
from accountants.composition import mu_squared_of
from accountants.events import Event, event_from_json, event_to_json
from accountants.exact import UP
from accountants.plan import Plan, plan_from_json
from accountants.profile import Profile
from accountants.unit import PrivacyUnit

VERSION = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """One planned release.

    Attributes:
        budget: declared (epsilon, delta) of the release.
        unit: the privacy unit and its contribution bound.
        plan: the generator's looks.
        frame: looks beside the generator's plan, in the same budget.
        generator: the recipe's name, and its `parameters` as JSON values.
        schema_digest: sha256 (hex) of the canonical schema.
        schema_origin: how the schema came to be: ``declared``, ``domain`` or ``public-frame``.
        numerics: ``exact`` (samplers within 2^-58 of ideal), ``idealised``, or ``none`` (not private: refused).
        assumptions: what was taken as public, one short phrase each.
        purpose, recipient: labels that policy may cap.
    """

    budget: Budget
    unit: PrivacyUnit
    plan: Plan
    generator: str
    schema_digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    frame: tuple[Event, ...] = ()
    schema_origin: str = "declared"
    numerics: str = "exact"
    assumptions: tuple[str, ...] = ()
    purpose: str | None = None
    recipient: str | None = None

    @property
    def capacity(self) -> Decimal:
        """mu^2 charged for the release: the plan's capacity and the frame, rounded up."""
        return UP.add(self.plan.capacity, mu_squared_of(self.frame))

    @property
    def profile(self) -> Profile:
        """The profile of the whole release at capacity, before the numerical slack."""
        return Profile(self.capacity)

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON values (decimal strings for exact figures)."""
        return {
            "version": VERSION,
            "budget": self.budget.to_json(),
            "unit": self.unit.to_json(),
            "plan": self.plan.to_json(),
            "frame": [event_to_json(event) for event in self.frame],
            "generator": self.generator,
            "parameters": dict(self.parameters),
            "schema_digest": self.schema_digest,
            "schema_origin": self.schema_origin,
            "numerics": self.numerics,
            "assumptions": list(self.assumptions),
            "purpose": self.purpose,
            "recipient": self.recipient,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Claim:
        """The inverse of `to_json`.

        Raises:
            BudgetError, EventError, PlanError: the text does not describe a claim.
        """
        return cls(
            budget=Budget.from_json(body["budget"]),
            unit=PrivacyUnit.from_json(body["unit"]),
            plan=plan_from_json(body["plan"]),
            frame=tuple(event_from_json(event) for event in body["frame"]),
            generator=body["generator"],
            parameters=dict(body["parameters"]),
            schema_digest=body["schema_digest"],
            schema_origin=body["schema_origin"],
            numerics=body["numerics"],
            assumptions=tuple(body["assumptions"]),
            purpose=body["purpose"],
            recipient=body["recipient"],
        )

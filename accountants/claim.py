"""What a release asks of its dataset's account: everything declared, nothing measured. The gate decides on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from accountants.budget import Budget
from accountants.composition import NumericalProfile, compose
from accountants.domination import charge_of
from accountants.errors import BudgetError
from accountants.events import BLANK, Claimed, Event, event_from_json, event_to_json, together
from accountants.exact import real
from accountants.plan import FixedPlan, Plan, leaves, plan_from_json
from accountants.profile import Profile
from accountants.public import PublicTable
from accountants.unit import PrivacyUnit

VERSION = 4
"""Version 1 had no ``delta0``; it reads as 0. Before 3 there was no ``size_public``: others' mechanisms read as it.
Before 4 nothing started from a public table."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One planned release.

    Attributes:
        budget: declared (epsilon, delta) of the release.
        unit: the privacy unit and its contribution bound.
        plan: the generator's looks.
        frame: looks beside the generator's plan, in the same budget.
        generator: the recipe's name, and its `parameters` as JSON values.
        schema_digest: sha256 (hex) of the canonical schema; None where a third party's mechanism knows none.
        schema_origin: how the schema came to be: ``declared``, ``domain`` or ``public-frame``; ``none`` without one.
        delta0: set aside for what sampling saves (DP-SGD): a `gdp` account is charged the Gaussian that dominates the
            plan but for this chance. Part of no release's own delta.
        numerics: ``exact`` (samplers within 2^-58 of ideal), ``idealised``, or ``none`` (not private: refused).
        assumptions: what was taken as public, one short phrase each.
        purpose, recipient: labels that policy may cap.
        size_public: whether the mechanism takes the number of units for public, beyond what its events say.
        public: the table, declared public, that the generator starts from; None where it starts from none.
    """

    budget: Budget
    unit: PrivacyUnit
    plan: Plan
    generator: str
    schema_digest: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    frame: tuple[Event, ...] = ()
    schema_origin: str = "declared"
    numerics: str = "exact"
    assumptions: tuple[str, ...] = ()
    purpose: str | None = None
    recipient: str | None = None
    delta0: Decimal = Decimal(0)
    size_public: bool = False
    public: PublicTable | None = None

    def __post_init__(self) -> None:
        delta0 = real("delta0", self.delta0, BudgetError)
        if not 0 <= delta0 < 1:
            raise BudgetError(f"delta0 must be at least 0 and below 1, got {self.delta0!r}")
        object.__setattr__(self, "delta0", delta0)

    @property
    def assumed(self) -> tuple[str, ...]:
        """All that was taken as public: the phrases given, and that of the public table."""
        return (*self.assumptions, *([self.public.assumption] if self.public else []))

    @property
    def events(self) -> tuple[Event, ...]:
        """Events fixed beforehand: those of a fixed plan, and the frame."""
        return (*(self.plan.events if isinstance(self.plan, FixedPlan) else ()), *self.frame)

    @property
    def filter_mu_squared(self) -> Decimal:
        """Capacity of the plan's filter; 0 for a fixed plan."""
        return Decimal(0) if isinstance(self.plan, FixedPlan) else self.plan.capacity

    @property
    def domination(self) -> tuple[Decimal, Decimal]:
        """(mu^2, delta0) charged to a `gdp` account: it dominates the release at capacity, for every epsilon.

        Raises:
            PlanError: `delta0` is too small for the plan.
        """
        return charge_of(self.events, self.filter_mu_squared, self.delta0)

    @property
    def capacity(self) -> Decimal:
        """mu^2 of `domination`."""
        return self.domination[0]

    @property
    def profile(self) -> Profile | NumericalProfile:
        """The profile of the whole release at capacity, before the numerical slack."""
        return compose(self.events, self.filter_mu_squared)

    @property
    def sources(self) -> frozenset[str]:
        """Third parties whose claims are taken at their word, those inside a selection among runs included."""
        return frozenset(each.source for each in leaves(self.events) if isinstance(each, Claimed))

    @property
    def relation(self) -> str:
        """The neighbours that the whole is about: ``add_or_remove_one_unit``, or ``blank_one_unit`` where a third
        party takes the number of units for public."""
        return BLANK if self.size_public else together(each.relation for each in leaves(self.events))

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
            "delta0": str(self.delta0),
            "size_public": self.size_public,
            "public": None if self.public is None else self.public.to_json(),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Claim:
        """The inverse of `to_json`.

        Raises:
            BudgetError, EventError, PlanError: the text does not describe a claim.
        """
        version = body["version"]
        if version not in range(1, VERSION + 1):
            raise BudgetError(f"a claim of version {version!r}; this dpsynth reads 1 to {VERSION}, upgrade it")
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
            delta0=Decimal(body["delta0"]) if version > 1 else Decimal(0),
            size_public=bool(body["size_public"]) if version > 2 else body["schema_origin"] == "none",
            public=PublicTable.from_json(body["public"]) if version > 3 and body["public"] is not None else None,
        )

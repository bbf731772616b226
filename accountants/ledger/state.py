"""The state of an account and its releases: what the ledger's rows say, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, final

from accountants.budget import Budget
from accountants.claim import Claim
from accountants.events import together
from accountants.ledger.frozen_map import FrozenMap
from accountants.ledger.rows import Row
from accountants.lifetime import Charge, Filter, Lifetime
from accountants.policy import Policy
from accountants.unit import PrivacyUnit


class Status(StrEnum):
    """Where a release stands. All but `VOIDED` cost their whole charge."""

    RESERVED = "reserved"
    RUNNING = "running"
    COMMITTED = "committed"
    VOIDED = "voided"
    FORFEITED = "forfeited"


class ReasonCode(StrEnum):
    """Why a run was forfeited: all that the ledger ever says about it."""

    CRASHED = "crashed"
    """The process ended without a word; found by the next session."""
    INTERRUPTED = "interrupted"
    """Ctrl-C."""
    FAILED = "failed"
    """The generator or the kernel raised."""


@final
@dataclass(frozen=True, slots=True)
class ReleaseState:
    """One release of an account.

    Attributes:
        id: random hex, drawn at reservation.
        status: see `Status`.
        charge: what it costs unless voided.
        model: digest of the committed model; None where the run made none, and nothing can be drawn from it.
        charged: events the run asked for, as the commit recorded them: ``{"plan": [...], "frame": [...]}``.
            What they sum to is not a guarantee; the charge is.
        reason: why it was forfeited.
        draws: table digests drawn from its model, in order.
        reads: how often a private report about one of them was asked for.
    """

    id: str
    status: Status
    charge: Charge
    _claim: Mapping[str, Any] = field(repr=False)
    model: str | None = None
    charged: Mapping[str, Any] | None = None
    reason: ReasonCode | None = None
    draws: tuple[str, ...] = ()
    reads: int = 0

    @property
    def claim(self) -> Claim:
        """What was asked."""
        return Claim.from_json(self._claim)

    @property
    def unit(self) -> PrivacyUnit:
        """The claim's privacy unit."""
        return PrivacyUnit.from_json(self._claim["unit"])

    @property
    def purpose(self) -> str | None:
        """The claim's purpose label."""
        label: str | None = self._claim["purpose"]
        return label

    @property
    def recipient(self) -> str | None:
        """The claim's recipient label."""
        label: str | None = self._claim["recipient"]
        return label

    @property
    def generator(self) -> str:
        """The claim's generator."""
        return str(self._claim["generator"])

    @property
    def exact(self) -> bool:
        """Whether its noise is this software's exact one."""
        return bool(self._claim["numerics"] == "exact")

    @property
    def costs(self) -> bool:
        """Whether it counts against the lifetime budget."""
        return self.status is not Status.VOIDED


@final
@dataclass(frozen=True, slots=True)
class Tally:
    """Figures kept beside the releases, so that no decision has to go through them all.

    Attributes:
        spent: the exact sum of charges, not rounded.
        by_labels: the same by (purpose, recipient).
        costing: how many releases cost.
        running: the id of the release that runs.
        unit: the claim's privacy unit of the last reservation, as JSON.
    """

    spent: Charge = field(default_factory=Charge)
    by_labels: FrozenMap[tuple[str | None, str | None], Charge] = field(default_factory=FrozenMap)
    costing: int = 0
    running: str | None = None
    unit: Mapping[str, Any] | None = None


@final
@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as its rows say.

    Attributes:
        dataset: its id.
        lifetime: the budget and the filter that guards it, as last amended.
        policy: the policy it was opened with or given since, if any.
        amendments: how often lifetime or policy were amended; the rows hold the history.
        releases: by id, in order of reservation.
        draws: the first draw row of each table digest.
    """

    dataset: str
    lifetime: Lifetime
    policy: Policy | None = None
    amendments: int = 0
    releases: FrozenMap[str, ReleaseState] = field(default_factory=FrozenMap)
    draws: FrozenMap[str, Row] = field(default_factory=FrozenMap)
    tally: Tally = field(default_factory=Tally, repr=False)

    @property
    def budget(self) -> Budget:
        """The lifetime budget."""
        return self.lifetime.budget

    @property
    def filter(self) -> Filter:
        """``gdp`` or ``sum``."""
        return self.lifetime.filter

    @property
    def cap_mu_squared(self) -> Decimal | None:
        """The cap on record; None for a `sum` account."""
        return self.lifetime.mu_squared

    @property
    def spent(self) -> Charge:
        """Charges of all releases that are not voided, their exact sum rounded up once."""
        return Charge.total([self.tally.spent])

    @property
    def spent_mu_squared(self) -> Decimal:
        """mu^2 of all that is charged, rounded up."""
        return self.spent.mu_squared

    @property
    def remaining_mu_squared(self) -> Decimal | None:
        """mu^2 left, rounded down; None for a `sum` account."""
        return self.lifetime.remaining_mu_squared(self.spent)

    @property
    def spent_epsilon(self) -> Decimal:
        """Epsilon at the lifetime's delta of all that is charged, rounded up."""
        return self.lifetime.spent_epsilon(self.spent)

    @property
    def idealised(self) -> tuple[str, ...]:
        """Generators of the releases that cost something and whose noise is not exact: bridges, claims, training."""
        return tuple(sorted({each.generator for each in self.releases.values() if each.costs and not each.exact}))

    @property
    def reads(self) -> int:
        """How many private reports about its releases were asked for; see `Account.read`."""
        return sum(each.reads for each in self.releases.values())

    @property
    def relation(self) -> str:
        """The neighbours that the releases together are about: see `Claim.relation`. What the kernel does is always
        about adding or removing a unit, and claims of others are never exact."""
        return together(each.claim.relation for each in self.releases.values() if each.costs and not each.exact)

    @property
    def running(self) -> ReleaseState | None:
        """The release that runs, or whose process died."""
        return None if self.tally.running is None else self.releases[self.tally.running]

    @property
    def unit(self) -> PrivacyUnit | None:
        """The privacy unit of the last release to be reserved, None where no release costs; all share its column."""
        return PrivacyUnit.from_json(dict(self.tally.unit)) if self.tally.costing and self.tally.unit else None

    def remaining_epsilon(self, delta: float | str | Decimal) -> Decimal:
        """The largest epsilon one more release at `delta` may declare; 0 where none is admitted.

        Raises:
            BudgetError: delta is not above 0 and below 1.
        """
        return self.lifetime.remaining_epsilon(self.spent, delta)

    def spent_on(self, *, purpose: str | None = None, recipient: str | None = None) -> Charge:
        """Charges of the releases under one label, or under both."""
        return Charge.total(
            charge
            for labels, charge in self.tally.by_labels.items()
            if (purpose is None or labels[0] == purpose) and (recipient is None or labels[1] == recipient)
        )

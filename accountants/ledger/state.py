"""The state of accounts: a fold of the ledger's rows, and nothing that the rows do not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, final

from accountants.budget import Budget
from accountants.claim import Claim
from accountants.errors import BudgetError, PolicyError
from accountants.ledger.rows import Row, corrupt
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
        model: digest of the committed model.
        charged: events the run asked for, as the commit recorded them: ``{"plan": [...], "frame": [...]}``.
            What they sum to is not a guarantee; the charge is.
        reason: why it was forfeited.
        draws: table digests drawn from its model, in order.
    """

    id: str
    status: Status
    charge: Charge
    _claim: Mapping[str, Any] = field(repr=False)
    model: str | None = None
    charged: Mapping[str, Any] | None = None
    reason: ReasonCode | None = None
    draws: tuple[str, ...] = ()

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
    def costs(self) -> bool:
        """Whether it counts against the lifetime budget."""
        return self.status is not Status.VOIDED


@final
@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as its rows say.

    Attributes:
        dataset: its id.
        lifetime: the budget and the filter that guards it.
        policy: the policy it was opened with, if any.
        spent: charges of all releases that are not voided.
        releases: by id, in order of reservation.
        draws: the first draw row of each table digest.
    """

    dataset: str
    lifetime: Lifetime
    policy: Policy | None = None
    spent: Charge = field(default_factory=Charge)
    releases: Mapping[str, ReleaseState] = field(default_factory=lambda: MappingProxyType({}))
    draws: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))

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
        """The cap fixed at opening; None for a `sum` account."""
        return self.lifetime.mu_squared

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
    def running(self) -> ReleaseState | None:
        """The release that runs, or whose process died."""
        return next((release for release in self.releases.values() if release.status is Status.RUNNING), None)

    @property
    def unit(self) -> PrivacyUnit | None:
        """The privacy unit of the first release that was not voided; all later ones share its column."""
        return next((release.unit for release in self.releases.values() if release.costs), None)

    def remaining_epsilon(self, delta: float | str | Decimal) -> Decimal:
        """The largest epsilon one more release at `delta` may declare; 0 where none is admitted.

        Raises:
            BudgetError: delta is not above 0 and below 1.
        """
        return self.lifetime.remaining_epsilon(self.spent, delta)

    def spent_on(self, *, purpose: str | None = None, recipient: str | None = None) -> Charge:
        """Charges of the releases under one label."""
        return Charge.total(
            release.charge
            for release in self.releases.values()
            if release.costs
            and (purpose is None or release.purpose == purpose)
            and (recipient is None or release.recipient == recipient)
        )


@final
class Fold:
    """Applies rows to accounts, one after another, and refuses a row that cannot follow those before it.

    Args:
        accounts: states to go on from. They are not changed.
    """

    def __init__(self, accounts: Mapping[str, AccountState] | None = None) -> None:
        self._accounts: dict[str, AccountState] = dict(accounts or {})
        self._releases: dict[str, dict[str, ReleaseState]] = {}
        self._draws: dict[str, dict[str, Row]] = {}
        self._spent: dict[str, Charge] = {}

    def apply(self, row: Row, body: Mapping[str, Any]) -> None:
        """Take one verified row.

        Raises:
            LedgerCorrupt: the row cannot follow: its account is not open, its release is in another state, its
                charge exceeds the lifetime budget. No session writes such a row.
        """
        try:
            if row.kind == "open":
                self._open(row, body)
            else:
                self._thaw(row)
                self._step(row, body)
        except (BudgetError, PolicyError, KeyError, TypeError, ValueError, AttributeError):
            raise corrupt(row.seq, f"its body does not describe a {row.kind!r}") from None

    def states(self) -> Mapping[str, AccountState]:
        """The accounts as of the last row."""
        for name, releases in self._releases.items():
            self._accounts[name] = replace(
                self._accounts[name],
                spent=self._spent[name],
                releases=MappingProxyType(releases),
                draws=MappingProxyType(self._draws[name]),
            )
        self._releases, self._draws, self._spent = {}, {}, {}
        return MappingProxyType(dict(self._accounts))

    def _open(self, row: Row, body: Mapping[str, Any]) -> None:
        if row.account in self._accounts:
            raise corrupt(row.seq, f"it opens {row.account!r} a second time")
        policy = None if body["policy"] is None else Policy.from_json(body["policy"])
        self._accounts[row.account] = AccountState(row.account, Lifetime.from_json(body["lifetime"]), policy)

    def _thaw(self, row: Row) -> None:
        """Copy an account's dicts on its first change, so that states handed out before stay as they were."""
        name = row.account
        if name not in self._accounts:
            raise corrupt(row.seq, f"its account {name!r} was never opened")
        if name not in self._releases:
            state = self._accounts[name]
            self._releases[name], self._draws[name] = dict(state.releases), dict(state.draws)
            self._spent[name] = state.spent

    def _step(self, row: Row, body: Mapping[str, Any]) -> None:
        name, release_id = row.account, str(body["release"])
        releases = self._releases[name]
        if row.kind == "reserve":
            if release_id in releases:
                raise corrupt(row.seq, f"it reserves release {release_id!r} a second time")
            charge = Charge.from_json(body["charge"])
            if not self._accounts[name].lifetime.admits(self._spent[name], charge):
                raise corrupt(row.seq, "its charge exceeds what the lifetime budget had left")
            self._spent[name] = self._spent[name] + charge
            releases[release_id] = ReleaseState(release_id, Status.RESERVED, charge, body["claim"])
            return
        release = releases.get(release_id)
        wanted = _BEFORE[row.kind]
        if release is None or release.status is not wanted:
            found = "never reserved" if release is None else release.status.value
            raise corrupt(row.seq, f"a {row.kind!r} needs a release that is {wanted.value}; this one is {found}")
        match row.kind:
            case "start":
                release = replace(release, status=Status.RUNNING)
            case "void":
                release = replace(release, status=Status.VOIDED)
            case "forfeit":
                release = replace(release, status=Status.FORFEITED, reason=ReasonCode(body["reason"]))
            case "commit":
                charged = {"plan": list(body["charged"]["plan"]), "frame": list(body["charged"]["frame"])}
                release = replace(release, status=Status.COMMITTED, model=str(body["model"]), charged=charged)
            case "draw":
                if body["model"] != release.model:
                    raise corrupt(row.seq, "it draws from a model that its release did not commit")
                table = str(body["table"])
                self._draws[name].setdefault(table, row)
                release = replace(release, draws=(*release.draws, table))
        releases[release_id] = release
        if row.kind == "void":
            # Summed again, not subtracted: a rounded sum less one of its parts is not the sum of the others.
            self._spent[name] = Charge.total(each.charge for each in releases.values() if each.costs)


_BEFORE = {
    "start": Status.RESERVED,
    "void": Status.RESERVED,
    "commit": Status.RUNNING,
    "forfeit": Status.RUNNING,
    "draw": Status.COMMITTED,
}


def fold(rows: Iterable[Row]) -> Mapping[str, AccountState]:
    """The accounts that verified `rows` make, from nothing.

    Raises:
        LedgerCorrupt: a row cannot follow those before it.
    """
    folding = Fold()
    for row in rows:
        folding.apply(row, row.body)
    return folding.states()

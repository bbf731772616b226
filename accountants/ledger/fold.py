"""From rows to accounts: each row is applied to the state before it, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from decimal import Context, Inexact, InvalidOperation, Overflow
from typing import Any, Literal, final

from accountants.errors import BudgetError, PolicyError
from accountants.ledger.frozen_map import FrozenMap
from accountants.ledger.rows import Row, corrupt
from accountants.ledger.state import AccountState, ReasonCode, ReleaseState, Status, Tally
from accountants.lifetime import Charge, Lifetime
from accountants.policy import Policy

_EXACT = Context(prec=2000, traps=[Inexact, InvalidOperation, Overflow])
"""Sums of charges are exact, so that a void gives back what was charged, to the last digit, and in any order."""

_BEFORE = {
    "start": Status.RESERVED,
    "void": Status.RESERVED,
    "commit": Status.RUNNING,
    "forfeit": Status.RUNNING,
    "draw": Status.COMMITTED,
    "read": Status.COMMITTED,
}


@final
class Fold:
    """Applies rows to accounts, one after another, and refuses a row that cannot follow those before it.

    Args:
        accounts: states to go on from. They are not changed.
    """

    def __init__(self, accounts: FrozenMap[str, AccountState] | None = None) -> None:
        self._accounts: FrozenMap[str, AccountState] = FrozenMap() if accounts is None else accounts
        self._changing: dict[str, _Changing] = {}

    def apply(self, row: Row, body: Mapping[str, Any]) -> None:
        """Take one verified row.

        Raises:
            LedgerCorrupt: the row cannot follow: its account is not open, its release is in another state, its
                charge exceeds the lifetime budget, an amendment narrows it. No session writes such a row.
        """
        account = self._account(row.account)
        try:
            if row.kind == "open":
                if account is not None:
                    raise corrupt(row.seq, f"it opens {row.account!r} a second time")
                self._changing[row.account] = _Changing(AccountState(row.account, *_terms(body)))
            elif account is None:
                raise corrupt(row.seq, f"its account {row.account!r} was never opened")
            else:
                account.apply(row, body)
        except (BudgetError, PolicyError, ArithmeticError, KeyError, TypeError, ValueError, AttributeError):
            raise corrupt(row.seq, f"its body does not describe a {row.kind!r}") from None

    def states(self) -> FrozenMap[str, AccountState]:
        """The accounts as of the last row."""
        self._accounts = self._accounts.updated({name: each.state() for name, each in self._changing.items()})
        self._changing = {}
        return self._accounts

    def _account(self, name: str) -> _Changing | None:
        if name not in self._changing and name in self._accounts:
            self._changing[name] = _Changing(self._accounts[name])
        return self._changing.get(name)


@final
class _Changing:
    """One account while rows are applied: its state before, and what has changed since."""

    def __init__(self, before: AccountState) -> None:
        self._before = before
        self._lifetime, self._policy, self._amendments = before.lifetime, before.policy, before.amendments
        self._releases: dict[str, ReleaseState] = {}
        self._draws: dict[str, Row] = {}
        self._by_labels: dict[tuple[str | None, str | None], Charge] = {}
        tally = before.tally
        self._spent, self._costing, self._running, self._unit = tally.spent, tally.costing, tally.running, tally.unit

    def state(self) -> AccountState:
        """The account as of the last row applied."""
        before, tally = self._before, self._before.tally
        by_labels = tally.by_labels.updated(self._by_labels)
        return AccountState(
            before.dataset,
            self._lifetime,
            self._policy,
            self._amendments,
            before.releases.updated(self._releases),
            before.draws.updated(self._draws),
            Tally(self._spent, by_labels, self._costing, self._running, self._unit),
        )

    def apply(self, row: Row, body: Mapping[str, Any]) -> None:
        """Any row but an opening one."""
        if row.kind == "amend":
            self._amend(row, body)
        elif row.kind == "reserve":
            self._reserve(row, body)
        else:
            self._step(row, body)

    def _amend(self, row: Row, body: Mapping[str, Any]) -> None:
        lifetime, policy = _terms(body)
        if not _widens(self._lifetime, lifetime):
            raise corrupt(row.seq, "its lifetime is not at least as wide as the one it amends")
        self._lifetime, self._policy, self._amendments = lifetime, policy, self._amendments + 1

    def _reserve(self, row: Row, body: Mapping[str, Any]) -> None:
        release_id, claim = str(body["release"]), body["claim"]
        if self._release(release_id) is not None:
            raise corrupt(row.seq, f"it reserves release {release_id!r} a second time")
        charge = Charge.from_json(body["charge"])
        if not self._lifetime.admits(Charge.total([self._spent]), charge):
            raise corrupt(row.seq, "its charge exceeds what the lifetime budget had left")
        release = ReleaseState(release_id, Status.RESERVED, charge, claim)
        self._releases[release_id], self._unit = release, claim["unit"]
        self._count(release, "add")

    def _step(self, row: Row, body: Mapping[str, Any]) -> None:
        release_id, wanted = str(body["release"]), _BEFORE[row.kind]
        release = self._release(release_id)
        if release is None or release.status is not wanted:
            found = "never reserved" if release is None else release.status.value
            raise corrupt(row.seq, f"a {row.kind!r} needs a release that is {wanted.value}; this one is {found}")
        match row.kind:
            case "start":
                if self._running is not None:
                    raise corrupt(row.seq, f"it starts while release {self._running!r} is running")
                release, self._running = replace(release, status=Status.RUNNING), release_id
            case "void":
                release = replace(release, status=Status.VOIDED)
                self._count(release, "subtract")
            case "forfeit":
                release = replace(release, status=Status.FORFEITED, reason=ReasonCode(body["reason"]))
                self._running = None
            case "commit":
                charged = {"plan": list(body["charged"]["plan"]), "frame": list(body["charged"]["frame"])}
                model = None if body["model"] is None else str(body["model"])
                release = replace(release, status=Status.COMMITTED, model=model, charged=charged)
                self._running = None
            case "draw":
                if release.model is None or body["model"] != release.model:
                    raise corrupt(row.seq, "it draws from a model that its release did not commit")
                table = str(body["table"])
                if table not in self._before.draws:
                    self._draws.setdefault(table, row)
                release = replace(release, draws=(*release.draws, table))
            case "read":
                if body["table"] not in release.draws:
                    raise corrupt(row.seq, "it reads about a table that was not drawn from its release")
                release = replace(release, reads=release.reads + 1)
        self._releases[release_id] = release

    def _release(self, release_id: str) -> ReleaseState | None:
        return self._releases.get(release_id) or self._before.releases.get(release_id)

    def _count(self, release: ReleaseState, way: Literal["add", "subtract"]) -> None:
        labels = (release.purpose, release.recipient)
        counted = self._by_labels.get(labels) or self._before.tally.by_labels.get(labels) or Charge()
        self._by_labels[labels] = _exactly(counted, way, release.charge)
        self._spent = _exactly(self._spent, way, release.charge)
        self._costing += 1 if way == "add" else -1


def fold(rows: Iterable[Row]) -> FrozenMap[str, AccountState]:
    """The accounts that verified `rows` make, from nothing.

    Raises:
        LedgerCorrupt: a row cannot follow those before it.
    """
    folding = Fold()
    for row in rows:
        folding.apply(row, row.body)
    return folding.states()


def _terms(body: Mapping[str, Any]) -> tuple[Lifetime, Policy | None]:
    return Lifetime.from_json(body["lifetime"]), None if body["policy"] is None else Policy.from_json(body["policy"])


def _widens(old: Lifetime, new: Lifetime) -> bool:
    """Whether no figure shrinks, so that everything that `old` admits, `new` admits."""
    if old.filter != new.filter or (new.mu_squared or 0) < (old.mu_squared or 0) or new.delta0 < old.delta0:
        return False
    return new.budget.epsilon >= old.budget.epsilon and new.budget.delta >= old.budget.delta


def _exactly(total: Charge, way: Literal["add", "subtract"], charge: Charge) -> Charge:
    figures = (field.name for field in fields(Charge))
    operate = getattr(_EXACT, way)
    return Charge(**{name: operate(getattr(total, name), getattr(charge, name)) for name in figures})

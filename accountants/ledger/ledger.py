"""The ledger: signed, chained rows behind every account, verified before anything is believed."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from types import EllipsisType
from typing import Any, NoReturn, final

from sqlalchemy import Connection

from accountants.budget import Budget
from accountants.claim import Claim
from accountants.domination import tolerance
from accountants.errors import AccountingError, LedgerCorrupt, LedgerError, UnknownDataset
from accountants.keys import PublicKey, SigningKey
from accountants.ledger.account import Account
from accountants.ledger.anchor import Head, open_anchor
from accountants.ledger.fold import Fold
from accountants.ledger.frozen_map import FrozenMap
from accountants.ledger.lock import RunLock
from accountants.ledger.rows import GENESIS, Row, checked_dataset, corrupt, now, verified
from accountants.ledger.state import AccountState
from accountants.ledger.store import Store
from accountants.lifetime import Charge, Lifetime
from accountants.policy import Policy


@final
@dataclass(frozen=True, slots=True)
class View:
    """Rows verified so far: the head of the chain, and the accounts they fold into."""

    head: Head = (0, GENESIS)
    accounts: FrozenMap[str, AccountState] = field(default_factory=FrozenMap)

    def extended(self, rows: Iterable[tuple[Row, dict[str, Any]]]) -> View:
        """The view after more verified rows."""
        fold, last = Fold(self.accounts), None
        for row, body in rows:
            fold.apply(row, body)
            last = row
        return self if last is None else View((last.seq, last.hash), fold.states())


@final
class Draft:
    """Rows being appended in one write transaction; the view already counts them."""

    def __init__(self, store: Store, connection: Connection, view: View, key: SigningKey | None) -> None:
        self._store, self._connection, self._key = store, connection, key
        self.view = view

    def state(self, dataset: str) -> AccountState:
        """The account as of the last row appended."""
        return _account(self.view, dataset)

    def append(self, dataset: str, kind: str, body: Mapping[str, Any]) -> Row:
        """Sign and insert one row.

        Raises:
            LedgerError: no signing key, or a body that its kind does not allow.
        """
        if self._key is None:
            raise LedgerError("this ledger was opened without a signing key and is read only; pass the key")
        row = Row.signed(self.view.head[0] + 1, dataset, kind, body, self.view.head[1], self._key)
        self.view = self.view.extended([(row, row.body)])
        self._store.insert(self._connection, row)
        return row


@final
class Ledger:
    """All accounts in one append-only, hash-chained, signed table.

    Args:
        url: ``sqlite:///path.db`` or ``postgresql://user@host/database``, made where there is none, or ``sqlite://``
            for one in memory.
        key: signs new rows. None reads only, and makes nothing: no file, no table, no anchor. A ledger in memory then
            makes a key of its own.
        trusted: public keys, by key id, whose rows are believed; `key` always is.
        anchor: a file kept elsewhere, or the address of a second database, that holds the last (seq, hash).

    Raises:
        LedgerError: the address, file, folder or server cannot be used; it is not a ledger, or a newer one; or none is
            there, and there is no key to make one with.
        LedgerBusy: another program holds it.

    **Guarantee.** Every figure comes from rows whose chain and signatures were verified, back to the first.
    Editing, inserting, removing or reordering rows is detected without the key. Cutting off the newest rows
    (an older copy put back) is detected with an anchor, or by a process that has seen them; else it is not.
    """

    def __init__(
        self,
        url: str = "sqlite://",
        key: SigningKey | None = None,
        trusted: Mapping[str, PublicKey] | None = None,
        anchor: Path | str | None = None,
    ) -> None:
        self._store = Store(url, make=key is not None)
        self._key = SigningKey.generate() if key is None and self._store.in_memory else key
        self._trusted = dict(trusted or {})
        if self._key is not None:
            self._trusted[self._key.public.key_id] = self._key.public
        self._anchor = None if anchor is None else open_anchor(anchor, self._store.database, make=self._key is not None)
        self._view = View()
        self._mutex = threading.RLock()
        self._plant()

    @property
    def place(self) -> str:
        """Where the ledger is, for messages."""
        return self._store.place

    @property
    def in_memory(self) -> bool:
        """Whether it ends with this process."""
        return self._store.in_memory

    @property
    def key(self) -> SigningKey | None:
        """What signs new rows and certificates; None where the ledger is read only."""
        return self._key

    @property
    def rollback_detectable(self) -> bool:
        """Whether an older copy put back is detected: whether there is an anchor."""
        return self._anchor is not None

    @property
    def head(self) -> Head:
        """(seq, hash) of the last row; ``(0, 64 zeros)`` where there is none.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        return self._refreshed().head

    def open(
        self,
        dataset: str,
        budget: Budget,
        filter: str = "gdp",
        policy: Policy | None = None,
        *,
        delta0: Decimal | float | str = Decimal(0),
    ) -> Account:
        """Open a dataset's account, once and for all, with its lifetime budget.

        Args:
            dataset: 1 to 64 letters, digits, ``. _ -``. Declared; never derived from a path or from content.
            budget: all that may ever be spent on it.
            filter: ``gdp``, where many releases share best, or ``sum`` of declared epsilon and delta.
            policy: holds for every reservation of the account, beside whatever a session asks for.
            delta0: the part of a `gdp` budget's delta that is set aside for releases that need some.

        Raises:
            LedgerError: it is open already, or the id is malformed.
            BudgetError, PlanError: no such filter, or a budget that delta0 or the samplers' slack eats.
        """
        checked_dataset(dataset)
        lifetime = Lifetime.of(budget, filter, delta0)
        with self.writing() as draft:
            standing = draft.view.accounts.get(dataset)
            if standing is not None:
                raise LedgerError(
                    f"dataset {dataset!r} is open already, for {standing.budget}, filter {standing.filter!r}; "
                    "widen it with `dpsynth ledger amend`, see `dpsynth ledger show`"
                )
            draft.append(dataset, "open", _terms(lifetime, policy))
        return Account(self, dataset)

    def amend(
        self,
        dataset: str,
        *,
        budget: Budget | None = None,
        delta0: Decimal | float | str | None = None,
        policy: Policy | EllipsisType | None = ...,
    ) -> Account:
        """Widen a dataset's lifetime budget, or replace its policy, in a signed row. What is left out stays.

        Args:
            dataset: an open account.
            budget: the new declared budget; by default the old one, its delta raised by what `delta0` grows.
            delta0: the new delta0 of a `gdp` account.
            policy: the new policy, stricter or looser; None for none.

        Raises:
            BudgetError: no figure may shrink, be it a cap or the declared budget. A filter that only grows keeps the
                guarantee of its last, widest region; one cap traded for another after outputs were seen keeps none.
            LedgerError: nothing would change; or the store fails.
            UnknownDataset: no such account.
        """
        with self.writing() as draft:
            standing = draft.state(dataset)
            lifetime = standing.lifetime
            if budget is not None or delta0 is not None:
                lifetime = lifetime.widened(budget, delta0)
            rule = standing.policy if isinstance(policy, EllipsisType) else policy
            if (lifetime, rule) == (standing.lifetime, standing.policy):
                raise LedgerError(
                    f"this changes nothing on dataset {dataset!r} ({standing.budget}, delta0 {lifetime.delta0:.3g}); "
                    "give a larger budget or delta0, or another policy"
                )
            draft.append(dataset, "amend", _terms(lifetime, rule))
        return Account(self, dataset)

    def adopt_anchor(self, anchor: Path | str) -> Head:
        """Give a ledger that has rows its anchor: verify all of it, then plant the anchor at the head.

        Where an anchor stands there already, it must agree with the chain, and is brought forward.

        Returns:
            The head.

        Raises:
            LedgerCorrupt: the ledger does not verify, or an anchor stands there that disagrees with it.
            LedgerError, LedgerBusy: the ledger cannot be read, or the anchor written.
        """
        chosen = open_anchor(anchor, self._store.database)
        with self._mutex:
            standing = chosen.read()  # before the rows, as ever
            head = self.verify()
            with self._store.read() as connection:
                self._agree(connection, head, standing or (0, GENESIS))
            chosen.advance(head)
            self._anchor = chosen
            return head

    def account(self, dataset: str) -> Account:
        """The account of a dataset that was opened.

        Raises:
            UnknownDataset: it was not; the message names those that were.
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        self.state(dataset)
        return Account(self, dataset)

    def datasets(self) -> tuple[str, ...]:
        """Datasets in the order of opening.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        return tuple(self._refreshed().accounts)

    def state(self, dataset: str) -> AccountState:
        """An account's state as of now; see `Account.state`."""
        return _account(self._refreshed(), dataset)

    def rows(self, dataset: str | None = None) -> tuple[Row, ...]:
        """All rows, or those of one dataset, the whole chain verified from the first.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        kept: list[Row] = []
        with self._mutex, self._store.read() as connection:
            for row, _ in verified(self._store.after(connection, 0), View().head, self._trusted):
                if dataset is None or row.account == dataset:
                    kept.append(row)
        return tuple(kept)

    def verify(self) -> Head:
        """Check everything again from the first row: chain, signatures, transitions, charges and the anchor.

        Returns:
            The head.

        Raises:
            LedgerCorrupt: which row, and what is wrong.
            LedgerError, LedgerBusy: the ledger cannot be read.
        """
        with self._mutex:
            self._refreshed()  # what this process has believed must still be there
            with self._store.read() as connection:
                self._view = self._current(connection, View(), deep=True)
            return self._view.head

    def run_lock(self, dataset: str) -> RunLock:
        """A handle on the lock that one running session of a dataset holds."""
        return self._store.run_lock(dataset)

    @contextmanager
    def writing(self) -> Iterator[Draft]:
        """One write transaction over a verified, current view; all its rows are appended, or none.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or written. Where only the anchor
                cannot be written, the rows are on record and the message says so.
        """
        with self._mutex:
            if self._anchor is not None:
                self._anchor.check_writable()
            with self._store.write() as connection:
                view = self._current(connection, self._view)
                draft = Draft(self._store, connection, view, self._key)
                yield draft
            self._view = draft.view
            if self._anchor is not None:
                self._anchor.advance(self._view.head)

    def _refreshed(self) -> View:
        with self._mutex:
            with self._store.read() as connection:
                self._view = self._current(connection, self._view)
            return self._view

    def _current(self, connection: Connection, view: View, *, deep: bool = False) -> View:
        """`view` brought up to date. The anchor is read first: rows read after it are at least as new."""
        anchored = self._anchor.read() if self._anchor is not None else None
        seq, digest = view.head
        if seq and self._store.hash_at(connection, seq) != digest:
            raise corrupt(seq, "this process has read another row there (the ledger was rolled back or replaced)")
        rows = verified(self._store.after(connection, seq), view.head, self._trusted, every_signature=deep)
        view = view.extended(_charges_checked(rows) if deep else rows)
        if self._anchor is not None:
            self._check_anchor(connection, view, anchored)
        return view

    def _check_anchor(self, connection: Connection, view: View, anchored: Head | None) -> None:
        assert self._anchor is not None
        anchored = anchored or self._anchor.read()  # planted since, by the process that wrote the first rows
        if anchored is None:
            if self._key is None and not view.head[0]:  # made by nobody yet, and a reader makes none
                return
            raise LedgerCorrupt(
                f"the anchor {self._anchor.place} is missing but the ledger has {view.head[0]} rows; restore the "
                "anchor from where it was; if this ledger never had one, `dpsynth --anchor WHERE ledger anchor` plants "
                "it"
            )
        self._agree(connection, view.head, anchored)
        if anchored[0] < view.head[0] and self._key is not None:  # a process died between its commit and its anchor
            with suppress(LedgerError):
                self._anchor.advance(view.head)

    def _agree(self, connection: Connection, head: Head, anchored: Head) -> None:
        seq, digest = anchored
        if seq > head[0] or digest != (self._store.hash_at(connection, seq) if seq else GENESIS):
            raise LedgerCorrupt(
                f"the ledger was rolled back, forked or replaced: the anchor names row {seq} ({digest[:16]}), "
                f"which is not in its chain of {head[0]} rows; restore the newest copy of the ledger"
            )

    def _plant(self) -> None:
        """Write the anchor of an empty ledger, so that a missing one is always a reason to stop."""
        if self._anchor is None or self._key is None:
            return
        with self._store.read() as connection:
            empty = next(self._store.after(connection, 0), None) is None
        if empty and self._anchor.read() is None:
            self._anchor.advance((0, GENESIS))

    def __repr__(self) -> str:
        return f"Ledger({self.place})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ledger is not pickled or copied; open it again by its address")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


def _account(view: View, dataset: str) -> AccountState:
    state = view.accounts.get(dataset)
    if state is None:
        near = difflib.get_close_matches(dataset, view.accounts, n=1)
        opened = ", ".join(sorted(view.accounts)) or "none"
        what = f"no account is open for dataset {dataset!r}"
        if near:
            raise UnknownDataset(f"{what}; did you mean {near[0]!r}? (open: {opened})")
        raise UnknownDataset(
            f"{what} (open: {opened}); open one with `dpsynth ledger open {dataset} --epsilon 3 --delta 1e-8`"
        )
    return state


def _terms(lifetime: Lifetime, policy: Policy | None) -> dict[str, Any]:
    """The body of a row that sets an account's terms."""
    return {"at": now(), "lifetime": lifetime.to_json(), "policy": None if policy is None else policy.to_json()}


def _charges_checked(rows: Iterable[tuple[Row, dict[str, Any]]]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Pass rows on, each cap held against its budget and each reservation's charge against its claim."""
    for row, body in rows:
        if row.kind in ("open", "amend"):
            try:
                lifetime = Lifetime.from_json(body["lifetime"])
            except (AccountingError, ArithmeticError, KeyError, TypeError, ValueError):
                raise corrupt(row.seq, "its lifetime cannot be read") from None
            if not lifetime.sound:
                raise corrupt(row.seq, "its cap is above what its budget allows")
        elif row.kind == "reserve":
            try:
                claim, charged = Claim.from_json(body["claim"]), Charge.from_json(body["charge"])
                due, room = Charge.of(claim), 1 + tolerance(claim.events)
            except (AccountingError, ArithmeticError, KeyError, TypeError, ValueError):
                raise corrupt(row.seq, "its claim cannot be read") from None
            if any(getattr(due, each.name) > getattr(charged, each.name) * room for each in fields(Charge)):
                raise corrupt(row.seq, "its charge is below its claim's cost")
        yield row, body

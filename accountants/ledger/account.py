"""An account: one dataset's lifetime budget, and everything that was asked of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, final

from accountants.claim import Claim
from accountants.errors import LedgerBusy, LedgerCorrupt, LedgerError
from accountants.gate import decide, decide_draw, decide_release
from accountants.ledger.lock import RunLock
from accountants.ledger.reservation import Reservation
from accountants.ledger.rows import Row, checked_digest, now, today
from accountants.ledger.state import AccountState, ReasonCode, Status
from accountants.policy import DEFAULT_POLICY, Policy
from accountants.verdict import Admitted, Refused

if TYPE_CHECKING:
    from accountants.ledger.ledger import Draft, Ledger


@final
class Account:
    """What `Ledger.account` returns: a name and its ledger. It holds no figures of its own.

    Attributes:
        dataset: the dataset's id.
        ledger: where its rows are.
    """

    __slots__ = ("dataset", "ledger")

    def __init__(self, ledger: Ledger, dataset: str) -> None:
        self.ledger = ledger
        self.dataset = dataset

    @property
    def state(self) -> AccountState:
        """The account as of now, folded from verified rows.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        return self.ledger.state(self.dataset)

    def remaining_epsilon(self, delta: float | str | Decimal) -> Decimal:
        """The largest epsilon one more release at `delta` may declare; 0 where none is admitted.

        Raises:
            BudgetError: delta is not above 0 and below 1.
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        return self.state.remaining_epsilon(delta)

    def reserve(self, claim: Claim, policy: Policy = DEFAULT_POLICY) -> Reservation:
        """Charge a claim's whole capacity, atomically with the decision. A refusal leaves no row and costs nothing.

        A run found dead is recorded as crashed on the way; its cost stays.

        Raises:
            GateRefused: the gate said no.
            LedgerBusy: a session runs on this dataset, or the store is locked; nothing is charged.
            LedgerCorrupt, LedgerError: the ledger cannot be trusted or written.

        **Guarantee.** In any number of processes, what all reservations of an account cost together never
        exceeds its lifetime budget.
        """
        # Costly figures first, off the write lock; the decision that counts is the one inside it.
        _settled(decide(claim, self.state, policy))
        release_id = secrets.token_hex(16)
        with self.ledger.writing() as draft:
            self._bury(draft)
            charge = _settled(decide(claim, draft.state(self.dataset), policy)).charge
            body = {"at": now(), "release": release_id, "claim": claim.to_json(), "charge": charge.to_json()}
            draft.append(self.dataset, "reserve", body)
        return Reservation(self, release_id, claim)

    def void(self, release_id: str) -> Row:
        """Give back a reservation that never started, uncharged, whoever made it.

        Raises:
            LedgerError: there is none, it was started, or has ended; or the store fails.
        """
        with self.ledger.writing() as draft:
            self._expect(draft, release_id, Status.RESERVED, "void")
            return draft.append(self.dataset, "void", {"release": release_id})

    def draw(
        self, release_id: str, model_digest: str, table_digest: str, rows: int | None, given: Sequence[str] = ()
    ) -> Row:
        """Record a table drawn from a committed model. It costs nothing; drawing the same again changes nothing.

        Args:
            release_id, model_digest: the committed release and its model.
            table_digest: sha256 of the drawn table.
            rows: its number of rows, a declared or a noisy figure; None where the model chose.
            given: columns that were given, not drawn.

        Raises:
            GateRefused: the release did not commit that model.
            LedgerError: a digest is malformed, or the store fails.
        """
        body = {
            "release": release_id,
            "model": checked_digest("model", model_digest),
            "table": checked_digest("table", table_digest),
            "rows": rows,
            "given": list(given),
        }
        with self.ledger.writing() as draft:
            state = draft.state(self.dataset)
            _settled(decide_draw(release_id, model_digest, state))
            before = state.draws.get(table_digest)
            if before is not None and body.items() <= before.body.items():
                return before
            return draft.append(self.dataset, "draw", {"on": today(), **body})

    def read(self, table_digest: str) -> Row:
        """Note that somebody asks for a private report about a released table: one computed from real rows.

        It costs nothing, since nothing of it may leave; but what is chosen after reading it rests on a look that no
        guarantee covers, so certificates issued from here on say that it was read. Called before anything is computed.

        Args:
            table_digest: sha256 of a table drawn from a committed model of this account.

        Raises:
            LedgerError: no release of this account drew that table, or the store fails.
        """
        table = checked_digest("table", table_digest)
        with self.ledger.writing() as draft:
            drawn = draft.state(self.dataset).draws.get(table)
            if drawn is None:
                raise LedgerError(
                    f"table {table[:16]} is on no draw of dataset {self.dataset!r}; a private report is made of a "
                    "release of this account, with the ledger that it was charged to"
                )
            return draft.append(self.dataset, "read", {"on": today(), "release": drawn.body["release"], "table": table})

    def find_table(self, table_digest: str) -> Row | None:
        """The first draw row of a table, None where no row of this account names it.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        return self.state.draws.get(table_digest)

    def decide_release(
        self, table_digest: str, model_digest: str, policy: Policy = DEFAULT_POLICY, *, numerics: str = "exact"
    ) -> Admitted | Refused:
        """Whether a table may leave, by the whole chain as verified now.

        Raises:
            LedgerError, LedgerBusy: the ledger cannot be read. A broken chain is a refusal, not an error.
        """
        try:
            self.ledger.verify()
            state: AccountState | None = self.state
        except LedgerCorrupt:
            state = None
        return decide_release(table_digest, model_digest, state, policy, numerics=numerics)

    def _run_lock(self) -> RunLock:
        return self.ledger.run_lock(self.dataset)

    def _start(self, release_id: str) -> None:
        """Append the start row; the caller holds the run lock, so a run on record besides is dead."""
        with self.ledger.writing() as draft:
            running = draft.state(self.dataset).running
            if running is not None:
                self._forfeit(draft, running.id, ReasonCode.CRASHED)
            self._expect(draft, release_id, Status.RESERVED, "start")
            draft.append(self.dataset, "start", {"release": release_id})

    def _end(self, release_id: str, kind: str, body: Mapping[str, Any]) -> Row:
        with self.ledger.writing() as draft:
            self._expect(draft, release_id, Status.RUNNING, kind)
            return draft.append(self.dataset, kind, body)

    def _abandon(self, release_id: str, reason: ReasonCode) -> None:
        with self.ledger.writing() as draft:
            release = draft.state(self.dataset).releases.get(release_id)
            if release is not None and release.status is Status.RUNNING:
                self._forfeit(draft, release_id, reason)
            elif release is not None and release.status is Status.RESERVED:
                draft.append(self.dataset, "void", {"release": release_id})

    def _bury(self, draft: Draft) -> None:
        """Record a run whose process died. Under the write lock, a `running` row with a free run lock is dead.

        Raises:
            LedgerBusy: it lives.
        """
        running = draft.state(self.dataset).running
        if running is None:
            return
        lock = self._run_lock()
        if not lock.acquire():
            raise LedgerBusy(
                f"another session is running on dataset {self.dataset!r}; nothing is charged, try again when it is done"
            )
        try:
            self._forfeit(draft, running.id, ReasonCode.CRASHED)
        finally:
            lock.release()

    def _forfeit(self, draft: Draft, release_id: str, reason: ReasonCode) -> None:
        draft.append(self.dataset, "forfeit", {"release": release_id, "reason": reason.value})

    def _expect(self, draft: Draft, release_id: str, wanted: Status, verb: str) -> None:
        release = draft.state(self.dataset).releases.get(release_id)
        if release is None or release.status is not wanted:
            if release is None:
                raise LedgerError(
                    f"there is no release {release_id} on dataset {self.dataset!r}; see `dpsynth ledger show "
                    f"{self.dataset}`"
                )
            raise LedgerError(
                f"cannot {verb} release {release_id} of dataset {self.dataset!r}: it is {release.status.value}, "
                f"and must be {wanted.value}"
            )

    def __repr__(self) -> str:
        return f"Account({self.dataset!r})"


def _settled(decision: Admitted | Refused) -> Admitted:
    if isinstance(decision, Refused):
        decision.raise_()
    return decision

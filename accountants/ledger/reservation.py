"""One reserved release: started once, then committed or forfeited; charged whole from the moment it exists."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn, final

from accountants.claim import Claim
from accountants.errors import LedgerBusy, LedgerError
from accountants.events import Event
from accountants.filters import Meter
from accountants.ledger.lock import RunLock
from accountants.ledger.rows import Row, checked_digest
from accountants.ledger.state import ReasonCode, Status
from accountants.plan import FixedPlan

if TYPE_CHECKING:
    from accountants.ledger.account import Account

_START_WAIT = 0.5
"""Seconds to wait for the run lock: longer than another session probes it for, shorter than any run."""


@final
class Reservation:
    """What `Account.reserve` returns. It belongs to the process that reserved, and is never pickled or copied.

    Keep it as long as the run lasts: with it go the run lock and the meters, and the run counts as crashed.

    Attributes:
        id: random hex, as the ledger records it.
        claim: what was reserved.

    **Guarantee.** The claim's whole capacity is on the ledger before `start` hands out a meter, and stays
    there unless the reservation is voided before it starts. No meter of this release is handed out twice.
    """

    __slots__ = ("_account", "_frame_meter", "_lock", "_meter", "_pid", "claim", "id")

    def __init__(self, account: Account, release_id: str, claim: Claim) -> None:
        self.id = release_id
        self.claim = claim
        self._account = account
        self._pid = os.getpid()
        self._meter: Meter | None = None
        self._frame_meter: Meter | None = None
        self._lock: RunLock | None = None

    @property
    def status(self) -> Status:
        """Where the ledger says it stands."""
        return self._account.state.releases[self.id].status

    @property
    def frame_meter(self) -> Meter | None:
        """The meter of the frame's looks once started; None where the claim has no frame."""
        return self._frame_meter

    def start(self) -> Meter:
        """Take the dataset's run lock, put the start on record and hand out the plan's meter, once.

        Raises:
            LedgerBusy: another session runs on the dataset; the reservation was voided, nothing is charged.
            LedgerError: it is not reserved (any more), or the store fails.
        """
        self._own()
        if self._lock is not None or self._meter is not None:
            raise LedgerError(f"release {self.id} was started already; a reservation runs once, reserve another")
        lock = self._account._run_lock()
        if not lock.acquire(_START_WAIT):
            self.void()
            raise LedgerBusy(
                f"another session is running on dataset {self._account.dataset!r}; the reservation was voided and "
                "nothing is charged, try again when it is done"
            )
        self._lock = lock
        try:
            self._account._start(self.id)
        except BaseException:
            self._let_go()
            raise
        self._frame_meter = Meter(FixedPlan(self.claim.frame)) if self.claim.frame else None
        self._meter = Meter(self.claim.plan)
        return self._meter

    def void(self) -> Row:
        """Give the reservation back, uncharged. Only before it starts.

        Raises:
            LedgerError: it was started, or has ended; or the store fails.
        """
        self._own()
        return self._account.void(self.id)

    def commit(self, model_digest: str | None) -> Row:
        """End the run well: put the model and the events asked for on record. The whole capacity stays charged.

        Args:
            model_digest: sha256 of the stored model; None where the run made none (a look by another library's
                mechanism), and nothing can ever be drawn from it.

        Raises:
            LedgerError: it is not running, or the store fails; it then still runs, so try again or forfeit.
        """
        self._own()
        digest = None if model_digest is None else checked_digest("model", model_digest)
        if self._meter is None:
            raise LedgerError(f"release {self.id} is not running; start it before the commit")
        self._close()
        charged = {"plan": _folded(self._meter), "frame": _folded(self._frame_meter)}
        row = self._account._end(self.id, "commit", {"release": self.id, "model": digest, "charged": charged})
        self._let_go()
        return row

    def forfeit(self, reason: ReasonCode | str = ReasonCode.FAILED) -> bool:
        """End the run badly. Made for exception handlers: it raises no ledger error, and may be called at any time.

        A run costs its whole capacity; a reservation that never started is voided; an ended one is left alone.

        Returns:
            Whether the ledger has it. If not (the store failed), the whole cost stays charged and the next
            session records the run as crashed.

        Raises:
            ValueError: the reason is not a `ReasonCode`.
        """
        code = ReasonCode(reason)
        if os.getpid() != self._pid:
            return False
        self._close()
        try:
            self._account._abandon(self.id, code)
        except LedgerError:
            return False
        finally:
            self._let_go()
        return True

    def _own(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError("a reservation belongs to the process that made it; reserve in the process that runs")

    def _close(self) -> None:
        for meter in (self._meter, self._frame_meter):
            if meter is not None:
                meter.close()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def __del__(self) -> None:
        # A run nobody can end is over: its lock goes with it, so its meters must not admit another look.
        if hasattr(self, "_lock"):
            self._close()

    def __repr__(self) -> str:
        return f"Reservation({self.id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a reservation is not pickled or copied; it would be run twice")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


def _folded(meter: Meter | None) -> list[dict[str, Any]]:
    events: tuple[Event, ...] = () if meter is None else meter.charged
    folded: list[dict[str, Any]] = FixedPlan(events).to_json()["events"] if events else []
    return folded

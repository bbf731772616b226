"""Sessions in processes of their own that die where they are told, and what must hold of a ledger afterwards."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from accountants import Account, Claim, Gaussian, Ledger, LedgerBusy, SigningKey, Status
from accountants.ledger.anchor import FileAnchor, TableAnchor
from accountants.ledger.lock import FileLock
from accountants.ledger.store import Store

MODEL = "a" * 64
DATASET = "hie-2026"
WRITES = ("reserve", "start", "commit", "draw")
POINTS = ("before", "inserted", "uncommitted", "committed", "anchored")
"""Of a write: before its row, after it, before the COMMIT, between COMMIT and anchor, after the anchor."""

T = TypeVar("T")


class Child:
    """A forked process that runs `work(say)`; what it says comes back line by line."""

    def __init__(self, work: Callable[[Callable[[object], object]], object]) -> None:
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside a test runner's threads
            self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(read)
                work(lambda word: os.write(write, f"{word}\n".encode()))
            except BaseException as error:
                os.write(write, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(0)
        os.close(write)
        self._lines = os.fdopen(read)
        self._ended = False

    def hear(self) -> str:
        return self._lines.readline().strip()

    def hear_all(self) -> list[str]:
        """Everything said until the process ended."""
        return self._lines.read().split("\n")[:-1]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The signal it died of, or 0."""
        self._ended = True
        self._lines.close()
        return os.waitpid(self.pid, 0)[1] & 0x7F

    def end(self) -> None:
        if not self._ended:
            self.kill()
            self.wait()


def patiently(attempt: Callable[[], T]) -> T:
    """A server notices a moment after the kernel that a client is dead."""
    until = time.monotonic() + 10
    while True:
        try:
            return attempt()
        except LedgerBusy:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def die_at(where: str, nth: int) -> None:
    """Have this process kill itself at a point of its `nth` write, or once the run lock is held (``locked``)."""
    count = 0
    insert, write = Store.insert, Store.write

    def here(point: str) -> None:
        if where == point and count == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: Store, connection: Any, row: Any) -> None:
        here("before")
        insert(self, connection, row)
        here("inserted")

    @contextmanager
    def ending(self: Store) -> Iterator[Any]:
        nonlocal count
        count += 1
        with write(self) as connection:
            yield connection
            here("uncommitted")
        here("committed")

    Store.insert, Store.write = counted, ending  # type: ignore[method-assign, assignment]
    for anchor in (FileAnchor, TableAnchor):
        _after(anchor, "advance", lambda: here("anchored"))
    locks: list[type] = [FileLock]
    if where == "locked":
        from accountants.ledger.postgres import ServerLock

        locks.append(ServerLock)
    for lock in locks:
        _after(lock, "acquire", lambda: here("locked"))


def _after(owner: type, name: str, then: Callable[[], None]) -> None:
    method = getattr(owner, name)

    def patched(self: Any, *arguments: Any) -> Any:
        answer = method(self, *arguments)
        then()
        return answer

    setattr(owner, name, patched)


def one_release(account: Account, claim: Claim, say: Callable[[object], object]) -> None:
    """Reserve, start, look, commit and draw; each step is said once its call has returned."""
    run = account.reserve(claim)
    say(f"reserve {run.id}")
    meter = run.start()
    say(f"start {run.id}")
    meter.charge(Gaussian(1000.0))
    say(f"look {run.id}")
    run.commit(MODEL)
    say(f"commit {run.id}")
    account.draw(run.id, MODEL, run.id * 2, 10)
    say(f"draw {run.id}")


def audit(url: str, key: SigningKey, anchor: str | Path | None, said: list[str]) -> Account:
    """Open the ledger as the next session would, and hold it against what the dead ones said.

    Whatever was said is on record, no look is without its charge, nothing exceeds the budget, and every check of
    the ledger passes.
    """
    ledger = Ledger(url, key, anchor=anchor)
    ledger.verify()
    account = ledger.account(DATASET)
    state = account.state
    assert state.lifetime.admits(state.spent, type(state.spent)()), "the budget is exceeded"
    rows = {(row.kind, row.body.get("release")) for row in ledger.rows()}
    for line in said:
        kind, release_id = line.split()
        release = state.releases[release_id]
        assert release.costs, f"{line}: its charge is lost"
        if kind == "look":
            assert release.status in (Status.RUNNING, Status.COMMITTED, Status.FORFEITED), f"{line}: {release.status}"
        else:
            assert (kind, release_id) in rows, f"{line}: lost"
    return account

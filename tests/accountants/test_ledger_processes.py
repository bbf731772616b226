"""Several processes on one ledger: races for the last of a budget, one run per dataset, kills at every write."""

import os
import signal
import time
import warnings

import pytest

from accountants import Budget, Charge, GateRefused, Gaussian, Ledger, LedgerBusy, LedgerError, Status
from accountants.ledger.anchor import Anchor
from accountants.ledger.store import Store

MODEL = "a" * 64


class Child:
    """A forked process that runs `work(say)`; what it says comes back line by line."""

    def __init__(self, work):
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


@pytest.fixture
def fork():
    children = []

    def start(work):
        children.append(Child(work))
        return children[-1]

    yield start
    for child in children:
        child.end()


@pytest.mark.parametrize("racers", [2, 8])
def test_racing_for_the_last_of_a_budget(account, fork, make_claim, url, key, tmp_path, racers):
    """Room for one: exactly one process wins, whichever."""
    claim = make_claim("0.5")
    while account.state.lifetime.admits(account.state.spent + Charge.of(claim), Charge.of(claim)):
        account.reserve(claim)
    before, go = len(account.state.releases), tmp_path / "go"

    def race(say):
        mine = Ledger(url, key).account("hie-2026")
        say("ready")
        while not go.exists():
            time.sleep(0.001)
        try:
            mine.reserve(claim)
            say("won")
        except GateRefused as refused:
            say(refused.rule)

    children = [fork(race) for _ in range(racers)]
    assert [child.hear() for child in children] == ["ready"] * racers
    go.touch()
    assert sorted(child.hear() for child in children) == ["lifetime"] * (racers - 1) + ["won"]
    assert len(account.state.releases) == before + 1
    account.ledger.verify()


def test_processes_opening_one_ledger_at_once(fork, url, key, tmp_path):
    """File, layout, anchor and account are made once."""

    def work(say):
        try:
            Ledger(url, key, anchor=tmp_path / "anchor.json").open("hie-2026", Budget(1, 1e-8))
            say("opened")
        except LedgerError as error:
            say("second" if "open already" in str(error) else error)

    children = [fork(work) for _ in range(6)]
    assert sorted(child.hear() for child in children) == ["opened"] + ["second"] * 5
    Ledger(url, key, anchor=tmp_path / "anchor.json").verify()


def test_one_run_per_dataset_and_a_kill_is_charged_whole(account, fork, make_claim, url, key):
    claim = make_claim("0.3")
    early = account.reserve(make_claim("0.1"))

    def hold(say):
        run = Ledger(url, key).account("hie-2026").reserve(claim)
        run.start().charge(Gaussian(1000.0))
        say(run.id)
        time.sleep(60)

    child = fork(hold)
    running = child.hear()
    assert account.state.releases[running].status is Status.RUNNING
    with pytest.raises(LedgerBusy, match="nothing is charged"):
        account.reserve(make_claim("0.1"))
    with pytest.raises(LedgerBusy, match="voided"):
        early.start()
    assert account.state.spent_mu_squared == claim.capacity
    child.kill()
    assert child.wait() == signal.SIGKILL
    run = account.reserve(make_claim("0.1"))
    lost = account.state.releases[running]
    assert (lost.status, lost.reason) == (Status.FORFEITED, "crashed")
    assert account.state.spent_mu_squared > claim.capacity
    assert account.state.spent_mu_squared >= run.claim.capacity
    run.start()
    run.commit(MODEL)
    account.ledger.verify()


def test_a_start_after_a_crash_records_it_too(account, fork, make_claim, url, key):
    waiting = account.reserve(make_claim("0.1"))

    def crash(say):
        run = Ledger(url, key).account("hie-2026").reserve(make_claim("0.3"))
        run.start()
        say(run.id)
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork(crash)
    lost = child.hear()
    child.wait()
    waiting.start()
    assert account.state.releases[lost].reason == "crashed"
    waiting.commit(MODEL)


def test_a_forked_child_cannot_end_or_free_its_parents_run(account, fork, make_claim, url, key):
    run = account.reserve(make_claim("0.3"))

    def begin(say):
        run.start()
        say("went through")

    assert "belongs to the process" in fork(begin).hear()
    run.start()

    def meddle(say):
        say(run.forfeit("failed"))
        for step in (run.void, run.start, lambda: run.commit(MODEL)):
            try:
                step()
                say("went through")
            except LedgerError:
                say("refused")

    child = fork(meddle)
    assert [child.hear() for _ in range(4)] == ["False", "refused", "refused", "refused"]
    child.wait()
    with pytest.raises(LedgerBusy):
        Ledger(url, key).account("hie-2026").reserve(make_claim("0.1"))
    run.commit(MODEL)


def test_a_ledger_in_memory_stays_in_its_process(fork, make_claim):
    account = Ledger().open("a", Budget(1, 1e-8))

    def work(say):
        account.reserve(make_claim("0.1"))
        say("went through")

    assert "belongs to the process" in fork(work).hear()


def test_readers_beside_a_writer_never_see_a_rollback(fork, url, key, tmp_path, make_claim):
    """The anchor is written after the rows and read before them, so no interleaving looks like a rolled-back ledger."""
    anchor, claim = tmp_path / "anchor.json", make_claim("0.01")
    account = Ledger(url, key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))

    def read(say):
        mine = Ledger(url, key, anchor=anchor)
        last = 0
        while last < 31:
            last = mine.head[0]
        say("agreed")

    children = [fork(read) for _ in range(2)]
    for _ in range(15):
        account.reserve(claim).void()
    assert [child.hear() for child in children] == ["agreed", "agreed"]


ROWS = ("reserve", "start", "commit", "draw")


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("where", ["before", "inserted", "committed", "anchored"])
def test_kill_at_every_write(tmp_path, fork, url, key, make_claim, where, nth):
    """kill -9 before and inside each of a release's four writes, between commit and anchor, and after.

    Whatever the moment: the ledger opens, verifies, agrees with its anchor, holds exactly the rows committed,
    charges what was reserved, and the next session runs.
    """
    anchor, claim = tmp_path / "anchor.json", make_claim("0.3")
    Ledger(url, key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))

    def work(say):
        rows = 0
        insert, advance = Store.insert, Anchor.advance

        def here(point):
            if where == point and rows == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        def counted(self, connection, row):
            nonlocal rows
            rows += 1
            here("before")
            insert(self, connection, row)
            here("inserted")

        def anchored(self, head):
            here("committed")
            advance(self, head)
            here("anchored")

        Store.insert, Anchor.advance = counted, anchored
        account = Ledger(url, key, anchor=anchor).account("hie-2026")
        run = account.reserve(claim)
        run.start().charge(Gaussian(1000.0))
        run.commit(MODEL)
        account.draw(run.id, MODEL, "b" * 64, 10)
        say("alive")

    child = fork(work)
    assert child.hear() == ""
    assert child.wait() == signal.SIGKILL
    written = nth if where in ("committed", "anchored") else nth - 1
    fresh = Ledger(url, key, anchor=anchor)
    assert [row.kind for row in fresh.rows()] == ["open", *ROWS[:written]]
    fresh.verify()
    account = fresh.account("hie-2026")
    assert account.state.spent_mu_squared == (claim.capacity if written else 0)
    run = account.reserve(claim)
    run.start()
    run.commit(MODEL)
    statuses = [release.status for release in account.state.releases.values()]
    lost = {0: [], 1: [Status.RESERVED], 2: [Status.FORFEITED]}.get(written, [Status.COMMITTED])
    assert statuses == [*lost, Status.COMMITTED]

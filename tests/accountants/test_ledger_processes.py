"""Several processes on one ledger: races for the last of a budget, one run per dataset, kills at every write."""

import os
import signal
import time

import pytest

from accountants import Budget, Charge, GateRefused, Gaussian, Ledger, LedgerBusy, LedgerError, Status
from tests.accountants.faults import MODEL, POINTS, WRITES, Child, audit, die_at, one_release, patiently


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


def test_processes_opening_one_ledger_at_once(fork, url, key, anchor):
    """File, layout, anchor and account are made once."""

    def work(say):
        try:
            Ledger(url, key, anchor=anchor.where).open("hie-2026", Budget(1, 1e-8))
            say("opened")
        except LedgerError as error:
            say("second" if "open already" in str(error) else error)

    children = [fork(work) for _ in range(6)]
    assert sorted(child.hear() for child in children) == ["opened"] + ["second"] * 5
    Ledger(url, key, anchor=anchor.where).verify()


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
    run = patiently(lambda: account.reserve(make_claim("0.1")))
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


def test_readers_beside_a_writer_never_see_a_rollback(fork, url, key, anchor, make_claim):
    """The anchor is written after the rows and read before them, so no interleaving looks like a rolled-back ledger."""
    claim = make_claim("0.01")
    account = Ledger(url, key, anchor=anchor.where).open("hie-2026", Budget(1, 1e-8))

    def read(say):
        mine = Ledger(url, key, anchor=anchor.where)
        last = 0
        while last < 31:
            last = mine.head[0]
        say("agreed")

    children = [fork(read) for _ in range(2)]
    for _ in range(15):
        account.reserve(claim).void()
    assert [child.hear() for child in children] == ["agreed", "agreed"]


KILLS = [(where, nth) for where in POINTS for nth in (1, 2, 3, 4)] + [("locked", 1)]


@pytest.mark.parametrize(("where", "nth"), KILLS)
def test_kill_at_every_write(place, new_place, tmp_path, fork, url, key, make_claim, where, nth):
    """kill -9 around each of a release's four writes, and while starting.

    Whatever the moment: the ledger opens, verifies, agrees with its anchor, holds exactly the rows committed,
    charges what was reserved, and the next session runs.
    """
    claim = make_claim("0.3")
    anchor = tmp_path / "anchor.json" if place.kind == "sqlite" else new_place(place.kind, database="anchors").url
    Ledger(url, key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))

    def work(say):
        die_at(where, nth)
        one_release(Ledger(url, key, anchor=anchor).account("hie-2026"), claim, say)
        say("alive")

    child = fork(work)
    said = child.hear_all()
    assert child.wait() == signal.SIGKILL, said
    written = nth if where in ("committed", "anchored", "locked") else nth - 1
    account = patiently(lambda: audit(url, key, anchor, said))
    assert [row.kind for row in account.ledger.rows()] == ["open", *WRITES[:written]]
    assert account.state.spent_mu_squared == (claim.capacity if written else 0)
    run = patiently(lambda: account.reserve(claim))
    run.start()
    run.commit(MODEL)
    statuses = [release.status for release in account.state.releases.values()]
    lost = {0: [], 1: [Status.RESERVED], 2: [Status.FORFEITED]}.get(written, [Status.COMMITTED])
    assert statuses == [*lost, Status.COMMITTED]


def test_kills_at_random_times(place, tmp_path, fork, url, key, make_claim):
    """The same at moments nobody chose; experiments/ledger_faults.py does it a thousand times."""
    claim, anchor, said = make_claim("0.02"), tmp_path / "anchor.json", []
    Ledger(url, key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))

    def work(say):
        account = Ledger(url, key, anchor=anchor).account("hie-2026")
        while True:
            one_release(account, claim, say)

    for number in range(5):
        child = fork(work)
        said.append(child.hear())
        time.sleep(0.01 * number)
        child.kill()
        said += child.hear_all()
        child.wait()
        account = audit(url, key, anchor, [line for line in said if line])
    assert patiently(lambda: account.reserve(claim)).status is Status.RESERVED

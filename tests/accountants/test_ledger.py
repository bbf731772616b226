"""The ledger's lifecycle: open, reserve, start, commit, forfeit, void, draw; and what it refuses to open."""

import contextlib
import copy
import json
import pickle
import threading
from decimal import Decimal
from fractions import Fraction

import pytest

from accountants import (
    Account,
    AdaptivePlan,
    Budget,
    BudgetError,
    Charge,
    FixedPlan,
    GateRefused,
    Gaussian,
    Ledger,
    LedgerBusy,
    LedgerError,
    PlanError,
    Policy,
    ReasonCode,
    Status,
    UnknownDataset,
    UnplannedEvent,
    mu_squared_cap,
)
from accountants.ledger import FIELDS, GENESIS, fold, store

MODEL, TABLE = "a" * 64, "b" * 64


def test_the_whole_path(account, make_claim, fixed_plan):
    run = account.reserve(make_claim(plan=fixed_plan, frame=(Gaussian(500.0),)))
    assert run.status is Status.RESERVED
    meter = run.start()
    assert run.status is Status.RUNNING
    for event in fixed_plan.events:
        meter.charge(event)
    run.frame_meter.charge(Gaussian(500.0))
    row = run.commit(MODEL)
    assert row.kind == "commit"
    assert row.body == {
        "version": 1,
        "release": run.id,
        "model": MODEL,
        "charged": {
            "plan": [
                {"kind": "gaussian", "noise_multiplier": "40.0", "count": 2},
                {"kind": "gaussian", "noise_multiplier": "50.0", "count": 1},
            ],
            "frame": [{"kind": "gaussian", "noise_multiplier": "500.0", "count": 1}],
        },
    }
    with pytest.raises(UnplannedEvent, match="over"):
        meter.charge(Gaussian(40.0))
    drawn = account.draw(run.id, MODEL, TABLE, 100, ["sex"])
    state = account.state
    release = state.releases[run.id]
    assert release.claim == run.claim
    assert release.status is Status.COMMITTED
    assert release.model == MODEL
    assert release.draws == (TABLE,)
    assert state.spent_mu_squared == run.claim.capacity
    assert account.find_table(TABLE) == drawn
    assert account.find_table("c" * 64) is None
    assert [row.kind for row in account.ledger.rows("hie-2026")] == ["open", "reserve", "start", "commit", "draw"]
    assert account.ledger.head == (5, drawn.hash)
    assert account.ledger.verify() == account.ledger.head


def test_a_run_that_asks_nothing_is_charged_whole(account, make_claim):
    run = account.reserve(make_claim())
    run.start()
    row = run.commit(MODEL)
    assert row.body["charged"] == {"plan": [], "frame": []}
    assert account.state.spent_mu_squared == run.claim.capacity


def test_opening(url, key):
    ledger = Ledger(url, key)
    assert ledger.head == (0, GENESIS)
    assert ledger.datasets() == ()
    account = ledger.open("hie-2026", Budget(1, 1e-8), policy=Policy(max_epsilon=1))
    assert isinstance(account, Account)
    assert account.state.cap_mu_squared == mu_squared_cap(Budget(1, 1e-8))
    assert account.state.policy == Policy(max_epsilon=1)
    assert account.remaining_epsilon("1e-8") == 1
    with pytest.raises(LedgerError, match=r"open already, for epsilon 1\.0 at delta 1e-8, filter 'gdp'"):
        ledger.open("hie-2026", Budget(2, 1e-8))
    ledger.open("other", Budget(2, 1e-8), "sum")
    assert Ledger(url, key).datasets() == ("hie-2026", "other")
    with pytest.raises(UnknownDataset, match=r"open: hie-2026, other.*dpsynth ledger open nope"):
        ledger.account("nope")


@pytest.mark.parametrize("dataset", ["", ".a", "-a", "a b", "a/b", "a" * 65, "é", "a\n", None, 3])
def test_dataset_ids(dataset):
    with pytest.raises(LedgerError, match="dataset id"):
        Ledger().open(dataset, Budget(1))


def test_budgets_and_filters_that_mean_nothing():
    with pytest.raises(BudgetError, match="filter"):
        Ledger().open("a", Budget(1), "rdp")
    with pytest.raises(PlanError, match="slack"):
        Ledger().open("a", Budget(30, 1e-9))


def test_void_costs_nothing_and_only_before_start(account, make_claim):
    for _ in range(3):
        run = account.reserve(make_claim("0.9"))
        run.void()
        assert account.state.spent_mu_squared == 0
    with pytest.raises(LedgerError, match="is voided, and must be reserved"):
        run.start()
    run = account.reserve(make_claim("0.9"))
    run.start()
    with pytest.raises(LedgerError, match="is running, and must be reserved"):
        run.void()
    run.commit(MODEL)
    for late, says in (
        (run.void, "must be reserved"),
        (run.start, "started already"),
        (lambda: run.commit(MODEL), "must be running"),
    ):
        with pytest.raises(LedgerError, match=says):
            late()
    with pytest.raises(LedgerError, match="there is no release nope on dataset"):
        account.void("nope")
    assert account.state.spent_mu_squared == run.claim.capacity


def test_a_reservation_is_charged_at_once(account, make_claim):
    run = account.reserve(make_claim("0.9"))
    head = account.ledger.head
    with pytest.raises(GateRefused, match="rule 'lifetime'"):
        account.reserve(make_claim("0.9"))
    assert account.ledger.head == head, "a refusal leaves no row"
    account.void(run.id)
    account.reserve(make_claim("0.9"))


@pytest.mark.parametrize("reason", list(ReasonCode))
def test_a_forfeit_costs_all(account, make_claim, reason):
    run = account.reserve(make_claim("0.9"))
    meter = run.start()
    assert run.forfeit(reason)
    assert account.state.releases[run.id].reason is reason
    assert account.state.spent_mu_squared == run.claim.capacity
    with pytest.raises(UnplannedEvent):
        meter.charge(Gaussian(1e6))
    rows = len(account.ledger.rows())
    assert run.forfeit(reason), "an ended run is left alone"
    assert len(account.ledger.rows()) == rows


def test_a_later_void_gives_nothing_else_back(account, make_claim):
    """The sum is made again at a void: from everything that costs, however it ended."""
    charges = Charge()
    for end in (lambda run: run.commit(MODEL), lambda run: run.forfeit("failed")):
        run = account.reserve(make_claim("0.2"))
        charges = charges + Charge.of(run.claim)
        run.start()
        end(run)
    waiting = account.reserve(make_claim("0.1"))
    account.reserve(make_claim("0.1")).void()
    total = charges + Charge.of(waiting.claim)
    assert account.state.spent.epsilon == total.epsilon
    assert 0 <= Fraction(total.mu_squared) - Fraction(account.state.spent_mu_squared) < Fraction(1, 10**40)


def test_forfeit_before_start_voids(account, make_claim):
    run = account.reserve(make_claim("0.9"))
    assert run.forfeit("interrupted")
    assert run.status is Status.VOIDED
    assert account.state.spent_mu_squared == 0


def test_forfeit_reasons_are_a_closed_list(account, make_claim):
    run = account.reserve(make_claim())
    run.start()
    with pytest.raises(ValueError):
        run.forfeit("ValueError: 42")
    assert run.forfeit(ReasonCode.FAILED)


def test_forfeit_survives_a_store_that_fails(account, make_claim, monkeypatch, url, key):
    run = account.reserve(make_claim())
    meter = run.start()

    def fail(*_):
        raise LedgerError("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "insert", fail)
        with pytest.raises(LedgerError, match="no disk"):
            run.commit(MODEL)
        assert run.forfeit(ReasonCode.FAILED) is False
    with pytest.raises(UnplannedEvent):
        meter.charge(Gaussian(1e6))
    again = Ledger(url, key).account("hie-2026")
    assert again.state.releases[run.id].status is Status.RUNNING
    second = again.reserve(make_claim("0.2"))
    assert again.state.releases[run.id].reason is ReasonCode.CRASHED
    assert again.state.spent_mu_squared >= run.claim.capacity + second.claim.capacity


@pytest.mark.parametrize("address", ["file", "memory"])
def test_one_running_session_per_dataset(address, url, key, make_claim):
    ledger = Ledger(url if address == "file" else "sqlite://", key)
    account, other = ledger.open("a", Budget(1, 1e-8)), ledger.open("b", Budget(1, 1e-8))
    first, second = account.reserve(make_claim("0.3")), account.reserve(make_claim("0.3"))
    first.start()
    spent = account.state.spent_mu_squared
    with pytest.raises(LedgerBusy, match="voided and nothing is charged"):
        second.start()
    assert second.status is Status.VOIDED
    assert account.state.spent_mu_squared < spent
    with pytest.raises(LedgerBusy, match="nothing is charged"):
        account.reserve(make_claim("0.3"))
    other.reserve(make_claim("0.3")).start()
    first.commit(MODEL)
    account.reserve(make_claim("0.3")).start()


@pytest.mark.parametrize("address", ["file", "memory"])
def test_a_run_whose_holder_is_gone_is_recorded_as_crashed(address, url, key, make_claim):
    account = Ledger(url if address == "file" else "sqlite://", key).open("a", Budget(1, 1e-8))
    run, waiting = account.reserve(make_claim("0.3")), account.reserve(make_claim("0.3"))
    lost, meter = run.id, run.start()
    del run
    with pytest.raises(UnplannedEvent):
        meter.charge(Gaussian(1e6))
    waiting.start()
    assert account.state.releases[lost].status is Status.FORFEITED
    assert account.state.releases[lost].reason is ReasonCode.CRASHED
    waiting.commit(MODEL)


def test_a_run_may_end_without_a_model(account, url, key, make_claim):
    """A look by another library's mechanism: charged, on record, and never drawn from."""
    run = account.reserve(make_claim("0.3"))
    run.start()
    row = run.commit(None)
    assert row.body["model"] is None
    assert row.body["version"] == 2, "older readers refuse it rather than read a model named None"
    state = Ledger(url, key).account("hie-2026").state
    release = state.releases[run.id]
    assert (release.status, release.model) == (Status.COMMITTED, None)
    assert state.spent_mu_squared == run.claim.capacity
    for digest in (MODEL, "None", "0" * 64):
        with pytest.raises((GateRefused, LedgerError), match=r"rule 'model'|sha256"):
            account.draw(run.id, digest, TABLE, 10)
    account.ledger.verify()


def test_start_once(account, make_claim):
    run = account.reserve(make_claim())
    with pytest.raises(LedgerError, match="not running"):
        run.commit(MODEL)
    run.start()
    with pytest.raises(LedgerError, match="started already"):
        run.start()
    with pytest.raises(LedgerError, match="sha256"):
        run.commit("not a digest")
    run.commit(MODEL)


def test_drawing_the_same_again_changes_nothing(account, make_claim):
    run = account.reserve(make_claim())
    run.start()
    run.commit(MODEL)
    first = account.draw(run.id, MODEL, TABLE, 100)
    assert account.draw(run.id, MODEL, TABLE, 100) == first
    account.draw(run.id, MODEL, "c" * 64, None, ["sex"])
    account.draw(run.id, MODEL, TABLE, 100, ["sex"])
    assert account.find_table(TABLE) == first
    assert account.state.spent_mu_squared == run.claim.capacity
    with pytest.raises(LedgerError, match="sha256"):
        account.draw(run.id, MODEL, "table", 100)


def test_a_private_report_is_on_record_and_costs_nothing(account, make_claim):
    run = account.reserve(make_claim())
    run.start()
    run.commit(MODEL)
    with pytest.raises(LedgerError, match="on no draw of dataset"):
        account.read(TABLE)
    account.draw(run.id, MODEL, TABLE, 100)
    before = account.state.spent
    row = account.read(TABLE)
    assert row.body == {"version": 3, "on": row.body["on"], "release": run.id, "table": TABLE}
    assert account.read(TABLE).seq == row.seq + 1  # each reading is one more
    assert (account.state.reads, account.state.releases[run.id].reads, account.state.spent) == (2, 2, before)
    account.ledger.verify()
    with pytest.raises(LedgerError, match="sha256"):
        account.read("table")


def test_rows_hold_what_docs_say_and_no_times_after_a_look(account, make_claim):
    run = account.reserve(make_claim())
    run.start()
    run.commit(MODEL)
    account.draw(run.id, MODEL, TABLE, 100)
    account.read(TABLE)
    run = account.reserve(make_claim("0.1"))
    run.start()
    run.forfeit(ReasonCode.FAILED)
    account.reserve(make_claim("0.1")).void()
    account.ledger.amend("hie-2026", budget=Budget(2, 1e-8))
    rows = account.ledger.rows()
    assert {row.kind for row in rows} == set(FIELDS)
    for row in rows:
        assert set(row.body) == FIELDS[row.kind] | {"version"}
        assert ("at" in row.body) == (row.kind in {"open", "amend", "reserve"})
        assert "." not in json.dumps([v for v in row.body.values() if isinstance(v, float)])


def test_values_that_are_not_json_are_refused_before_they_are_charged(account, make_claim):
    for bad in (float("nan"), 2**60, object()):
        with pytest.raises(LedgerError, match="not JSON"):
            account.reserve(make_claim(parameters={"x": bad}))
    assert account.state.releases == {}


def test_state_is_a_fold_of_the_rows(account, make_claim):
    run = account.reserve(make_claim("0.3"))
    before = account.state
    run.start()
    run.commit(MODEL)
    assert before.releases[run.id].status is Status.RESERVED, "a state handed out does not change"
    assert fold(account.ledger.rows())["hie-2026"] == account.state
    with pytest.raises(TypeError):
        account.state.releases["x"] = None


def test_another_object_sees_every_row(account, url, key, make_claim):
    other = Ledger(url, key).account("hie-2026")
    run = account.reserve(make_claim("0.9"))
    assert other.state == account.state
    with pytest.raises(GateRefused):
        other.reserve(make_claim("0.9"))
    other.void(run.id)
    assert account.state.spent_mu_squared == 0


def test_threads_share_a_ledger(make_claim):
    account = Ledger().open("a", Budget(1, 1e-8), "sum")
    won = []

    def race():
        with contextlib.suppress(GateRefused):
            won.append(account.reserve(make_claim("0.3")).id)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 3
    assert account.state.spent.epsilon == Decimal("0.9")


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_nothing_that_spends_is_copied(account, make_claim, way):
    run = account.reserve(make_claim())
    run.start()
    for thing in (run, account.ledger, run._lock):
        with pytest.raises(TypeError, match="not pickled"):
            way(thing)


def test_without_a_key_a_ledger_is_read_only(account, url, key, make_claim):
    reader = Ledger(url, trusted={key.public.key_id: key.public})
    assert reader.account("hie-2026").state == account.state
    with pytest.raises(LedgerError, match="read only"):
        reader.account("hie-2026").reserve(make_claim())
    assert account.state.releases == {}


def test_adaptive_and_fixed_plans_meter(account, make_claim):
    run = account.reserve(make_claim("0.3"))
    meter = run.start()
    assert isinstance(meter.plan, AdaptivePlan)
    assert run.frame_meter is None
    with pytest.raises(UnplannedEvent):
        meter.charge(Gaussian(0.1))
    run.commit(MODEL)
    run = account.reserve(make_claim("0.3", plan=FixedPlan([Gaussian(100.0)])))
    meter = run.start()
    meter.charge(Gaussian(100.0))
    with pytest.raises(UnplannedEvent):
        meter.charge(Gaussian(100.0))
    run.commit(MODEL)

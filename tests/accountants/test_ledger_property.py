# ruff: noqa: PT017 (what an error says is part of the model)
"""Any sequence of sessions' steps keeps the budget, and the state is always a fold of the rows."""

import re
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accountants import (
    Budget,
    BudgetError,
    GateRefused,
    Ledger,
    LedgerBusy,
    LedgerError,
    Policy,
    Profile,
    Status,
    numerical_slack,
)
from accountants.ledger import fold
from tests.accountants.conftest import _claim

DELTA = "1e-9"
FIGURES = re.compile(r"\d.*\d.*(fits|left|charged)", re.DOTALL)
BUDGETS = [Budget(e, d) for e in ("0.5", "1", "1.2", "2") for d in ("2e-9", "5e-9", "2e-8")]


class Sessions(RuleBasedStateMachine):
    """Two handles on one ledger, and a book kept beside it by hand."""

    runs = Bundle("runs")

    def __init__(self, place, key, filter):
        super().__init__()
        self.place, self.key, self.filter = place, key, filter
        self.book, self.amendments, self.held = {}, 0, []

    @initialize(budget=st.sampled_from(BUDGETS[:6]))
    def begin(self, budget):
        self.accounts = [Ledger(self.place.url, self.key).open("a", budget, self.filter)]
        self.accounts.append(Ledger(self.place.url, self.key).account("a"))
        self.lifetime = self.accounts[0].state.lifetime

    def costing(self):
        return [claim for claim, status in self.book.values() if status is not Status.VOIDED]

    def fits(self, claim):
        claims = [*self.costing(), claim]
        if self.filter == "sum":
            budget = self.lifetime.budget
            return (
                sum(each.budget.epsilon for each in claims) <= budget.epsilon
                and sum(each.budget.delta for each in claims) <= budget.delta
            )
        return sum(Fraction(each.capacity) for each in claims) <= Fraction(self.lifetime.mu_squared)

    def running(self):
        return [name for name, (_, status) in self.book.items() if status is Status.RUNNING]

    def now(self, run, status):
        self.book[run.id] = (run.claim, status)

    def crash_is_found(self):
        """A start or a reservation records the run whose process is gone."""
        for name in self.running():
            if not self.lives(name):
                self.book[name] = (self.book[name][0], Status.FORFEITED)

    def lives(self, name):
        return any(run.id == name for run in self.held)

    def busy(self):
        return any(self.lives(name) for name in self.running())

    @rule(target=runs, handle=st.integers(0, 1), epsilon=st.sampled_from(["0.05", "0.1", "0.2", "0.7"]))
    def reserve(self, handle, epsilon):
        claim = _claim(epsilon, DELTA)
        fits, busy = self.fits(claim), self.busy()
        try:
            run = self.accounts[handle].reserve(claim)
        except GateRefused as refused:
            assert not fits, "what fits is admitted"
            assert refused.rule == "lifetime"
            assert FIGURES.search(str(refused)), str(refused)
            return multiple()
        except LedgerBusy as error:
            assert busy
            assert "nothing is charged" in str(error)
            return multiple()
        assert fits, "what does not fit is refused"
        assert not busy
        self.crash_is_found()
        self.now(run, Status.RESERVED)
        self.held.append(run)
        return run

    @rule(run=runs)
    def start(self, run):
        status, busy = self.book[run.id][1], self.busy()
        try:
            run.start()
        except LedgerBusy as error:
            assert busy
            assert "nothing is charged" in str(error)
            self.now(run, Status.VOIDED)
            return
        except LedgerError as error:
            assert status is not Status.RESERVED
            assert "must be" in str(error) or "started already" in str(error)
            return
        assert status is Status.RESERVED
        self.crash_is_found()
        self.now(run, Status.RUNNING)

    @rule(run=runs)
    def void(self, run):
        self.attempt(run, run.void, Status.RESERVED, Status.VOIDED)

    @rule(run=runs, model=st.sampled_from(["a" * 64, None]))
    def commit(self, run, model):
        self.attempt(run, lambda: run.commit(model), Status.RUNNING, Status.COMMITTED)

    @rule(run=runs)
    def forfeit(self, run):
        assert run.forfeit("failed")
        ended = {Status.RUNNING: Status.FORFEITED, Status.RESERVED: Status.VOIDED}
        status = self.book[run.id][1]
        self.now(run, ended.get(status, status))

    def attempt(self, run, step, wanted, then):
        status = self.book[run.id][1]
        try:
            step()
        except LedgerError as error:
            assert status is not wanted, error
        else:
            assert status is wanted
            self.now(run, then)

    @rule(run=runs, table=st.sampled_from("bcd"))
    def draw(self, run, table):
        release = self.accounts[0].state.releases[run.id]
        try:
            self.accounts[0].draw(run.id, "a" * 64, table * 64, 1)
        except GateRefused as refused:
            assert release.model is None
            assert refused.rule == "model"
        else:
            assert release.model == "a" * 64

    @rule(run=consumes(runs))
    def crash(self, run):
        """The process is gone: its lock is free, its meters are closed, its row stays."""
        self.held.remove(run)
        lock, run._lock = run._lock, None
        if lock is not None:
            lock.release()

    @rule(budget=st.sampled_from(BUDGETS), policy=st.sampled_from([..., None, Policy(max_epsilon=1)]))
    def amend(self, budget, policy):
        state = self.accounts[0].state
        try:
            self.accounts[0].ledger.amend("a", budget=budget, policy=policy)
        except (BudgetError, LedgerError) as error:
            assert "may only widen" in str(error) or "changes nothing" in str(error)
            return
        assert budget.epsilon >= state.budget.epsilon
        assert budget.delta >= state.budget.delta
        self.lifetime = type(self.lifetime).of(budget, self.filter)
        self.amendments += 1

    @rule(handle=st.integers(0, 1))
    def reopen(self, handle):
        self.accounts[handle] = Ledger(self.place.url, self.key).account("a")

    @invariant()
    def the_ledger_agrees_with_the_book(self):
        state = self.accounts[0].state
        assert self.accounts[1].state == state
        assert {name: status for name, (_, status) in self.book.items()} == {
            name: release.status for name, release in state.releases.items()
        }
        assert state.amendments == self.amendments
        assert fold(self.accounts[0].ledger.rows())["a"] == state

    @invariant()
    def nothing_exceeds_the_budget(self):
        state, claims = self.accounts[0].state, self.costing()
        assert state.lifetime == self.lifetime
        assert Fraction(state.spent.mu_squared) >= sum(Fraction(claim.capacity) for claim in claims)
        if self.filter == "gdp":
            assert state.spent.mu_squared <= state.cap_mu_squared
            if claims:
                delta = state.budget.delta - numerical_slack(state.budget.epsilon)
                assert Profile(state.spent_mu_squared).epsilon(delta) <= state.budget.epsilon
        else:
            assert sum(claim.budget.epsilon for claim in claims) <= state.budget.epsilon
            assert sum(claim.budget.delta for claim in claims) <= state.budget.delta
        assert state.spent == state.spent_on()
        assert len(self.running()) <= 1

    def teardown(self):
        if hasattr(self, "accounts"):
            self.accounts[1].ledger.verify()


@pytest.mark.parametrize("filter", ["gdp", "sum"])
def test_no_sequence_exceeds_the_lifetime_budget(place, new_place, key, filter):
    names = (f"ledger-{number}.db" for number in count())
    run_state_machine_as_test(
        lambda: Sessions(new_place(place.kind, next(names)), key, filter),
        settings=settings(
            deadline=None,
            max_examples=12 if place.kind == "sqlite" else 4,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )

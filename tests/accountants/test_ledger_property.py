"""Any sequence of sessions' steps keeps the budget, and the state is always a fold of the rows."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import Budget, GateRefused, Ledger, LedgerBusy, LedgerError, Profile, Status
from accountants.ledger import fold

STEPS = st.tuples(
    st.sampled_from(["reserve", "reserve", "start", "start", "void", "void", "commit", "forfeit", "drop", "draw"]),
    st.integers(0, 5),
    st.sampled_from(["0.05", "0.1", "0.2", "0.7"]),
)


@pytest.mark.parametrize("filter", ["gdp", "sum"])
@settings(deadline=None, max_examples=40)
@given(steps=st.lists(STEPS, max_size=25))
def test_no_sequence_exceeds_the_lifetime_budget(make_claim, filter, steps):
    ledger = Ledger()
    account = ledger.open("a", Budget(1, 5e-9), filter)
    held, voided = [], set()
    for verb, which, epsilon in steps:
        run = held[which % len(held)] if held else None
        try:
            if verb == "reserve":
                held.append(account.reserve(make_claim(epsilon)))
            elif run is None:
                continue
            elif verb == "start":
                run.start()
            elif verb == "void":
                run.void()
            elif verb == "commit":
                run.commit("a" * 64)
            elif verb == "forfeit":
                run.forfeit("failed")
            elif verb == "drop":
                held.remove(run)
                del run
            elif verb == "draw":
                account.draw(run.id, "a" * 64, f"{which}" * 64, which)
        except (GateRefused, LedgerBusy, LedgerError):
            pass
        state = account.state
        assert fold(ledger.rows())["a"] == state
        charged = [release for release in state.releases.values() if release.status is not Status.VOIDED]
        assert Fraction(state.spent.mu_squared) >= sum(Fraction(release.claim.capacity) for release in charged)
        if filter == "gdp":
            assert state.spent.mu_squared <= state.cap_mu_squared
        else:
            assert sum(release.claim.budget.epsilon for release in charged) <= 1
            assert sum(release.claim.budget.delta for release in charged) <= Decimal("5e-9")
        now_voided = {release.id for release in state.releases.values() if release.status is Status.VOIDED}
        assert voided <= now_voided, "what was voided stays voided"
        voided = now_voided
        assert sum(release.status is Status.RUNNING for release in state.releases.values()) <= 1
    ledger.verify()
    if filter == "gdp" and account.state.spent_mu_squared:
        assert Profile(account.state.spent_mu_squared).epsilon(5e-9) <= 1

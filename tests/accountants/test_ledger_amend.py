"""Amendments: a lifetime budget only ever widens, a policy may be replaced, and both are signed rows."""

from decimal import Decimal

import pytest

from accountants import (
    Budget,
    BudgetError,
    GateRefused,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    Lifetime,
    Policy,
    UnknownDataset,
    mu_squared_cap,
)
from accountants.ledger import GENESIS, Row, fold
from accountants.ledger.fold import Fold


def test_a_wider_budget_admits_more_from_then_on(account, url, key, make_claim):
    account.reserve(make_claim("0.9"))
    with pytest.raises(GateRefused, match="rule 'lifetime'"):
        account.reserve(make_claim("0.9"))
    before = account.state
    account.ledger.amend("hie-2026", budget=Budget(2, 1e-8))
    account.reserve(make_claim("0.9"))
    state = Ledger(url, key).account("hie-2026").state
    assert (before.amendments, state.amendments) == (0, 1)
    assert state.budget == Budget(2, 1e-8)
    assert state.cap_mu_squared == mu_squared_cap(Budget(2, 1e-8))
    assert before.budget == Budget(1, 1e-8), "a state handed out does not change"
    row = account.ledger.rows()[2]
    assert row.kind == "amend"
    assert row.body == {"version": 1, "at": row.body["at"], "lifetime": state.lifetime.to_json(), "policy": None}
    assert account.ledger.verify()[0] == 4
    assert fold(account.ledger.rows())["hie-2026"] == state


@pytest.mark.parametrize(
    ("filter", "change"),
    [
        ("gdp", {"budget": Budget("0.9", "1e-8")}),
        ("gdp", {"budget": Budget(1, "9e-9")}),
        ("gdp", {"budget": Budget(1, "1e-8"), "delta0": "5e-9"}),
        ("gdp", {"delta0": "-1e-9"}),
        ("gdp", {"budget": Budget("0.5", "1e-6")}),
        ("sum", {"budget": Budget("0.9", "1e-8")}),
        ("sum", {"budget": Budget(5, "9e-9")}),
        ("sum", {"delta0": "1e-9"}),
    ],
)
def test_what_would_narrow_is_refused_and_leaves_no_row(url, key, filter, change):
    ledger = Ledger(url, key)
    ledger.open("a", Budget(1, 1e-8), filter)
    with pytest.raises(BudgetError):
        ledger.amend("a", **change)
    assert ledger.head[0] == 1


def test_what_changes_nothing_is_refused(account):
    for change in ({}, {"policy": None}, {"budget": account.state.budget}):
        with pytest.raises((LedgerError, BudgetError), match="changes nothing"):
            account.ledger.amend("hie-2026", **change)
    with pytest.raises(UnknownDataset):
        account.ledger.amend("nope", budget=Budget(9))
    assert account.ledger.head[0] == 1


def test_delta0_is_set_aside_at_opening_and_by_amendment(url, key):
    ledger = Ledger(url, key)
    account = ledger.open("a", Budget(1, "1e-8"), delta0="1e-9")
    assert account.state.lifetime == Lifetime.of(Budget(1, "1e-8"), "gdp", "1e-9")
    ledger.amend("a", delta0="4e-9")
    state = Ledger(url, key).account("a").state
    assert state.lifetime.delta0 == Decimal("4e-9")
    assert state.budget == Budget(1, "1.3e-8"), "delta grows by what was set aside, so that the cap on mu^2 stays"


def test_a_policy_is_replaced_kept_or_taken_away(account, make_claim):
    ledger, strict, loose = account.ledger, Policy(max_epsilon="0.1"), Policy(max_epsilon=5)
    ledger.amend("hie-2026", policy=strict)
    with pytest.raises(GateRefused, match="rule 'policy'"):
        account.reserve(make_claim("0.2"))
    ledger.amend("hie-2026", budget=Budget(2, 1e-8))
    assert account.state.policy == strict, "left out, it stays"
    ledger.amend("hie-2026", policy=loose)
    assert account.state.policy == loose
    account.reserve(make_claim("0.2"))
    ledger.amend("hie-2026", policy=None)
    assert account.state.policy is None
    assert account.state.amendments == 4


def test_an_amendment_is_no_release(account, make_claim):
    """It may come at any time, also beside a running session, and touches no release."""
    run = account.reserve(make_claim("0.3"))
    run.start()
    account.ledger.amend("hie-2026", budget=Budget(2, 1e-8))
    run.commit("a" * 64)
    assert account.state.spent_mu_squared == run.claim.capacity


def narrower(body):
    body["lifetime"]["cap"]["mu_squared"] = str(Decimal(body["lifetime"]["cap"]["mu_squared"]) / 2)


def smaller(body):
    body["lifetime"]["budget"]["epsilon"] = "0.5"


def other(body):
    body["lifetime"] |= {"filter": "sum", "cap": None}


def unreadable(body):
    body["lifetime"] = {}


@pytest.mark.parametrize("spoil", [narrower, smaller, other, unreadable])
def test_a_signed_row_that_narrows_is_not_believed(place, account, url, key, spoil):
    """No session writes one; with the key it can be written all the same."""
    body = {**account.ledger.rows()[0].body, "at": "2026-01-01T00:00:00Z"}
    del body["version"]
    rows = place.rows()
    spoil(body)
    forged = Row.signed(2, "hie-2026", "amend", body, rows[0][5], key)
    place.load([*rows, tuple(getattr(forged, name) for name in Row.__slots__)])
    with pytest.raises(LedgerCorrupt, match=r"row 2 .*(as wide as|does not describe)"):
        Ledger(url, key).head


def test_an_account_is_amended_after_it_was_opened(key):
    lifetime = Lifetime.of(Budget(1)).to_json()
    row = Row.signed(1, "a", "amend", {"at": "", "lifetime": lifetime, "policy": None}, GENESIS, key)
    with pytest.raises(LedgerCorrupt, match="never opened"):
        Fold().apply(row, row.body)

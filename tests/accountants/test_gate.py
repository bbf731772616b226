"""The gate: every rule refuses what it must, says why and says what would be admitted."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    AdaptivePlan,
    Admitted,
    Budget,
    Charge,
    FixedPlan,
    GateRefused,
    Gaussian,
    Ledger,
    Lifetime,
    Policy,
    PrivacyUnit,
    Profile,
    Refused,
    SubsampledGaussian,
    decide,
    decide_release,
    gate,
    mu_squared_cap,
)
from accountants.crosscheck import Interval

MODEL, TABLE = "a" * 64, "b" * 64


@pytest.fixture
def fresh():
    return Ledger().open("hie", Budget(1, 1e-8))


def refused(decision, rule):
    assert isinstance(decision, Refused), decision
    assert decision.rule == rule
    assert decision.reason.endswith(".")
    assert decision.way_out.endswith(".")
    with pytest.raises(GateRefused, match=f"rule '{rule}'") as caught:
        decision.raise_()
    assert (caught.value.reason, caught.value.way_out) == (decision.reason, decision.way_out)
    return decision


def test_admits_what_fits(fresh, make_claim):
    decision = decide(make_claim("0.5"), fresh.state)
    assert isinstance(decision, Admitted)
    assert decision.charge == Charge.of(make_claim("0.5"))
    assert decision.raise_() is None


def test_numerics_none_is_never_admitted(fresh, make_claim):
    refused(decide(make_claim(numerics="none"), fresh.state), "numerics")
    refused(decide(make_claim(numerics="seeded"), fresh.state), "numerics")


def test_looks_beyond_the_declared_budget(fresh, make_claim):
    plan = AdaptivePlan(float(mu_squared_cap(Budget("0.5")).sqrt()) * 1.001)
    decision = refused(decide(make_claim("0.5", plan=plan), fresh.state), "claim")
    assert "more than the declared 0.5" in decision.reason


def test_the_frame_counts(fresh, make_claim):
    full = make_claim("0.5")
    assert isinstance(decide(full, fresh.state), Admitted)
    refused(decide(make_claim("0.5", frame=(Gaussian(100.0),)), fresh.state), "claim")


def test_slack_beyond_delta(fresh, make_claim):
    plan = FixedPlan([Gaussian(50.0)])
    refused(decide(make_claim("0.5", "1e-18", plan=plan), fresh.state), "claim")


@pytest.mark.parametrize(
    "fields",
    [
        {"schema_digest": "abc"},
        {"schema_origin": "guessed"},
        {"generator": ""},
        {"purpose": "a\nb"},
        {"recipient": "x" * 101},
    ],
)
def test_fields_that_mean_nothing(fresh, make_claim, fields):
    refused(decide(make_claim(**fields), fresh.state), "claim")


@pytest.mark.parametrize("interval", [Interval(0.6, 0.7), Interval(0.3, 0.499999), Interval(0.495, 0.5000001)])
def test_accountants_that_disagree(fresh, make_claim, monkeypatch, interval):
    monkeypatch.setattr(gate, "_second_accountant", lambda plan, frame, delta: interval)
    refused(decide(make_claim("0.5"), fresh.state), "accountants")


def test_the_second_accountant_is_given_plan_and_frame_and_delta_less_slack(fresh, make_claim, monkeypatch):
    seen = []
    true = gate.epsilon_interval
    gate._second_accountant.cache_clear()
    monkeypatch.setattr(
        gate, "epsilon_interval", lambda plans, delta: seen.append((plans, delta)) or true(plans, delta)
    )
    claim = make_claim("0.5", share="0.9", frame=(Gaussian(1000.0),))
    assert isinstance(decide(claim, fresh.state), Admitted)
    ((plans, delta),) = seen
    assert plans == (claim.plan, Gaussian(1000.0))
    assert 0.999e-9 < delta < 1e-9


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (Policy(max_epsilon="0.4"), "Lower epsilon to 0.4"),
        (Policy(max_delta="1e-10"), "Lower delta to 1e-10"),
        (Policy(generators=["mst"]), "Admitted: mst"),
        (Policy(numerics=["idealised"]), "Admitted: idealised"),
        (Policy(schema_origins=["domain"]), "Admitted: domain"),
        (Policy(purposes={"research": Budget(1)}, unlisted_purposes=False), "Give --purpose, one of: research."),
        (Policy(unlisted_recipients=False), "Admitted: none"),
    ],
)
def test_policy(fresh, make_claim, policy, says):
    assert says in refused(decide(make_claim("0.5"), fresh.state, policy), "policy").way_out
    strict = Ledger().open("hie", Budget(1, 1e-8), policy=policy)
    refused(decide(make_claim("0.5"), strict.state), "policy")


@pytest.mark.parametrize("filter", ["gdp", "sum"])
@pytest.mark.parametrize("name", ["purpose", "recipient"])
def test_caps_by_label_add_up(make_claim, name, filter):
    account = Ledger().open("hie", Budget(3, 1e-8), filter)
    policy = Policy(**{f"{name}s": {"research": Budget("0.5", "2e-9")}})
    account.reserve(make_claim("0.3", **{name: "research"}), policy)
    account.reserve(make_claim("0.3", **{name: "other"}), policy)
    decision = refused(decide(make_claim("0.45", **{name: "research"}), account.state, policy), "policy")
    assert f"{name} 'research'" in decision.reason
    fits = re.search(r"At most epsilon ([0-9.]+) at delta 1e-9", decision.way_out).group(1)
    account.reserve(make_claim(fits, **{name: "research"}), policy)


def test_one_unit_per_account(fresh, make_claim):
    voided = fresh.reserve(make_claim("0.1", unit=PrivacyUnit("household", 5)))
    voided.void()
    fresh.reserve(make_claim("0.1"))
    fresh.reserve(make_claim("0.1", unit=PrivacyUnit("person", 7)))
    refused(decide(make_claim("0.1", unit=PrivacyUnit("household", 5)), fresh.state), "unit")
    decision = refused(decide(make_claim("0.1", unit=PrivacyUnit()), fresh.state), "unit")
    assert "column 'person', this one the row" in decision.reason


@pytest.mark.parametrize("filter", ["gdp", "sum"])
def test_beyond_the_lifetime_budget(make_claim, filter):
    account = Ledger().open("hie", Budget(1, 1e-8), filter)
    account.reserve(make_claim("0.7"))
    decision = refused(decide(make_claim("0.9"), account.state), "lifetime")
    assert "epsilon 0.9" in decision.reason
    assert "dataset 'hie'" in decision.reason
    fits = re.search(r"At most epsilon ([0-9.]+) at delta 1e-9 fits", decision.way_out).group(1)
    assert Decimal(fits) == account.remaining_epsilon("1e-9")
    account.reserve(make_claim(fits))
    decision = refused(decide(make_claim("0.3"), account.state), "lifetime")
    refused(decide(make_claim(fits), account.state), "lifetime")


def test_the_way_out_for_what_may_fail_outright_is_a_command_that_works(make_claim):
    """A plan with a chance of failing outright: the command printed, and no less, admits it."""
    book = Ledger()
    account = book.open("hie-1", Budget(3, "1e-6"))
    plan = FixedPlan([SubsampledGaussian(2.0, 0.01, 50)])
    claim = make_claim("2", "1e-7", plan=plan, delta0="1.23456e-10")
    way = refused(decide(claim, account.state), "lifetime").way_out
    assert way.endswith("`dpsynth ledger amend hie-1 --delta0 1.24e-10 --delta 1.000124e-6`.")
    account = book.amend("hie-1", budget=Budget(3, "1.000124e-6"), delta0="1.24e-10")
    assert isinstance(decide(claim, account.state), Admitted)
    policy = Policy(purposes={"research": Budget(3, "2e-10")})
    capped = refused(decide(replace(claim, purpose="research"), account.state, policy), "policy")
    assert "of which half may be set aside" in capped.way_out
    account.reserve(claim)
    way = refused(decide(claim, account.state), "lifetime").way_out
    assert "--delta0 2.47e-10 --delta 1.000247e-6" in way


def test_nothing_left(make_claim):
    account = Ledger().open("hie", Budget("0.3", "1e-9"), "sum")
    account.reserve(make_claim("0.3"))
    decision = refused(decide(make_claim("0.1"), account.state), "lifetime")
    assert "No further release at delta 1e-9 fits" in decision.way_out


def test_three_tenths_fit_in_a_sum_of_three_tenths(make_claim):
    account = Ledger().open("hie", Budget(0.3, 3e-9), "sum")
    for _ in range(3):
        account.reserve(make_claim(0.1))
    refused(decide(make_claim("1e-6"), account.state), "lifetime")
    assert account.state.spent.epsilon == Decimal("0.3")


def test_sum_guards_delta_too(make_claim):
    account = Ledger().open("hie", Budget(3, "2e-9"), "sum")
    account.reserve(make_claim("0.1", "1.5e-9"))
    refused(decide(make_claim("0.1", "1e-9"), account.state), "lifetime")
    assert account.remaining_epsilon("1e-9") == 0
    assert account.remaining_epsilon("5e-10") == Decimal("2.9")


def test_the_lifetime_guarantee_in_numbers(make_claim):
    """Whatever a gdp account admits has, all together, a profile within the lifetime budget."""
    account = Ledger().open("hie", Budget(1, 1e-8))
    while (fits := account.remaining_epsilon("1e-9")) > 0:
        account.reserve(make_claim(min(fits, Decimal("0.3"))))
    state = account.state
    assert len(state.releases) > 4
    assert Profile(state.spent_mu_squared).epsilon(1e-8) <= 1
    assert state.spent_epsilon <= 1
    assert state.spent_epsilon > Decimal("0.9999")


@settings(deadline=None, max_examples=10)
@given(
    lifetime=st.decimals("0.01", "8", places=2),
    share=st.decimals("0", "0.999", places=3),
    delta=st.sampled_from(["1e-12", "1e-9", "1e-8", "1e-6"]),
)
def test_what_remains_is_admitted_and_a_little_more_is_not(lifetime, share, delta):
    opened = Lifetime.of(Budget(lifetime, "1e-8"))
    spent = Charge(opened.mu_squared * share)
    fits = opened.remaining_epsilon(spent, delta)
    if fits > 0:
        assert opened.admits(spent, Charge(mu_squared_cap(Budget(fits, delta))))
        assert not opened.admits(spent, Charge(mu_squared_cap(Budget(fits * Decimal("1.0001"), delta))))


def test_lifetimes_round_trip():
    for filter in ("gdp", "sum"):
        lifetime = Lifetime.of(Budget(1, 1e-8), filter)
        assert Lifetime.from_json(lifetime.to_json()) == lifetime
    charge = Charge(Decimal("0.1"), Decimal(0), Decimal(1), Decimal("1e-9"))
    assert Charge.from_json(charge.to_json()) == charge


@pytest.fixture
def released(fresh, make_claim):
    run = fresh.reserve(make_claim("0.5"))
    run.start()
    run.commit(MODEL)
    fresh.draw(run.id, MODEL, TABLE, 100)
    return fresh


def test_a_drawn_table_may_leave(released):
    decision = released.decide_release(TABLE, MODEL)
    assert isinstance(decision, Admitted)
    assert decision.charge == Charge()
    assert decision.release in released.state.releases


def test_tables_that_may_not_leave(released, make_claim):
    state = released.state
    refused(decide_release("c" * 64, MODEL, state), "table")
    refused(decide_release(TABLE, "c" * 64, state), "model")
    refused(decide_release(TABLE, MODEL, None), "chain")
    refused(decide_release(TABLE, MODEL, state, numerics="none"), "numerics")
    refused(decide_release(TABLE, MODEL, state, numerics="seeded"), "numerics")
    refused(decide_release(TABLE, MODEL, state, numerics="idealised"), "numerics")
    refused(decide_release(TABLE, MODEL, state, Policy(max_epsilon="0.1")), "policy")


def test_equal_tables_of_two_models(released, make_claim):
    run = released.reserve(make_claim("0.3"))
    run.start()
    run.commit("d" * 64)
    released.draw(run.id, "d" * 64, TABLE, 100)
    assert released.decide_release(TABLE, "d" * 64).release == run.id
    assert released.decide_release(TABLE, MODEL).release != run.id


def test_draws_only_from_committed_models(fresh, make_claim):
    run = fresh.reserve(make_claim("0.5"))
    with pytest.raises(GateRefused, match="rule 'model'"):
        fresh.draw("nope", MODEL, TABLE, 100)
    with pytest.raises(GateRefused, match="is reserved, not committed"):
        fresh.draw(run.id, MODEL, TABLE, 100)
    run.start()
    with pytest.raises(GateRefused, match="is running, not committed"):
        fresh.draw(run.id, MODEL, TABLE, 100)
    run.commit(MODEL)
    with pytest.raises(GateRefused, match="rule 'model'"):
        fresh.draw(run.id, "c" * 64, TABLE, 100)
    assert fresh.find_table(TABLE) is None


@pytest.mark.parametrize("epsilon", ["0.95", "0.3023", "1"])
def test_no_more_is_said_to_be_charged_than_the_cap(make_claim, epsilon):
    """A lifetime used up by releases that fit: rounding up what is charged does not take it beyond."""
    account = Ledger().open("hie", Budget(1, 1e-8))
    account.reserve(make_claim(epsilon, "9e-9"))
    account.reserve(make_claim(account.remaining_epsilon("1e-9")))
    said = refused(decide(make_claim("0.5"), account.state), "lifetime").reason
    charged, cap = map(Decimal, re.search(r"\(([0-9.]+) of ([0-9.]+) is charged\)", said).groups())
    assert charged <= cap


def test_what_costs_more_than_a_gaussian_is_told_about_where_it_would_fit(make_claim):
    account = Ledger().open("hie", Budget(1, 1e-8), delta0="1e-9")
    plan = FixedPlan([SubsampledGaussian(9.0, 0.1, 100)])
    claim = make_claim("1", "1e-9", plan=plan, delta0="1e-11")
    account.reserve(make_claim("0.9", "1e-9"))
    way = refused(decide(claim, account.state), "lifetime").way_out
    assert re.match(r"(Lower its epsilon to about|At most epsilon) 0\.[0-9]+", way), way

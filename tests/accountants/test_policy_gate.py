"""What an organisation rules out beyond the budget, as the gate says it: figures, names, and the way out."""

import dataclasses
import re
from decimal import Decimal

import pytest

from accountants import (
    Admitted,
    Budget,
    Claim,
    Claimed,
    FixedPlan,
    Gaussian,
    Ledger,
    PoissonRuns,
    Policy,
    PrivacyUnit,
    PrivateSelection,
    Refused,
    SubsampledGaussian,
    decide,
)
from accountants.events import REPLACE
from accountants.wording import rests_on
from dpsynth.standing import standing

ACCOUNT = Budget(1, "1e-8")


def claim(*events, epsilon="0.5", delta="1e-9", **fields):
    numerics = "idealised" if any(isinstance(event, Claimed) for event in events) else "exact"
    defaults = {"generator": "gan", "schema_digest": "5c" * 32, "unit": PrivacyUnit("person", 3), "numerics": numerics}
    return Claim(budget=Budget(epsilon, delta), plan=FixedPlan(events), **{**defaults, **fields})


def opened(budget=ACCOUNT, filter="gdp", **fields):
    return Ledger().open("hie", budget, filter, **fields)


def refused(decision, rule):
    assert isinstance(decision, Refused), decision
    assert decision.rule == rule, decision
    return decision


THEIRS = Claimed("0.1", "1e-10", "diffprivlib")
EXCHANGED = Claimed("0.1", "1e-10", "diffprivlib", relation=REPLACE)
STEPS = SubsampledGaussian(4.0, 0.01, 500)
SELECTION = PrivateSelection([Gaussian(200.0)], PoissonRuns(3.0), "1e-10")


def test_a_claim_that_may_fail_needs_delta_set_aside():
    decision = refused(decide(claim(THEIRS), opened().state), "lifetime")
    assert "probability 1e-10" in decision.reason
    assert "sets 0 of its delta aside" in decision.reason
    assert "dataset 'hie'" in decision.reason
    assert "`dpsynth ledger amend hie --delta0 1e-10 --delta 1.01e-8`" in decision.way_out
    account = opened(delta0="1.5e-10")
    account.reserve(claim(THEIRS))
    decision = refused(decide(claim(THEIRS), account.state), "lifetime")
    assert "sets 1.5e-10 of its delta aside" in decision.reason
    assert "of which 1e-10 is charged" in decision.reason
    account.ledger.amend("hie", delta0="2e-10")
    account = account.ledger.account("hie")
    assert account.state.budget.delta == Decimal("1.005e-8")
    assert isinstance(decide(claim(THEIRS), account.state), Admitted)


def test_dp_sgd_in_a_gdp_and_in_a_sum_account():
    wanted = claim(STEPS, delta0="1e-10")
    admitted = decide(wanted, opened(delta0="1e-9").state)
    assert admitted.charge.delta0 == Decimal("1e-10")
    assert admitted.charge.mu_squared < STEPS.mu_squared / 30
    admitted = decide(wanted, opened(filter="sum").state)
    assert (admitted.charge.epsilon, admitted.charge.delta) == (Decimal("0.5"), Decimal("1e-9"))
    refused(decide(wanted, opened().state), "lifetime")
    # Without a delta0 of its own it costs as if nothing were sampled: more than the account has.
    decision = refused(decide(claim(STEPS), opened(delta0="1e-9").state), "lifetime")
    assert re.search(r"mu\^2 31\.25\b", decision.reason)


def test_dp_sgd_beyond_its_declared_epsilon():
    decision = refused(decide(claim(SubsampledGaussian(1.0, 0.01, 1000), delta0="1e-10"), opened().state), "claim")
    needed = re.search(r"Declare epsilon ([0-9.]+),", decision.way_out).group(1)
    assert 2.9 < float(needed) < 3.1
    wide = opened(Budget(20, "1e-6"), delta0="1e-9")
    again = claim(SubsampledGaussian(1.0, 0.01, 1000), epsilon=needed, delta0="1e-10")
    assert isinstance(decide(again, wide.state), Admitted)


def test_a_delta0_too_small_for_a_distribution_is_refused_with_the_least():
    decision = refused(decide(claim(STEPS, delta0="1e-13"), opened(delta0="1e-9").state), "claim")
    assert "declare a larger delta0" in decision.reason


def test_a_selection_among_runs_is_unchecked_and_policy_says_whether_that_is_enough():
    account = opened(delta0="1e-9")
    decision = refused(decide(claim(SELECTION), account.state), "accountants")
    assert "no second accountant" in decision.reason
    assert "unchecked: true" in decision.way_out
    assert isinstance(decide(claim(SELECTION), account.state, Policy(unchecked=True)), Admitted)
    # The account's own policy holds as well.
    strict = opened(delta0="1e-9", policy=Policy())
    refused(decide(claim(SELECTION), strict.state, Policy(unchecked=True)), "accountants")
    loose = opened(delta0="1e-9", policy=Policy(unchecked=True))
    refused(decide(claim(SELECTION), loose.state), "accountants")


def test_third_parties_by_name():
    account = opened(delta0="1e-9")
    assert isinstance(decide(claim(THEIRS), account.state, Policy(third_party={"diffprivlib"})), Admitted)
    assert isinstance(decide(claim(THEIRS), account.state), Admitted)
    decision = refused(decide(claim(THEIRS), account.state, Policy(third_party={"opacus"})), "policy")
    assert "claims of 'diffprivlib'" in decision.reason
    assert "opacus" in decision.way_out
    decision = refused(decide(claim(THEIRS), account.state, Policy(third_party=())), "policy")
    assert "none" in decision.way_out
    framed = claim(Gaussian(90.0), frame=(THEIRS,), numerics="idealised")
    refused(decide(framed, account.state, Policy(third_party={"opacus"})), "policy")
    assert isinstance(decide(claim(Gaussian(90.0)), account.state, Policy(third_party=())), Admitted)


def test_a_ceiling_on_a_lifetimes_delta():
    decision = refused(decide(claim(Gaussian(90.0)), opened().state, Policy(max_lifetime_delta="5e-9")), "policy")
    assert "delta 1e-8" in decision.reason
    assert "at most 5e-9" in decision.reason
    assert isinstance(decide(claim(Gaussian(90.0)), opened().state, Policy(max_lifetime_delta="1e-8")), Admitted)


@pytest.mark.parametrize("filter", ["gdp", "sum"])
def test_a_ceiling_on_a_lifetimes_epsilon(make_claim, filter):
    """An account opened for more is stopped there, by what all its releases come to."""
    account, policy = opened(filter=filter), Policy(max_lifetime_epsilon="0.6")
    account.reserve(make_claim("0.45"), policy)
    decision = refused(decide(make_claim("0.54"), account.state, policy), "policy")
    assert "by policy, dataset 'hie' is opened for epsilon 0.6" in decision.reason
    assert isinstance(decide(make_claim("0.54"), account.state), Admitted)
    fits = re.search(r"At most epsilon ([0-9.]+)", decision.way_out).group(1)
    assert isinstance(decide(make_claim(fits), account.state, policy), Admitted)
    assert isinstance(decide(make_claim("0.54"), account.state, Policy(max_lifetime_epsilon=1)), Admitted)


def test_claims_without_a_schema():
    account = opened(delta0="1e-9")
    none = {"schema_digest": None, "schema_origin": "none"}
    assert isinstance(decide(claim(THEIRS, **none), account.state), Admitted)
    refused(decide(claim(THEIRS, schema_digest=None), account.state), "claim")
    refused(decide(claim(THEIRS, schema_origin="none"), account.state), "claim")
    refused(decide(claim(THEIRS, **none), account.state, Policy(schema_origins={"declared"})), "policy")


def test_labels_share_what_is_set_aside():
    """A label's cap takes up to half of its own delta for what may fail."""
    account = opened(delta0="5e-9")
    policy = Policy(purposes={"research": Budget("0.9", "2e-9")})
    first = claim(Claimed("0.1", "6e-10", "them"), purpose="research")
    account.reserve(first, policy)
    decision = refused(decide(first, account.state, policy), "policy")
    assert "purpose 'research' on dataset 'hie' sets 1e-9 of its delta aside" in decision.reason
    assert "of which 6e-10 is charged" in decision.reason
    assert isinstance(decide(dataclasses.replace(first, purpose=None), account.state, policy), Admitted)
    narrow = Policy(recipients={"uni": Budget("0.05", "2e-9")})
    decision = refused(decide(claim(THEIRS, recipient="uni"), account.state, narrow), "policy")
    assert "recipient 'uni'" in decision.reason


def test_policies_round_trip_with_all_settings(tmp_path):
    policy = Policy(
        max_lifetime_epsilon=3,
        max_lifetime_delta="1e-7",
        third_party=["opacus"],
        unchecked=True,
        schema_origins=["none"],
    )
    assert Policy.from_json(policy.to_json()) == policy
    path = tmp_path / "policy.yaml"
    path.write_text(
        "max_lifetime_epsilon: 3\nmax_lifetime_delta: 1e-7\nthird_party: [opacus]\n"
        "unchecked: true\nschema_origins: [none]\n"
    )
    assert Policy.from_yaml(path) == policy
    old = {"version": 1, "max_epsilon": "2", "purposes": {}}
    assert Policy.from_json(old) == Policy(max_epsilon=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unchecked": 1},
        {"max_lifetime_delta": 1},
        {"max_lifetime_epsilon": 0},
        {"third_party": "opacus"},
        {"third_party": [1]},
    ],
)
def test_settings_that_mean_nothing(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)


def test_a_claim_inside_a_selection_has_its_source():
    inside = claim(PrivateSelection([Claimed("0.01", 0, "them")], PoissonRuns(2.0), "1e-10"), numerics="idealised")
    assert inside.sources == {"them"}
    decision = decide(inside, opened(filter="sum").state, Policy(third_party=frozenset(), unchecked=True))
    assert "them" in refused(decision, "policy").reason


def test_a_third_partys_claim_is_never_exact():
    assert "idealised" in refused(decide(claim(THEIRS, numerics="exact"), opened(filter="sum").state), "claim").reason


SAMPLED = [SubsampledGaussian(4.0 + k / 100, 1e-4, 1) for k in range(65)]


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([SubsampledGaussian(500.0, 1e-4, 10**6), Gaussian(500.0)], "1000001 looks, the steps of DP-SGD among them"),
        (SAMPLED, "65 different looks beside Gaussian noise are more than 64"),
        ([PrivateSelection(SAMPLED, PoissonRuns(1.0))], "66 different looks"),
    ],
)
def test_what_no_reader_could_check_in_a_minute_is_not_admitted(events, says):
    assert says in refused(decide(claim(*events), opened(delta0="1e-9").state), "claim").reason


def test_a_release_with_a_schema_is_about_adding_or_removing():
    for events in ([EXCHANGED], [PrivateSelection([EXCHANGED], PoissonRuns(1.0))]):
        assert claim(*events).relation == "blank_one_unit"
        decision = refused(decide(claim(*events, numerics="idealised"), opened(filter="sum").state), "claim")
        assert "reserved as a release of their own" in decision.way_out + decision.reason


def test_an_account_knows_the_neighbours_of_its_releases_together():
    account = opened(filter="sum")
    account.reserve(claim(Gaussian(200.0), epsilon="0.2"))
    account.reserve(claim(THEIRS, epsilon="0.2"))
    assert account.state.relation == "add_or_remove_one_unit"
    assert "blank" not in standing(account.state)
    alone = claim(EXCHANGED, epsilon="0.2", schema_digest=None, schema_origin="none", numerics="idealised")
    given_back = account.reserve(alone)
    assert account.state.relation == "blank_one_unit"
    assert "hide whether a unit's rows are blank" in standing(account.state)
    given_back.void()
    assert account.state.relation == "add_or_remove_one_unit"


def test_an_account_says_whose_word_it_takes():
    account = opened(filter="sum")
    assert account.state.idealised == ()
    account.reserve(claim(Gaussian(200.0), epsilon="0.2", generator="mst"))
    assert account.state.idealised == ()
    account.reserve(claim(THEIRS, epsilon="0.2", generator="diffprivlib"))
    assert account.state.idealised == ("diffprivlib",)
    assert "exact noise" in rests_on(())
    assert "diffprivlib" in rests_on(account.state.idealised)

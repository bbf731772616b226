"""A lifetime in two figures: mu^2 and delta0, each with its own cap; amendments only widen; sums beside it."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    Budget,
    BudgetError,
    Charge,
    Claim,
    Claimed,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Lifetime,
    PlanError,
    PrivacyUnit,
    Profile,
    SubsampledGaussian,
    compose,
    mu_squared_cap,
    numerical_slack,
)
from accountants.domination import dominating_mu_squared
from accountants.parts import Parts

WHOLE = Budget(1, "1e-8")
EPSILONS = st.decimals("0.05", "8", places=2)
DELTAS = st.sampled_from(["1e-10", "1e-8", "1e-6"])
SHARES = st.sampled_from(["0", "0.01", "0.3", "0.9"])


@settings(derandomize=True, deadline=None, max_examples=25)
@given(EPSILONS, DELTAS, SHARES)
def test_the_caps_together_stay_within_the_budget(epsilon, delta, share):
    """delta0 + (1 - delta0) delta_Gauss + slack <= delta, and the cap is not much less than could be."""
    budget = Budget(epsilon, delta)
    if numerical_slack(budget.epsilon) > budget.delta / 20:
        return
    lifetime = Lifetime.of(budget, "gdp", budget.delta * Decimal(share))
    slack = numerical_slack(budget.epsilon)
    at = Decimal(Profile(lifetime.mu_squared, lifetime.delta0).delta(budget.epsilon))
    assert at + slack <= budget.delta * (1 + Decimal("1e-15"))
    wider = Decimal(Profile(lifetime.mu_squared * Decimal("1.001"), lifetime.delta0).delta(budget.epsilon))
    assert wider + slack > budget.delta


def test_setting_delta_aside_costs_the_others_a_little():
    caps = [Lifetime.of(WHOLE, "gdp", aside).mu_squared for aside in ("0", "1e-10", "1e-9", "5e-9", "9.9e-9")]
    assert caps == sorted(caps, reverse=True)
    assert caps[0] == mu_squared_cap(WHOLE)
    assert caps[1] > caps[0] * Decimal("0.999")


@pytest.mark.parametrize("aside", ["1e-8", "2e-8"])
def test_no_more_is_set_aside_than_there_is(aside):
    with pytest.raises(PlanError, match="leave nothing of delta"):
        Lifetime.of(WHOLE, "gdp", aside)


@pytest.mark.parametrize("aside", ["0", "1e-10"])
def test_an_epsilon_beyond_sense_is_named_as_the_cause(aside):
    with pytest.raises(PlanError, match=r"at epsilon 1000 .*choose a smaller epsilon"):
        Lifetime.of(Budget("1000", "1e-9"), "gdp", aside)


@pytest.mark.parametrize(
    ("budget", "remedy"),
    [
        (Budget("1", "1e-40"), r"1E-40; choose a larger delta \(1e-9 is common\)$"),
        (Budget("10", "1e-17"), r"choose a larger delta \(1e-9 is common\)$"),
        (Budget("30", "1e-9"), r"choose a smaller epsilon \([^)]*\)$"),
        (Budget("30", "1e-40"), r"choose a smaller epsilon \([^)]*\) and a larger delta"),
    ],
)
def test_what_the_slack_exceeds_is_what_is_to_change(budget, remedy):
    with pytest.raises(PlanError, match=remedy):
        mu_squared_cap(budget)


@pytest.mark.parametrize("aside", [-1e-9, float("nan"), "x", None, True])
def test_what_is_set_aside_is_a_probability(aside):
    with pytest.raises(BudgetError, match="delta0"):
        Lifetime.of(WHOLE, "gdp", aside)
    with pytest.raises(BudgetError, match="'gdp' filter only"):
        Lifetime.of(WHOLE, "sum", "1e-9")


def test_each_cap_holds_by_itself():
    lifetime = Lifetime.of(WHOLE, "gdp", "2e-9")
    most = Charge(lifetime.mu_squared, lifetime.delta0)
    assert lifetime.admits(Charge(), most)
    assert not lifetime.admits(Charge(), Charge(lifetime.mu_squared * Decimal("1.0000001"), Decimal(0)))
    assert not lifetime.admits(Charge(), Charge(Decimal(0), Decimal("2.0000001e-9")))
    # Nothing of one is lent to the other.
    assert not lifetime.admits(Charge(Decimal(0), lifetime.delta0), Charge(Decimal(0), Decimal("1e-30")))
    assert lifetime.admits(Charge(Decimal(0), lifetime.delta0), Charge(lifetime.mu_squared))
    assert not Lifetime.of(WHOLE).admits(Charge(), Charge(Decimal(0), Decimal("1e-30")))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(EPSILONS, SHARES, EPSILONS, st.sampled_from(["1e-10", "1e-8", "5e-8"]), SHARES)
def test_an_amendment_only_widens(epsilon, share, new_epsilon, new_delta, new_share):
    before = Lifetime.of(Budget(epsilon, "1e-8"), "gdp", Decimal("1e-8") * Decimal(share))
    budget = Budget(new_epsilon, new_delta)
    try:
        after = before.widened(budget, budget.delta * Decimal(new_share))
    except (BudgetError, PlanError):
        wider = None
        if numerical_slack(budget.epsilon) < budget.delta / 20:
            wider = Lifetime.of(budget, "gdp", budget.delta * Decimal(new_share))
        narrower = wider is None or (
            wider == before
            or budget.epsilon < before.budget.epsilon
            or budget.delta < before.budget.delta
            or wider.delta0 < before.delta0
            or wider.mu_squared < before.mu_squared
        )
        assert narrower
        return
    assert after.budget.epsilon >= before.budget.epsilon
    assert after.budget.delta >= before.budget.delta
    assert after.mu_squared >= before.mu_squared
    assert after.delta0 >= before.delta0
    assert after != before


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.decimals("0.05", "3", places=2), SHARES, st.sampled_from(["1e-10", "1e-9", "1e-7"]))
def test_more_set_aside_later_raises_the_lifetimes_delta(epsilon, share, more):
    before = Lifetime.of(Budget(epsilon, "1e-8"), "gdp", Decimal("1e-8") * Decimal(share))
    after = before.widened(delta0=before.delta0 + Decimal(more))
    assert after.budget.delta == before.budget.delta + Decimal(more)
    assert after.mu_squared >= before.mu_squared
    assert after.budget.epsilon == before.budget.epsilon


def test_amendments_that_are_refused():
    lifetime = Lifetime.of(WHOLE, "gdp", "1e-9")
    with pytest.raises(BudgetError, match="lower mu squared and epsilon of"):
        lifetime.widened(Budget("0.9", "1e-7"))
    with pytest.raises(BudgetError, match="and delta of"):
        lifetime.widened(Budget("1.1", "9e-9"), "0")
    with pytest.raises(BudgetError, match="lower delta0"):
        lifetime.widened(Budget(2, "1e-8"), "5e-10")
    with pytest.raises(BudgetError, match="lower mu squared"):
        lifetime.widened(WHOLE, "5e-9")
    with pytest.raises(BudgetError, match="changes nothing"):
        lifetime.widened()
    summed = Lifetime.of(WHOLE, "sum")
    assert summed.widened(Budget(2, "1e-8")).budget.epsilon == 2
    with pytest.raises(BudgetError, match="'gdp' filter only"):
        summed.widened(delta0="1e-9")


def claim(*events, epsilon="0.5", delta="1e-9", **fields):
    return Claim(Budget(epsilon, delta), PrivacyUnit("person", 3), FixedPlan(events), "gan", "5c" * 32, **fields)


def test_dp_sgd_is_charged_to_either_kind_of_account():
    steps = SubsampledGaussian(4.0, 0.01, 500)
    charge = Charge.of(claim(steps, delta0="1e-10"))
    assert charge.epsilon == Decimal("0.5")
    assert charge.delta == Decimal("1e-9")  # what is set aside for a lifetime is part of no release's own delta
    assert charge.delta0 == Decimal("1e-10")
    assert charge.mu_squared == dominating_mu_squared(Parts.of([steps]), Decimal("1e-10"))
    lifetime = Lifetime.of(WHOLE, "gdp", "3e-10")
    spent = Charge()
    for _ in range(3):
        assert lifetime.admits(spent, charge)
        spent = spent + charge
    assert not lifetime.admits(spent, charge)  # delta0 is used up, mu^2 is not
    assert spent.mu_squared < lifetime.mu_squared / 2
    summed = Lifetime.of(WHOLE, "sum")
    assert summed.admits(charge, charge)
    assert not summed.admits(charge + charge, charge)
    # With nothing set aside it is charged as if every unit took part in every step.
    assert Charge.of(claim(steps)).mu_squared == steps.mu_squared > 30 * charge.mu_squared


def test_what_a_gdp_account_admits_is_within_its_budget_all_together():
    """DP-SGD, a claim, selections and counts until nothing fits: their exact composition is within the lifetime."""
    lifetime = Lifetime.of(WHOLE, "gdp", "2e-9")
    offered = [
        claim(SubsampledGaussian(4.0, 0.01, 500), delta0="5e-10"),
        claim(Claimed("0.03", "1e-10", "them"), ExponentialMechanism(0.02)),
        claim(Gaussian(60.0)),
    ]
    spent, events = Charge(), []
    for _ in range(40):
        for each in offered:
            if lifetime.admits(spent, Charge.of(each)):
                spent, events = spent + Charge.of(each), [*events, *each.events]
    assert len(events) > 8
    assert compose(events).epsilon(WHOLE.delta) <= 1
    assert lifetime.spent_epsilon(spent) <= 1
    assert Decimal(compose(events).epsilon(WHOLE.delta)) <= lifetime.spent_epsilon(spent)


@pytest.mark.parametrize("aside", ["0", "1e-9"])
def test_round_trip(aside):
    for lifetime in (Lifetime.of(WHOLE, "gdp", aside), Lifetime.of(WHOLE, "sum")):
        assert Lifetime.from_json(lifetime.to_json()) == lifetime
    charge = Charge(Decimal("0.1"), Decimal(aside), Decimal(1), Decimal("1e-9"))
    assert Charge.from_json(charge.to_json()) == charge
    with pytest.raises(BudgetError, match="never negative"):
        Charge.from_json({**charge.to_json(), "delta0": "-1e-9"})
    with pytest.raises(BudgetError, match="finite"):
        Charge.from_json({**charge.to_json(), "mu_squared": "nan"})

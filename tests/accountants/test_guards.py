"""Guards of the accounting, each against a figure from outside: the formula of the paper, or brute force."""

from __future__ import annotations

import math
from decimal import Decimal
from math import comb

import numpy as np
import pytest
import rfc8785
from scipy.special import ndtr

from accountants import (
    Admitted,
    Budget,
    BudgetError,
    Claim,
    FixedPlan,
    Gaussian,
    Ledger,
    Lifetime,
    Policy,
    PrivacyUnit,
    Refused,
    SigningKey,
    decide,
    decide_release,
)
from accountants.domination import dominated, dominating_mu_squared
from accountants.errors import LedgerCorrupt, LedgerError, PlanError
from accountants.events import (
    Claimed,
    Laplace,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    TruncatedNegativeBinomial,
)
from accountants.ledger.rows import GENESIS, Row, row_hash, verified
from accountants.parts import Parts
from accountants.pld import GUARD, Direction, pair_of
from accountants.profile import Profile

SAMPLED = SubsampledGaussian(noise_multiplier=1.0, sample_rate=0.02, steps=1)
EPSILONS = np.linspace(0.0, 12.0, 61)


def gauss(g, mu):
    """delta_Gauss(g; mu), Balle and Wang 2018, Theorem 8."""
    return ndtr(mu / 2 - g / mu) - math.exp(g) * ndtr(-mu / 2 - g / mu)


def test_a_step_on_a_sample_has_the_profile_of_the_paper_in_its_worse_direction():
    """Zhu, Dong, Wang 2022, Theorem 11: one unit removed is the worse direction above 0."""
    pair, q = pair_of(Parts(looks=((SAMPLED, 1),))), SAMPLED.sample_rate
    for g in (0.01, 0.1, 0.5, 1.0):
        exact = q * gauss(math.log((math.exp(g) - 1 + q) / q), 1.0)
        assert exact <= pair.delta(g) <= exact * 1.01 + 2 * GUARD


def test_many_equal_looks_are_composed_as_often_as_they_are_asked():
    """Randomised response k times, against all 2^k outcomes."""
    epsilon, k, g = 0.5, 10, 1.0
    p = 1 / (1 + math.exp(-epsilon))
    exact = sum(
        comb(k, i) * max(0.0, p**i * (1 - p) ** (k - i) - math.exp(g) * p ** (k - i) * (1 - p) ** i)
        for i in range(k + 1)
    )
    found = pair_of(Parts(looks=((RandomizedResponse(epsilon), k),))).delta(g)
    assert exact <= found <= exact * 1.001 + 2 * GUARD


def test_a_delta_that_transforms_cannot_tell_from_nothing_has_no_epsilon():
    pair = pair_of(Parts(looks=((Laplace(2.0), 3),)))
    assert pair.epsilon(GUARD / 2) == math.inf
    assert math.isfinite(pair.epsilon(GUARD * 10))


def test_what_dominates_does_so_for_every_epsilon_and_in_both_directions():
    parts, delta0 = Parts(looks=((SAMPLED, 2000),)), Decimal("1e-9")
    dominating = Profile(dominating_mu_squared(parts, delta0), delta0)
    pair = pair_of(parts)
    bounds = np.array([dominating.delta(g) for g in EPSILONS])
    for side in (pair.remove, pair.add):
        assert (side.at(EPSILONS) + pair.guard <= bounds * (1 + 1e-9)).all()
    # The test has power: the Gaussian through one point of a moderate epsilon passes below the tail.
    own = pair.delta(1.0)
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if gauss(1.0, middle) > own else (middle, high)
    through = np.array([float(delta0) + gauss(g, low) for g in EPSILONS])
    assert (pair.remove.at(EPSILONS) > through * 1.01).any()


def test_domination_is_judged_between_the_knots_too():
    """A chord of a convex curve lies above it: equal at the knots is not enough."""
    losses = np.array([0.0, 1.0, 2.0])
    deltas = np.array([gauss(g, 1.0) for g in losses])
    assert not dominated(Direction(losses, deltas, 0.0), 0.0, 1.0, 1e-9)
    fine = np.linspace(0.0, 2.0, 20_001)
    curve = np.array([gauss(g, 1.0) for g in fine])
    assert dominated(Direction(fine, curve, 0.0), 0.0, 1.0, 1e-6)


def test_a_delta0_below_double_precision_is_refused():
    with pytest.raises(PlanError, match="double precision"):
        dominating_mu_squared(Parts(looks=((SAMPLED, 10),)), Decimal("1e-14"))


def test_every_step_and_every_failure_counts():
    assert SubsampledGaussian(2.0, 0.1, 40).mu_squared >= 40 * Decimal("0.25")
    once, thrice = (Parts.of([Thresholding(5.0, "1e-10")] * n) for n in (1, 3))
    assert thrice.delta0 == 3 * once.delta0 == Decimal("3e-10")
    assert thrice.mu_squared >= 3 * Decimal("0.04")
    assert (
        Parts.of([RandomizedResponse(0.3)] * 7).closed_mu_squared > Decimal("6.99") * RandomizedResponse(0.3).mu_squared
    )


def test_a_claim_about_rows_is_charged_for_the_unit():
    """Group privacy, Vadhan 2017, Lemma 2.2."""
    claim = Claimed("0.5", "1e-9", "someone", per="row", at_most=3)
    epsilon, delta = 1.5, 1e-9 * math.expm1(1.5) / math.expm1(0.5)
    assert float(claim.converted[0]) == pytest.approx(epsilon)
    assert float(claim.delta0) == pytest.approx(delta)
    mu = float(claim.mu_squared) ** 0.5
    assert gauss(epsilon - 1e-9, mu) > 0  # no cheaper than pure epsilon 1.5: worst at 0, where it is tanh(epsilon / 2)
    assert gauss(0.0, mu) >= math.tanh(epsilon / 2) * (1 - 1e-12)


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 2.0, 8.0])
def test_pure_mechanisms_are_dominated_by_the_gaussian_they_are_charged_as(epsilon):
    """Randomised response has delta(g) = (e^epsilon - e^g)/(1 + e^epsilon), Laplace 1 - e^((g - epsilon)/2)."""
    response, laplace = RandomizedResponse(epsilon), Laplace(1 / epsilon)
    for g in np.linspace(0.0, epsilon, 50):
        for event, own in (
            (response, (math.exp(epsilon) - math.exp(g)) / (1 + math.exp(epsilon))),
            (laplace, -math.expm1((g - epsilon) / 2)),
        ):
            assert gauss(g, float(event.mu_squared) ** 0.5) >= own * (1 - 1e-9)


MODELS, TABLE, SCHEMA = ("a" * 64, "b" * 64), "c" * 64, "5c" * 32


def claim(plan, epsilon="0.5", delta="1e-8", **fields):
    theirs = isinstance(plan, FixedPlan) and any(isinstance(event, Claimed) for event in plan.events)
    given = {"generator": "aim", "schema_digest": SCHEMA, "numerics": "idealised" if theirs else "exact", **fields}
    return Claim(budget=Budget(epsilon, delta), unit=PrivacyUnit("person", 3), plan=plan, **given)


def opened(epsilon=3, delta="1e-6", **terms):
    return Ledger().open("hie", Budget(epsilon, delta), **terms)


def rule_of(decision):
    return decision.rule if isinstance(decision, Refused) else None


def test_a_table_leaves_with_the_model_it_was_drawn_from_and_no_other():
    account = opened()
    for model in MODELS:
        run = account.reserve(claim(FixedPlan([Gaussian(40.0)])))
        run.start()
        run.commit(model)
    first = next(iter(account.state.releases))
    account.draw(first, MODELS[0], TABLE, 10)
    assert isinstance(account.decide_release(TABLE, MODELS[0]), Admitted)
    assert rule_of(account.decide_release(TABLE, MODELS[1])) == "model"


@pytest.mark.parametrize("numerics", ["none", "seeded", "EXACT", ""])
def test_noise_that_is_not_private_is_refused_as_such_before_anything_else(numerics):
    assert rule_of(decide_release(TABLE, MODELS[0], opened().state, numerics=numerics)) == "numerics"


def test_ceilings_on_a_lifetime_hold_below_what_the_account_was_opened_for():
    state, small = opened(3, "1e-6").state, claim(FixedPlan([Gaussian(40.0)]))
    assert isinstance(decide(small, state, Policy(max_lifetime_epsilon=1)), Admitted)
    assert rule_of(decide(small, state, Policy(max_lifetime_epsilon="0.05"))) == "policy"
    assert isinstance(decide(small, state, Policy(max_lifetime_delta="1e-6")), Admitted)
    assert rule_of(decide(small, state, Policy(max_lifetime_delta="1e-7"))) == "policy"


def test_third_parties_are_taken_at_their_word_only_where_policy_lists_them():
    state = opened(3, "1e-6", delta0="1e-7").state
    theirs = claim(FixedPlan([Claimed("0.1", "1e-9", "opacus")]))
    assert isinstance(decide(theirs, state), Admitted)
    assert isinstance(decide(theirs, state, Policy(third_party={"opacus"})), Admitted)
    assert rule_of(decide(theirs, state, Policy(third_party={"diffprivlib"}))) == "policy"


def test_accounting_that_nobody_checks_needs_a_policy_that_says_so():
    state = opened(3, "1e-6", delta0="1e-7").state
    base = (Gaussian(40.0),)
    tuned = claim(FixedPlan([PrivateSelection(base, TruncatedNegativeBinomial(1.0, 0.5), "1e-9")]), 2)
    assert rule_of(decide(tuned, state)) == "accountants"
    assert isinstance(decide(tuned, state, Policy(unchecked=True)), Admitted)


def test_chances_of_failing_outright_have_a_cap_of_their_own():
    once = claim(FixedPlan([Claimed("0.1", "6e-9", "opacus")]))
    assert rule_of(decide(once, opened(3, "1e-6").state)) == "lifetime"
    account = opened(3, "1e-6", delta0="1e-8")
    account.reserve(once)
    assert rule_of(decide(once, account.state)) == "lifetime"


@pytest.mark.parametrize(("budget", "delta0"), [(Budget(2, "1e-6"), None), (Budget(3, "5e-7"), None), (None, "1e-8")])
def test_a_lifetime_is_only_ever_widened(budget, delta0):
    with pytest.raises(BudgetError, match="only widen"):
        Lifetime.of(Budget(3, "1e-6"), "gdp", "1e-7").widened(budget, delta0)


def row(key, seq, prev, body, kind="start", signature=None):
    """A row by hand, hashed as it should be, of whatever content."""
    text = rfc8785.dumps({"version": 1, **body}).decode()
    digest = row_hash(seq, "hie", kind, text, prev, key.public.key_id)
    signed = key.sign(b"dpsynth ledger row v1\n" + digest.encode()).hex() if signature is None else signature
    return Row(seq, "hie", kind, text, prev, digest, signed, key.public.key_id)


def test_a_row_holds_the_fields_of_its_kind_and_nothing_else():
    key = SigningKey.generate()
    trusted = {key.public.key_id: key.public}
    assert len(list(verified([row(key, 1, GENESIS, {"release": "r"})], (0, GENESIS), trusted))) == 1
    for body in ({"release": "r", "seconds": 3}, {}):
        with pytest.raises(LedgerError, match="row holds"):
            Row.signed(1, "hie", "start", body, GENESIS, key)
        with pytest.raises(LedgerCorrupt, match="row holds"):
            list(verified([row(key, 1, GENESIS, body)], (0, GENESIS), trusted))


def test_the_last_row_of_each_writer_is_checked():
    """A writer who is trusted cannot write under a colleague's name."""
    one, other = SigningKey.generate(), SigningKey.generate()
    trusted = {key.public.key_id: key.public for key in (one, other)}
    genuine, forged = (row(one, 1, GENESIS, {"release": "r"}, signature=s) for s in (None, "00" * 64))
    for first, good in ((genuine, True), (forged, False)):
        rows = [first, row(other, 2, first.hash, {"release": "r"})]
        if good:
            assert len(list(verified(rows, (0, GENESIS), trusted))) == 2
        else:
            with pytest.raises(LedgerCorrupt, match=r"row 1 .*signature"):
                list(verified(rows, (0, GENESIS), trusted))


def test_a_unit_under_another_relation_is_not_read():
    body = PrivacyUnit("person", 3).to_json()
    assert PrivacyUnit.from_json(body) == PrivacyUnit("person", 3)
    for relation in ("replace_one_unit", None, ""):
        with pytest.raises(BudgetError, match="relation must be"):
            PrivacyUnit.from_json({**body, "relation": relation})

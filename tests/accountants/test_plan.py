"""Plans and the meter that guards them."""

import copy
import os
import pickle
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    AdaptivePlan,
    Budget,
    Claim,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Meter,
    PlanError,
    PrivacyUnit,
    Profile,
    UnplannedEvent,
    compose,
    plan_from_json,
)
from accountants.exact import floor_float

EVENTS = st.one_of(
    st.floats(0.5, 1e4).map(Gaussian),
    st.floats(1e-3, 5.0).map(ExponentialMechanism),
)


def test_fixed_plan_admits_its_events_in_order_and_nothing_else():
    a, b = Gaussian(2.0), ExponentialMechanism(0.5)
    meter = Meter(FixedPlan([a, b]))
    with pytest.raises(UnplannedEvent, match="look 1"):
        meter.charge(b)
    meter.charge(a)
    with pytest.raises(UnplannedEvent, match="look 2"):
        meter.charge(Gaussian(2.0000001))
    meter.charge(b)
    with pytest.raises(UnplannedEvent, match="no further look"):
        meter.charge(b)
    assert meter.charged == (a, b)
    assert meter.remaining == 0


def test_adaptive_plan_is_a_filter():
    meter = Meter(AdaptivePlan(mu=1.0, kinds={"gaussian"}))
    meter.charge(Gaussian(2.0))
    with pytest.raises(UnplannedEvent, match="admits"):
        meter.charge(ExponentialMechanism(0.1))
    with pytest.raises(UnplannedEvent, match="exceeds"):
        meter.charge(Gaussian(1.1))
    assert meter.charged == (Gaussian(2.0),)
    meter.charge(Gaussian.from_mu(0.75**0.5))
    assert 0 <= meter.remaining < Decimal("1e-11")


def test_closed_meter_admits_nothing():
    meter = Meter(FixedPlan([Gaussian(1.0)]))
    meter.close()
    with pytest.raises(UnplannedEvent, match="over"):
        meter.charge(Gaussian(1.0))


@given(st.integers(1, 200), st.floats(0.01, 3.0))
@settings(deadline=None, max_examples=40)
def test_a_share_out_in_floats_never_trips_over_its_last_bit(parts, mu):
    meter = Meter(AdaptivePlan(mu=mu))
    share = Gaussian.from_mu((mu * mu / parts) ** 0.5)
    for _ in range(parts):
        meter.charge(share)


@given(st.lists(EVENTS, min_size=1, max_size=30), st.floats(0.01, 2.0))
@settings(deadline=None)
def test_whatever_is_asked_the_filter_never_passes_its_capacity(events, mu):
    meter = Meter(AdaptivePlan(mu=mu))
    for event in events:
        try:
            meter.charge(event)
        except UnplannedEvent:
            continue
    exact = sum((e.mu_squared for e in meter.charged), Decimal(0))
    assert exact <= meter.plan.capacity


@given(st.lists(EVENTS, min_size=1, max_size=10))
@settings(deadline=None)
def test_order_and_nesting_do_not_matter(events):
    once = compose(events)
    assert compose(reversed(events)) == once
    closed = once.mu_squared if isinstance(once, Profile) else once.closed.mu_squared
    assert abs(FixedPlan(events).capacity - closed) < Decimal("1e-30")


@given(st.lists(EVENTS, min_size=1, max_size=10))
@settings(deadline=None)
def test_plans_and_claims_round_trip(events):
    fixed = FixedPlan(events + events[-1:] * 3)
    adaptive = AdaptivePlan(0.1, {"gaussian"})
    for plan in (fixed, adaptive):
        assert plan_from_json(plan.to_json()) == plan
        claim = Claim(Budget(1), PrivacyUnit("patient", 3), plan, "mst", "ab" * 32, {"x": 1}, (Gaussian(9.0),))
        assert Claim.from_json(claim.to_json()) == claim
        assert claim.capacity >= plan.capacity


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "fixed", "events": []},
        {"kind": "fixed", "events": [{"kind": "gaussian", "noise_multiplier": "1", "count": 0}]},
        {"kind": "fixed", "events": [{"kind": "gaussian", "noise_multiplier": "1", "count": 1.5}]},
        {"kind": "adaptive", "mu": "nan", "kinds": ["gaussian"]},
        {"kind": "adaptive", "mu": "1", "kinds": ["train"]},
        {"kind": "adaptive", "mu": "1", "kinds": []},
    ],
)
def test_malformed_plans_raise(body):
    with pytest.raises(PlanError):
        plan_from_json(body)


def test_counts_are_expanded_not_trusted():
    ten = plan_from_json({"kind": "fixed", "events": [{"kind": "exponential_mechanism", "eta": "0.5", "count": 10}]})
    assert ten.capacity >= 10 * ExponentialMechanism(0.5).mu_squared * (1 - Decimal("1e-30"))


def test_a_meter_cannot_be_copied_or_carried_over_a_fork():
    meter = Meter(FixedPlan([Gaussian(1.0)]))
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="copied"):
            attempt(meter)
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        try:
            meter.charge(Gaussian(1.0))
            os.write(send, b"admitted")
        except UnplannedEvent:
            os.write(send, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 20) == b"refused"
    os.close(receive)
    os.close(send)
    meter.charge(Gaussian(1.0))


def test_only_events_are_charged():
    with pytest.raises(UnplannedEvent, match="only"):
        Meter(AdaptivePlan(1.0)).charge(FixedPlan([Gaussian(9.0)]))


def test_events_pickle_but_stay_validated():
    assert pickle.loads(pickle.dumps(Gaussian(2.0))) == Gaussian(2.0)


@pytest.mark.parametrize("at_most", [0, -1, 1.5, True, "3"])
def test_unit_bounds(at_most):
    with pytest.raises(ValueError, match="at_most"):
        PrivacyUnit("patient", at_most)


def test_a_bound_without_a_unit_is_refused():
    with pytest.raises(ValueError, match="no unit column"):
        PrivacyUnit(None, 2)


@given(st.floats(0.01, 2.0), st.lists(st.floats(0.01, 0.9), max_size=30), st.floats(0.001, 0.9))
@settings(deadline=None, max_examples=60)
def test_what_is_left_can_always_be_spent_to_the_last_bit(mu, shares, selection):
    meter = Meter(AdaptivePlan(mu=mu))
    for share in [*shares, 1.0]:
        left = floor_float(meter.remaining) * share
        if left * min(selection, 1 - selection) < 1e-20:  # beyond the largest noise multiplier that an event may have
            break
        meter.charge(ExponentialMechanism.from_mu_squared(selection * left))
        meter.charge(Gaussian.from_mu_squared((1 - selection) * left * (1 - 1e-12)))
    if meter.remaining > Decimal("1e-20"):
        meter.charge(Gaussian.from_mu_squared(floor_float(meter.remaining)))
    assert meter.remaining < Decimal("1e-14")

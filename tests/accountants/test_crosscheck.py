"""The second accountant encloses the truth: mechanisms with corners, and looks of very different size."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    BudgetError,
    Claimed,
    EventError,
    ExponentialMechanism,
    Gaussian,
    Laplace,
    PlanError,
    PoissonRuns,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    TruncatedNegativeBinomial,
    compose,
    plan_from_json,
)
from accountants.crosscheck import epsilon_interval
from accountants.discretisation import _around, _convex
from accountants.events import event_from_json


def exact_epsilon(widths, delta):
    """Of randomised responses of these epsilons, by enumeration of all outcomes."""
    losses, masses = [], []
    for signs in itertools.product((1, -1), repeat=len(widths)):
        losses.append(sum(sign * width for sign, width in zip(signs, widths, strict=True)))
        masses.append(math.prod(1 / (1 + math.exp(-sign * width)) for sign, width in zip(signs, widths, strict=True)))
    losses, masses = np.array(losses), np.array(masses)

    def profile(g):
        over = losses > g
        return float(np.sum(masses[over] * -np.expm1(g - losses[over])))

    low, high = 0.0, float(losses.max())
    if profile(0.0) <= delta:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if profile(middle) <= delta else (middle, high)
    return high


@given(st.lists(st.floats(0.02, 3.0), min_size=1, max_size=4), st.sampled_from([1e-9, 1e-6, 1e-3]))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_pure_mechanisms_of_any_widths_are_enclosed(widths, delta):
    truth = exact_epsilon(widths, delta)
    events = [RandomizedResponse(width) for width in widths]
    interval, first = epsilon_interval(tuple(events), delta), compose(events).epsilon(delta)
    assert interval.low <= truth * (1 + 1e-9) + 1e-12
    assert truth <= interval.high * (1 + 1e-9) + 1e-12
    assert truth <= first * (1 + 1e-9) + 1e-12
    assert interval.confirms(first)


@given(st.lists(st.floats(-8.0, -0.5), min_size=2, max_size=2), st.integers(-1, 1))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_each_look_lies_between_its_two_replacements(powers, shift):
    """A kinked profile against a grid that does not hit its corner."""
    width, step = 10 ** powers[0] * 1e3, 10 ** powers[1] * (1 + 0.1 * shift)
    if not 1e-3 < width / step < 1e4 or width > 20:
        return

    def profile(g):
        return -np.expm1(np.minimum(g - width, 0.0)) / (1 + math.exp(-width))

    lower, upper = _around(profile, profile, step)
    for g in np.linspace(0, 1.2 * width, 23):
        true = float(profile(np.array([g]))[0])
        for masses, sign in ((lower, -1), (upper, 1)):
            losses = (np.arange(len(masses.probs)) + masses.lowest) * step
            over = losses > g
            found = masses.infinite + float(np.sum(masses.probs[over] * -np.expm1(g - losses[over])))
            assert sign * (found - true) >= -1e-12


def test_the_hull_lies_on_or_below_its_points():
    rng = np.random.default_rng(0)
    x = np.exp(np.linspace(-3, 3, 200))
    spare = np.maximum(np.exp(-np.abs(np.log(x)) * 2) * 0.2 + rng.normal(0, 0.01, 200), 0.0)
    kept = _convex(x, spare)
    whole = np.maximum(1 - x, 0) + spare
    assert np.all(np.interp(x, np.insert(x[kept], 0, 0.0), np.insert(whole[kept], 0, 1.0)) <= whole + 1e-12)
    slopes = np.diff(np.insert(whole[kept], 0, 1.0)) / np.diff(np.insert(x[kept], 0, 0.0))
    assert np.all(np.diff(slopes) >= -1e-12)


@pytest.mark.parametrize(
    "events",
    [
        [RandomizedResponse(3.0), ExponentialMechanism(1e-11)],
        [ExponentialMechanism(1.0), ExponentialMechanism(1e-11)],
        [Gaussian(1.0), ExponentialMechanism(1e-11)],
        [SubsampledGaussian(1.0, 0.01, 100), Claimed("1e-9", 0, source="them")],
    ],
)
def test_a_tiny_look_beside_a_large_one_changes_nothing(events):
    alone, both = compose(events[:1]).epsilon(1e-5), compose(events).epsilon(1e-5)
    assert both == pytest.approx(alone, rel=2e-3)
    assert both >= alone * (1 - 1e-6)
    assert epsilon_interval(tuple(events), 1e-5).confirms(both)


def test_pure_mechanisms_have_an_epsilon_at_delta_0():
    assert compose([Laplace(5.0)]).epsilon(delta=0) == pytest.approx(0.2)
    assert compose([Laplace(5.0), RandomizedResponse(0.5)]).epsilon(0) == pytest.approx(0.7)
    with pytest.raises(BudgetError):
        compose([Laplace(5.0), Gaussian(1.0)]).epsilon(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TruncatedNegativeBinomial(None, 0.1),
        lambda: TruncatedNegativeBinomial("x", 0.1),
        lambda: TruncatedNegativeBinomial(10**400, 0.1),
        lambda: TruncatedNegativeBinomial(True, 0.1),
        lambda: PrivateSelection((5,), PoissonRuns(3.0)),
        lambda: PrivateSelection(5, PoissonRuns(3.0)),
        lambda: event_from_json(5),
        lambda: event_from_json([["kind", "gaussian"], ["noise_multiplier", "1.0"]]),
        lambda: compose(Gaussian(1.0)),
    ],
)
def test_what_is_no_event_is_an_event_error(make):
    with pytest.raises(EventError):
        make()


@pytest.mark.parametrize(
    "body",
    [
        5,
        {"kind": "fixed", "events": [5]},
        {"kind": "fixed", "events": [{"kind": "gaussian", "noise_multiplier": "1.0"}], "count": 9},
        {"kind": "adaptive", "mu": [1], "kinds": ["gaussian"]},
        {"kind": "adaptive", "mu": "abc", "kinds": ["gaussian"]},
        {"kind": "adaptive", "mu": "0.1", "kinds": [["gaussian"]]},
        {"kind": "adaptive", "mu": "0.1", "kinds": ["gaussian"], "more": 1},
    ],
)
def test_what_is_no_plan_is_a_plan_error(body):
    with pytest.raises(PlanError):
        plan_from_json(body)


@pytest.mark.parametrize(("z", "q"), [(0.0159, 4.9e-5), (0.037, 0.015), (0.5, 1e-3), (5.0, 0.5)])
def test_beyond_what_floats_know_nothing_is_vouched_for(z, q):
    events, delta = [SubsampledGaussian(z, q, 1)], 1e-8
    interval, first = epsilon_interval(tuple(events), delta), compose(events).epsilon(delta)
    assert interval.low <= first
    assert interval.high >= first * 0.99
    assert interval.confirms(first) is (interval.high < 300)


def test_a_claim_of_next_to_nothing_has_an_interval():
    """Its epsilon is 0 as a float: k rows then fail k times as often, and no division by it is made."""
    found = epsilon_interval((Claimed("1e-400", "1e-12", "them", per="row", at_most=2),), 1e-9)
    assert found.confirms(compose([Claimed("1e-400", "1e-12", "them", per="row", at_most=2)]).epsilon(1e-9))


@pytest.mark.parametrize(("k", "share"), [(100, 1.5), (1000, 1 + 1e-12)])
def test_growth_of_a_group_near_the_largest_epsilon(k, share):
    """delta (e^(k eps) - 1)/(e^eps - 1) in floats is off by a few 1e-14 of itself: the interval allows for it."""
    event = Claimed(Decimal(99) / k, "1e-52", "them", per="row", at_most=k)
    delta = float(event.converted[1])
    found, first = epsilon_interval((event,), delta * share), compose([event]).epsilon(Decimal(delta * share))
    assert found.low <= first

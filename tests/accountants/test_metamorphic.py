"""What must hold between compositions, whatever the truth is: order, counts, monotony, inverses, two accountants."""

import contextlib
import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    AdaptivePlan,
    BudgetError,
    Claimed,
    EventError,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Laplace,
    NumericalProfile,
    PoissonRuns,
    PostProcessing,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    TruncatedNegativeBinomial,
    compose,
)
from accountants.crosscheck import Interval, epsilon_interval
from accountants.pld import COARSE

few = settings(derandomize=True, deadline=None, max_examples=25)
fewer = settings(derandomize=True, deadline=None, max_examples=12)

PURE = st.one_of(
    st.floats(0.02, 4.0).map(ExponentialMechanism),
    st.floats(0.25, 50.0).map(Laplace),
    st.floats(0.02, 4.0).map(RandomizedResponse),
)
STEPS = st.builds(SubsampledGaussian, st.floats(0.6, 20.0), st.floats(1e-3, 1.0), st.integers(1, 2000))
FAILING = st.one_of(
    st.builds(Thresholding, st.floats(0.5, 50.0), st.sampled_from(["1e-14", "1e-11"])),
    st.builds(
        Claimed,
        st.decimals("0.02", "2", places=2),
        st.sampled_from(["0", "1e-13", "1e-11"]),
        st.just("them"),
        per=st.just("row"),
        at_most=st.integers(1, 3),
    ),
)
NOISE = st.floats(0.4, 100.0).map(Gaussian)
EVENTS = st.one_of(NOISE, PURE, STEPS, FAILING, st.just(PostProcessing()))
PLANS = st.lists(EVENTS, min_size=1, max_size=4)
DELTAS = st.sampled_from([1e-5, 1e-7, 1e-9])
ABOUT = 1 + 2e-3
"""Two grids may read epsilons of one composition that far apart."""


@few
@given(PLANS, st.randoms(use_true_random=False), DELTAS)
def test_order_and_nesting_have_no_say(events, rng, delta):
    shuffled = list(events)
    rng.shuffle(shuffled)
    assert compose(shuffled).epsilon(delta) == compose(events).epsilon(delta)
    nested = FixedPlan(events[:1]).events + FixedPlan(events).events[1:]
    assert compose(nested) == compose(events)


@few
@given(st.one_of(PURE, STEPS, NOISE, FAILING), st.integers(2, 40), DELTAS)
def test_k_events_are_one_event_k_times(event, k, delta):
    many = compose([event] * k)
    assert compose(itertools.chain(*[[event, PostProcessing()]] * k)) == many
    if isinstance(event, SubsampledGaussian):
        longer = SubsampledGaussian(event.noise_multiplier, event.sample_rate, event.steps * k)
        assert compose([longer]).epsilon(delta) == many.epsilon(delta)


@fewer
@given(st.floats(1.0, 10.0), st.integers(2, 30), DELTAS)
def test_gaussians_are_one_gaussian(z, k, delta):
    assert compose([Gaussian(z)] * k).epsilon(delta) == pytest.approx(
        compose([Gaussian(z / k**0.5)]).epsilon(delta), rel=1e-9
    )
    unsampled = compose([SubsampledGaussian(z, 1.0, k)]).epsilon(delta)
    assert compose([Gaussian(z)] * k).epsilon(delta) <= unsampled * (1 + 1e-9)
    assert unsampled <= compose([Gaussian(z)] * k).epsilon(delta) * ABOUT


@few
@given(PLANS, EVENTS, DELTAS)
def test_one_event_more_never_costs_less(events, more, delta):
    assert _epsilon([*events, more], delta) * ABOUT >= _epsilon(events, delta)


def _epsilon(events, delta):
    try:
        return compose(events).epsilon(delta)
    except BudgetError:
        return float("inf")


@fewer
@given(STEPS, st.floats(1.0, 3.0), DELTAS)
def test_dp_sgd_is_monotone_in_each_parameter(event, factor, delta):
    z, q, steps = event.noise_multiplier, event.sample_rate, event.steps
    at = compose([event]).epsilon(delta)
    for worse in (
        SubsampledGaussian(z / factor, q, steps),
        SubsampledGaussian(z, min(1.0, q * factor), steps),
        SubsampledGaussian(z, q, int(steps * factor)),
    ):
        assert compose([worse]).epsilon(delta) * ABOUT >= at


@few
@given(st.sampled_from([ExponentialMechanism, RandomizedResponse, Laplace]), st.floats(0.3, 3.0), st.integers(1, 30))
def test_pure_looks_are_monotone_and_stay_within_basic_composition(kind, size, times):
    small, large = kind(size), kind(size * 1.3)
    if kind is Laplace:
        small, large = large, small
    pure = 1 / small.noise_multiplier if kind is Laplace else size
    spent = compose([small] * times)
    assert spent.epsilon(1e-6) <= compose([large] * times).epsilon(1e-6) * ABOUT
    assert spent.epsilon(1e-6) <= pure * times * (1 + 1e-9)
    assert small.mu_squared < large.mu_squared


@few
@given(PLANS, st.lists(DELTAS, min_size=2, max_size=2))
def test_epsilon_and_delta_are_inverse_on_the_safe_side(events, deltas):
    spent, (less, more) = compose(events), sorted(deltas)
    at = spent.epsilon(less)
    assert at >= spent.epsilon(more)
    assert spent.delta(at) <= less * (1 + 1e-9)
    assert spent.delta(0.0) >= spent.delta(at) >= spent.delta(at + 1)
    if at > 1e-3 and not isinstance(spent, NumericalProfile):
        assert spent.delta(at * 0.999) > less


@few
@given(PLANS, st.floats(-3.0, 0.0))
def test_delta_below_zero_is_at_least_what_it_must_be(events, g):
    """No profile is below ``1 - e^g``."""
    assert 1.0 >= compose(events).delta(g) >= -math.expm1(g)


@few
@given(PLANS, DELTAS)
def test_a_coarser_grid_and_the_closed_form_are_upper_bounds_as_well(events, delta):
    spent = compose(events)
    if isinstance(spent, NumericalProfile):
        assert spent.epsilon(delta) <= NumericalProfile(spent.parts, COARSE).epsilon(delta) * (1 + 1e-6)
        assert spent.epsilon(delta) <= spent.closed.epsilon(delta)
        assert spent.closed.mu_squared >= spent.parts.mu_squared


@few
@given(PLANS)
def test_the_trade_off_curve_falls_and_is_that_of_no_test_at_the_ends(events):
    spent = compose(events)
    curve = [spent.tradeoff(alpha) for alpha in (0.0, 0.01, 0.1, 0.5, 0.9, 1.0)]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == pytest.approx(0.0, abs=1e-9)
    for alpha, missed in zip((0.01, 0.1, 0.5, 0.9), curve[1:], strict=False):
        assert 0 <= missed <= 1 - alpha + 1e-15
        for epsilon in (0.1, 1.0):
            delta = spent.delta(epsilon)
            # The curve is no worse than what one (epsilon, delta) of its own profile implies.
            assert missed >= 1 - delta - math.exp(epsilon) * alpha - 1e-4


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(NOISE, STEPS, st.builds(Thresholding, st.floats(0.5, 50.0), st.just("1e-11"))), max_size=3),
    st.one_of(PURE, FAILING),
    st.integers(1, 20),
    DELTAS,
    st.sampled_from([0.0, 0.5]),
)
def test_the_second_accountant_confirms_the_first(noise, pure, times, delta, filtered):
    """Mixed kinds over a wide grid, a filter beside them or not."""
    events = [*noise, *[pure] * times]
    plans = [AdaptivePlan(filtered)] if filtered else []
    interval = epsilon_interval((*plans, FixedPlan(events)), delta)
    first = compose(events, plans[0].capacity if plans else Decimal(0)).epsilon(delta)
    assert 0 <= interval.low <= interval.high
    assert interval.confirms(first)
    # It would not confirm half of it, nor twice.
    if first > 1e-3:
        assert not interval.confirms(first / 2)
        assert not interval.confirms(first * 2)


@few
@given(st.lists(PURE, min_size=2, max_size=3), DELTAS)
def test_the_second_accountant_on_pure_looks_of_several_widths(events, delta):
    interval, first = epsilon_interval((FixedPlan(events),), delta), compose(events).epsilon(delta)
    assert interval.low <= first
    assert interval.confirms(first)


@pytest.mark.parametrize("event", [SubsampledGaussian(1.0, 0.01, 1000), Laplace(2.0), Claimed("0.5", "1e-12", "them")])
def test_a_first_accountant_that_is_one_twentieth_off_is_not_confirmed(event):
    events = [event] * 3
    interval, first = epsilon_interval((FixedPlan(events),), 1e-6), compose(events).epsilon(1e-6)
    assert interval.confirms(first)
    assert not interval.confirms(first * 0.99)
    assert not interval.confirms(first * 1.05)
    missed = compose(events[:2]).epsilon(1e-6)  # as if one event were forgotten
    assert not interval.confirms(missed)


def test_intervals_that_confirm_nothing():
    assert not Interval(float("inf"), float("inf")).confirms(1.0)
    assert not Interval(0.9, 1.0, 0.02).confirms(0.95)
    assert not Interval(0.0, float("nan")).confirms(0.0)
    assert not Interval(1.0, 1.0).confirms(float("nan"))
    infinite = epsilon_interval((Claimed(1, "1e-6", "them"),), 1e-7)
    assert infinite.low == infinite.high == float("inf")


def test_a_selection_among_runs_is_unchecked():
    selection = PrivateSelection([Gaussian(9.0)], PoissonRuns(2.0), "1e-10")
    assert epsilon_interval((selection,), 1e-6) is None
    assert epsilon_interval((FixedPlan([Gaussian(9.0), selection]),), 1e-6) is None


@fewer
@given(st.lists(st.one_of(NOISE, PURE), min_size=1, max_size=3), st.floats(0.05, 0.5), DELTAS)
def test_a_selection_costs_more_than_one_run(base, gamma, delta):
    """Even of randomised length, the best of several tells at least what one tells."""
    event = PrivateSelection(base, TruncatedNegativeBinomial(1.0, gamma), delta / 10)
    with contextlib.suppress(EventError):  # more than epsilon 100
        assert compose([event]).epsilon(delta) >= compose(base).epsilon(delta)


@few
@given(PLANS, DELTAS)
def test_work_on_answers_costs_nothing(events, delta):
    with_it = compose([*events, PostProcessing(), PostProcessing()])
    assert with_it == compose(events)
    assert compose([PostProcessing()]).epsilon(delta) == 0
    assert compose([PostProcessing()]).delta(0.0) == 0
    interval = epsilon_interval((FixedPlan([PostProcessing()]),), delta)
    assert interval.low == interval.high == 0

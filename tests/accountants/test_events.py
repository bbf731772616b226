"""Events: what they reject, and the proof of mu(eta) checked against brute force."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountants import EventError, ExponentialMechanism, Gaussian, Profile
from accountants.events import event_from_json, event_to_json

ETAS = [0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def gauss_delta(g, mu_squared):
    """delta_Gauss at any real g: below 0 by the symmetry delta(-g) = 1 - e^-g (1 - delta(g))."""
    if g >= 0:
        return Profile(Decimal(mu_squared)).delta(g)
    return 1 - math.exp(g) * (1 - Profile(Decimal(mu_squared)).delta(-g))


def response(eta, t):
    """Generalised randomised response: the two-outcome pair with log ratios t and t - eta."""
    q = (1 - math.exp(t - eta)) / (math.exp(t) - math.exp(t - eta))
    return q * math.exp(t), q


@pytest.mark.parametrize("eta", ETAS)
def test_mu_of_eta_dominates_every_bounded_range_pair(eta):
    mu_squared = ExponentialMechanism(eta).mu_squared
    for t in np.linspace(0, eta, 41):
        p, q = response(eta, t)
        for g in np.linspace(-eta, eta, 41):
            delta = max(0.0, p - math.exp(g) * q) + max(0.0, (1 - p) - math.exp(g) * (1 - q))
            assert delta <= gauss_delta(g, mu_squared) + 1e-12


@pytest.mark.parametrize("eta", ETAS)
def test_mu_of_eta_is_tight(eta):
    """A mu one part in a hundred smaller is violated at t = eta/2: a factor in the formula cannot hide."""
    mu_squared = float(ExponentialMechanism(eta).mu_squared) * 0.99**2
    p, q = response(eta, eta / 2)
    violated = [p - math.exp(g) * q > gauss_delta(g, mu_squared) for g in np.linspace(-eta / 2, eta / 2, 101)]
    assert any(violated)


@pytest.mark.parametrize("eta", [0.5, 2.0])
def test_exponential_mechanism_with_two_sided_scores_stays_within_eta(eta):
    """All ways three scores may each move by the sensitivity, in either direction: brute force over neighbours."""
    base = np.array([0.0, 1.0, 3.0])
    worst_with_2, worst_without = 0.0, 0.0
    for move in itertools.product([-1, 0, 1], repeat=3):
        for divisor in (2, 1):
            a, b = np.exp(eta * base / divisor), np.exp(eta * (base + move) / divisor)
            ratio = np.log(a / a.sum()) - np.log(b / b.sum())
            spread = ratio.max() - ratio.min()
            if divisor == 2:
                worst_with_2 = max(worst_with_2, spread)
            else:
                worst_without = max(worst_without, spread)
    assert worst_with_2 <= eta * (1 + 1e-12)
    assert worst_without > eta * 1.5  # dropping the 2 ("monotonic") on such scores breaks the claim


@pytest.mark.parametrize("kind", [Gaussian, ExponentialMechanism])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), -math.inf, "1", None, True, 10**400])
def test_malformed_parameters_raise(kind, value):
    if value == "1":
        kind(value)  # a decimal string is a number
        return
    with pytest.raises(EventError):
        kind(value)


@pytest.mark.parametrize("made", [lambda: ExponentialMechanism(101.0), lambda: ExponentialMechanism(1e-13)])
def test_ranges_that_mean_nothing_raise(made):
    with pytest.raises(EventError, match="between"):
        made()


@pytest.mark.parametrize("value", [1e200, 1e-200, 1e13])
def test_noise_that_means_nothing_raises(value):
    """Beyond this range the second accountant's floats would overflow."""
    with pytest.raises(EventError, match="between"):
        Gaussian(value)


@given(st.floats(1e-6, 5.0))
def test_from_mu_is_within_and_close(mu):
    for made in (Gaussian.from_mu(mu), ExponentialMechanism.from_mu(mu)):
        assert made.mu_squared <= Decimal(mu) ** 2
        assert float(made.mu_squared) >= mu * mu * (1 - 1e-9)


@given(st.floats(1e-3, 1e6), st.floats(1e-6, 100.0))
def test_events_round_trip_through_json(z, eta):
    for event in (Gaussian(z), ExponentialMechanism(eta)):
        assert event_from_json(event_to_json(event)) == event


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "gauss", "noise_multiplier": "1"},
        {"kind": "gaussian"},
        {"kind": "gaussian", "noise_multiplier": "nan"},
        {"kind": "gaussian", "noise_multiplier": "1", "count": 3},
        {"kind": "exponential_mechanism", "eta": "-1"},
        {},
    ],
)
def test_malformed_json_raises(body):
    with pytest.raises(EventError):
        event_from_json(body)

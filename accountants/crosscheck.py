"""The second accountant: the same figures from other formulas, other libraries and floats with an error bound.

It shares no code with ``profile.py``, ``composition.py`` or ``exact.py``. It works in the log domain with
SciPy's ``log_ndtr``, widens every result by a stated error and so gives an interval in which the first must lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import log_ndtr, ndtri

from accountants.events import Event, ExponentialMechanism, Gaussian
from accountants.plan import AdaptivePlan, FixedPlan, Plan

_RELATIVE = 1e-12
"""Assumed relative error of one mu^2; SciPy's ndtri and the float operations stay below 1e-14."""
_LOG_ERROR = 1e-13
"""Assumed relative error of log_ndtr, ten times and more above what its tests allow."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A rigorous interval for epsilon at one delta."""

    low: float
    high: float

    def confirms(self, epsilon: float) -> bool:
        """Whether `epsilon` lies inside and the interval is narrow (2 %, or 1e-6 where epsilon is nearly nothing)."""
        narrow = self.high - self.low <= max(0.02 * self.high, 1e-6)
        return narrow and self.low <= epsilon <= self.high


def epsilon_interval(plans: tuple[Plan | Event, ...], delta: float) -> Interval:
    """Epsilon at `delta` of plans (at capacity) and single events together.

    Args:
        plans: what was reserved, each part charged whole.
        delta: in (0, 1), after any slack was taken off.
    """
    squared = math.fsum(_mu_squared(part) for part in plans)
    low, high = math.sqrt(squared * (1 - _RELATIVE)), math.sqrt(squared * (1 + _RELATIVE))
    return Interval(_epsilon(low, delta, optimist=True), _epsilon(high, delta, optimist=False))


def _mu_squared(part: Plan | Event) -> float:
    match part:
        case Gaussian(noise_multiplier=z):
            return (1.0 / z) ** 2
        case ExponentialMechanism(eta=eta):
            return float(2.0 * ndtri(1.0 / (1.0 + math.exp(eta / 2.0)))) ** 2
        case FixedPlan(events=events):
            return math.fsum(_mu_squared(event) for event in events)
        case AdaptivePlan(mu=mu):
            return mu * mu * (1.0 + 1e-12)


def _delta(epsilon: float, mu: float, *, optimist: bool) -> float:
    """The Gaussian profile at epsilon with its error bound taken off (optimist) or added."""
    a = float(log_ndtr(-epsilon / mu + mu / 2))
    b = epsilon + float(log_ndtr(-epsilon / mu - mu / 2))
    error = _LOG_ERROR * (1.0 + abs(a) + abs(b) + epsilon)
    gap = max(a - b - error, 0.0) if optimist else a - b + error
    return math.exp(a + (-error if optimist else error)) * -math.expm1(-gap)


def _epsilon(mu: float, delta: float, *, optimist: bool) -> float:
    if _delta(0.0, mu, optimist=optimist) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while _delta(high, mu, optimist=optimist) > delta:
        low, high = high, high * 2
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if _delta(middle, mu, optimist=optimist) > delta:
            low = middle
        else:
            high = middle
    return low if optimist else high

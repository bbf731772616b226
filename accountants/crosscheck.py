"""The second accountant: the same figures from other formulas and other numerics, as an interval that holds the truth.

It shares no code with ``profile.py``, ``composition.py``, ``parts.py``, ``pld.py`` or ``exact.py``, and does not use
dp-accounting. All Gaussian: closed form in the log domain, widened by a stated error. Anything else: every look's
profile from its own formula, replaced by one that lies above it and one that lies below it, both made of straight
lines in ``e^g`` with corners on one grid, composed by FFT (`accountants.discretisation`). See
docs/proofs/crosscheck.md.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr

from accountants.discretisation import Array, Look, Profile, bounds_of
from accountants.events import (
    Claimed,
    Event,
    ExponentialMechanism,
    Gaussian,
    Laplace,
    PostProcessing,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
)
from accountants.plan import AdaptivePlan, FixedPlan, Plan

_RELATIVE = 1e-12
"""Assumed relative error of one mu^2; SciPy's functions and the float operations stay below 1e-14."""
_LOG_ERROR = 1e-13
"""Assumed relative error of log_ndtr, ten times and more above what its tests allow."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A rigorous interval for epsilon at one delta.

    Attributes:
        low, high: the true epsilon lies between them.
        excess: by what share an upper bound on the same epsilon may lie above `high` and still be confirmed: 0 in
            closed form; two numerical upper bounds may differ by what their grids cost.
    """

    low: float
    high: float
    excess: float = 0.0

    def confirms(self, epsilon: float) -> bool:
        """Whether `epsilon` is a bound this accountant vouches for: not below `low`, nor above `high` (and `excess`).

        The interval must be narrow as well: 2 %, or 1e-6 where epsilon is nearly nothing.
        """
        allowed = max(0.02 * self.high, 1e-6)
        above = max(self.excess * self.high, 1e-6 if self.excess else 0.0)
        return math.isfinite(self.high) and self.high - self.low <= allowed and self.low <= epsilon <= self.high + above


@lru_cache(maxsize=256)
def epsilon_interval(plans: tuple[Plan | Event, ...], delta: float) -> Interval | None:
    """Epsilon at `delta` of plans (filters at capacity) and single events together.

    Args:
        plans: what was reserved, each part charged whole.
        delta: in (0, 1), after any slack was taken off.

    Returns:
        The interval, ``(inf, inf)`` where no epsilon is enough; None where this accountant knows no formula (a
        selection among runs): the accounting is then unchecked.
    """
    squared, fails, looks = _taken_apart(plans)
    if looks is None:
        return None
    left = (delta - fails) / (1 - fails) if fails < 1 else 0.0
    spare = 1e-15 * delta + 1e-13 * fails if fails else 0.0
    if left + spare <= 0:
        return Interval(math.inf, math.inf)
    if left - spare <= 0:
        return Interval(0.0, math.inf)
    low, high = math.sqrt(squared * (1 - _RELATIVE)), math.sqrt(squared * (1 + _RELATIVE))
    if not looks:
        if squared == 0:
            return Interval(0.0, 0.0)
        return Interval(_epsilon(low, left + spare, optimist=True), _epsilon(high, left - spare, optimist=False))
    if squared:
        looks.append(_symmetric(_gaussian_profile(math.sqrt(squared)), high, 1, 0.0))
    return Interval(*bounds_of(looks, left, spare), excess=0.02)


def _taken_apart(plans: tuple[Plan | Event, ...]) -> tuple[float, float, list[Look] | None]:
    """mu^2 of all Gaussian noise, the chance of failing outright, and everything else with its profile."""
    squares, fails = [], []
    counted: Counter[Event] = Counter()
    for part in plans:
        match part:
            case AdaptivePlan(mu=mu):
                squares.append(mu * mu * (1.0 + 1e-12))
            case FixedPlan(events=events):
                counted.update(events)
            case event:
                counted[event] += 1
    looks: list[Look] = []
    for event, count in counted.items():
        match event:
            case Gaussian(noise_multiplier=z):
                squares.append(count / z**2)
            case Thresholding(noise_multiplier=z, delta=delta):
                squares.append(count / z**2)
                fails.append(count * float(delta))
            case ExponentialMechanism(eta=eta):
                looks.append(_symmetric(_bounded_range(eta), eta / math.sqrt(3), count, eta))
            case Laplace(noise_multiplier=z):
                looks.append(_symmetric(_laplace(1 / z), 1 / z, count, 1 / z))
            case RandomizedResponse(epsilon=epsilon):
                looks.append(_response(epsilon, count))
            case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=steps):
                looks.append(_sampled(1 / z, q, steps * count))
            case Claimed(epsilon=claimed, delta=delta, at_most=k):
                own = float(claimed)
                growth = math.expm1(k * own) / math.expm1(own) if k > 1 and own else float(k)
                fails.append(count * float(delta) * growth)
                looks.append(_response(max(k * own, 1e-12), count))
            case PostProcessing():
                pass
            case PrivateSelection():
                return 0.0, 0.0, None
    return math.fsum(squares), math.fsum(fails), looks


def _symmetric(profile: Profile, spread: float, count: int, corner: float) -> Look:
    return Look(profile, profile, spread, count, corner)


def _gaussian_profile(mu: float) -> Profile:
    return lambda g: _gauss(g, mu)


def _gauss(g: Array, mu: float) -> Array:
    """``Phi(mu/2 - g/mu) - e^g Phi(-mu/2 - g/mu)``, without losing the tail."""
    with np.errstate(all="ignore"):
        a = log_ndtr(-g / mu + mu / 2)
        b = g + log_ndtr(-g / mu - mu / 2)
        value: Array = np.exp(a) * -np.expm1(np.minimum(b - a, 0.0))
    return np.where(np.isfinite(value), value, 0.0)


def _bounded_range(eta: float) -> Profile:
    """``(e^(eta/2) - e^(g/2))^2 / (e^eta - 1)`` up to eta."""

    return lambda g: np.expm1(np.minimum(g - eta, 0.0) / 2) ** 2 / -math.expm1(-eta)


def _laplace(epsilon: float) -> Profile:
    """``1 - e^((g - epsilon)/2)`` up to epsilon."""

    return lambda g: -np.expm1(np.minimum(g - epsilon, 0.0) / 2)


def _response(epsilon: float, count: int) -> Look:
    """``(e^epsilon - e^g)/(1 + e^epsilon)`` up to epsilon."""

    def profile(g: Array) -> Array:
        return -np.expm1(np.minimum(g - epsilon, 0.0)) / (1 + math.exp(-epsilon))

    return _symmetric(profile, max(epsilon / math.cosh(min(epsilon, 20) / 2), 1e-3 * epsilon), count, epsilon)


def _sampled(mu: float, q: float, steps: int) -> Look:
    """One step of DP-SGD: ``q delta_Gauss(log((e^g - 1 + q)/q))`` for a unit removed, and for one added
    ``(1 - e^g (1-q)) delta_Gauss(log(q e^g/(1 - e^g (1-q))))``."""

    def removed(g: Array) -> Array:
        # log((e^g - 1 + q)/q), where e^g is small and where it would overflow.
        small = np.log1p(np.expm1(np.minimum(g, 1.0)) / q)
        return q * _gauss(np.where(g < 1, small, g + np.log1p(-(1 - q) * np.exp(-g)) - math.log(q)), mu)

    def added(g: Array) -> Array:
        left = -np.expm1(g) + q * np.exp(g)
        with np.errstate(all="ignore"):
            odds = math.log(q) + g - np.log(left)
        return np.where(left <= 0, 0.0, np.maximum(left, 0.0) * _gauss(np.where(left > 0, odds, 1e300), mu))

    spread = min(q * math.sqrt(math.expm1(min(mu * mu, 700.0))), mu)
    if q == 1.0:
        return _symmetric(_gaussian_profile(mu), mu, steps, 0.0)
    return Look(removed, added, spread, steps, 0.0)


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


__all__ = ["Interval", "epsilon_interval"]

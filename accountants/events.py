"""Mechanism events: one frozen, validated type for each kind of look. It holds the privacy, not the noise scale.

An event says what the mechanism does to *one privacy unit*: the kernel turns it into noise for at most k
rows a unit. No event holds k, so the account of a plan does not change with it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import inf, nextafter
from typing import Any, ClassVar, final

from accountants.errors import EventError
from accountants.exact import (
    DOWN,
    UP,
    WORKING_DIGITS,
    ceil_decimal,
    floor_decimal,
    floor_float,
    positive_float,
    precise,
    to_mp,
)

MAX_ETA = 100.0
MAX_NOISE_MULTIPLIER = 1e12


@final
@dataclass(frozen=True, slots=True)
class Gaussian:
    """Integer counts plus rounded Gaussian noise, sigma = noise_multiplier x L2 sensitivity for one unit.

    Attributes:
        noise_multiplier: sigma over sensitivity, from 1e-12 to 1e12. The event is (1/noise_multiplier)-GDP.

    **Guarantee.** ``c + round(Z) = round(c + Z)`` for integer c, so the answer is post-processing of the
    Gaussian mechanism, which is mu-GDP for mu = sensitivity/sigma (Dong, Roth, Su 2022, Theorem 1).
    See docs/proofs/rounded_gaussian.md.

    Raises:
        EventError: not finite, or out of that range.
    """

    kind: ClassVar[str] = "gaussian"
    noise_multiplier: float

    def __post_init__(self) -> None:
        z = positive_float("noise_multiplier", self.noise_multiplier, EventError)
        if not 1 / MAX_NOISE_MULTIPLIER <= z <= MAX_NOISE_MULTIPLIER:
            raise EventError(
                f"noise_multiplier must lie between 1e-12 and 1e12, got {z!r}; it is sigma over sensitivity"
            )
        object.__setattr__(self, "noise_multiplier", z)

    @property
    def mu_squared(self) -> Decimal:
        """mu^2 = 1/noise_multiplier^2, rounded up."""
        z = Decimal(self.noise_multiplier)
        return UP.divide(Decimal(1), DOWN.multiply(z, z))

    @classmethod
    def from_mu(cls, mu: float) -> Gaussian:
        """The least noise that is mu-GDP."""
        exact = Decimal(positive_float("mu", mu, EventError))
        return cls._within(DOWN.multiply(exact, exact))

    @classmethod
    def from_mu_squared(cls, mu_squared: float) -> Gaussian:
        """The least noise whose ``mu_squared`` is at most this: a share of what is left never exceeds it."""
        return cls._within(Decimal(positive_float("mu_squared", mu_squared, EventError)))

    @classmethod
    def _within(cls, squared: Decimal) -> Gaussian:
        event = cls(1.0 / float(DOWN.sqrt(squared)))
        while event.mu_squared > squared:
            event = cls(nextafter(event.noise_multiplier, inf))
        return event


@final
@dataclass(frozen=True, slots=True)
class ExponentialMechanism:
    """Private selection with bounded range: ``P(i) ~ exp(eta * score_i / (2 * Delta))``.

    Attributes:
        eta: range of the privacy loss (``BoundedRange(eta)``, Durfee and Rogers 2019); from 1e-12 to 100.

    **Guarantee.** mu-GDP for ``mu(eta) = -2 Phi^-1(1/(1 + e^(eta/2))) = 2 sqrt(2) erfinv(tanh(eta/4))``.
    See docs/proofs/bounded_range.md.

    Raises:
        EventError: not finite, or out of that range.
    """

    kind: ClassVar[str] = "exponential_mechanism"
    eta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", positive_float("eta", self.eta, EventError))
        if not 1e-12 <= self.eta <= MAX_ETA:
            raise EventError(
                f"eta must lie between 1e-12 and {MAX_ETA:g}, got {self.eta!r}; a wider range protects nothing, "
                "a narrower one chooses blindly"
            )

    @property
    def mu_squared(self) -> Decimal:
        """mu(eta)^2, rounded up."""
        return _bounded_range_mu_squared(self.eta)

    @classmethod
    def from_mu(cls, mu: float) -> ExponentialMechanism:
        """The widest range that is mu-GDP (capped at 100)."""
        exact = Decimal(positive_float("mu", mu, EventError))
        return cls._within(DOWN.multiply(exact, exact))

    @classmethod
    def from_mu_squared(cls, mu_squared: float) -> ExponentialMechanism:
        """The widest range whose ``mu_squared`` is at most this (capped at 100)."""
        return cls._within(Decimal(positive_float("mu_squared", mu_squared, EventError)))

    @classmethod
    def _within(cls, squared: Decimal) -> ExponentialMechanism:
        with precise() as mp:
            # tanh(eta/4) = erf(m), m = mu/(2 sqrt 2), so eta = 2 log((1 + erf m)/(erfc m)).
            m = mp.sqrt(to_mp(mp, squared)) / (2 * mp.sqrt(2))
            exact = floor_decimal(2 * mp.log((1 + mp.erf(m)) / mp.erfc(m)))
        if exact >= Decimal(MAX_ETA):
            return cls(MAX_ETA)
        event = cls(floor_float(exact))
        while event.mu_squared > squared:
            event = cls(nextafter(event.eta, 0.0))
        return event


@lru_cache(maxsize=4096)
def _bounded_range_mu_squared(eta: float) -> Decimal:
    # For eta up to 100, 1 - tanh(eta/4) >= 2e-22: 60 digits leave more than 35 in the tail.
    with precise(WORKING_DIGITS + 30) as mp:
        mu = 2 * mp.sqrt(2) * mp.erfinv(mp.tanh(to_mp(mp, eta) / 4))
        return ceil_decimal(mu * mu)


Event = Gaussian | ExponentialMechanism
KINDS: dict[str, type[Gaussian] | type[ExponentialMechanism]] = {
    Gaussian.kind: Gaussian,
    ExponentialMechanism.kind: ExponentialMechanism,
}


def event_to_json(event: Event) -> dict[str, Any]:
    """``{"kind": ..., parameters}``; floats as their shortest decimal strings, so nothing is rounded on the way."""
    match event:
        case Gaussian():
            return {"kind": event.kind, "noise_multiplier": repr(event.noise_multiplier)}
        case ExponentialMechanism():
            return {"kind": event.kind, "eta": repr(event.eta)}


def event_from_json(body: dict[str, Any]) -> Event:
    """The inverse of `event_to_json`.

    Raises:
        EventError: an unknown kind, or parameters that kind does not have.
    """
    fields = dict(body)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise EventError(f"unknown event kind {kind!r}; known: {sorted(KINDS)}")
    made = KINDS[kind]
    takes = sorted(field.name for field in dataclasses.fields(made))
    if sorted(fields) != takes:
        raise EventError(f"event {kind!r} takes {takes}, got {sorted(fields)}")
    return made(**{name: positive_float(name, value, EventError) for name, value in fields.items()})

"""Events without any delta: Laplace noise, private selection of bounded range, randomised response."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import nextafter
from typing import ClassVar, final

from accountants.errors import EventError
from accountants.events.base import KernelEvent, ranged, squared
from accountants.exact import WORKING_DIGITS, ceil_decimal, floor_decimal, floor_float, positive_float, precise, to_mp

MAX_ETA = 100.0
"""The widest range and the largest pure epsilon an event may have; beyond it nothing is protected."""
_WHY = "above it nothing is protected, below it nothing is learnt"


@final
@dataclass(frozen=True, slots=True)
class ExponentialMechanism(KernelEvent):
    """Private selection with bounded range: ``P(i) ~ exp(eta * score_i / (2 * Delta))``.

    Attributes:
        eta: range of the privacy loss (``BoundedRange(eta)``, Durfee and Rogers 2019); from 1e-12 to 100.

    **Guarantee.** mu-GDP for ``mu(eta) = -2 Phi^-1(1/(1 + e^(eta/2))) = 2 sqrt(2) erfinv(tanh(eta/4))``; in a fixed
    plan the profile ``(e^(eta/2) - e^(g/2))^2 / (e^eta - 1)``. See docs/proofs/bounded_range.md.

    Raises:
        EventError: not finite, or out of that range.
    """

    kind: ClassVar[str] = "exponential_mechanism"
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = ()
    eta: float

    def __post_init__(self) -> None:
        why = "a wider range protects nothing, a narrower one chooses blindly"
        object.__setattr__(self, "eta", ranged("eta", self.eta, 1e-12, MAX_ETA, why))

    @property
    def mu_squared(self) -> Decimal:
        """mu(eta)^2, rounded up."""
        return _bounded_range_mu_squared(self.eta)

    @classmethod
    def from_mu(cls, mu: float) -> ExponentialMechanism:
        """The widest range that is mu-GDP (capped at 100)."""
        return cls._within(squared(mu))

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


@final
@dataclass(frozen=True, slots=True)
class Laplace(KernelEvent):
    """Laplace noise of scale ``noise_multiplier`` times the L1 sensitivity for one unit: pure epsilon = 1/that.

    Attributes:
        noise_multiplier: scale over L1 sensitivity, from 1e-2 to 1e12.

    **Guarantee.** mu-GDP for ``mu = 2 Phi^-1(1 - e^(-epsilon/2)/2)``, which is less than any mechanism of that epsilon
    needs. See docs/proofs/domination.md.

    Raises:
        EventError: not finite, or out of that range.
    """

    kind: ClassVar[str] = "laplace"
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = ()
    noise_multiplier: float

    def __post_init__(self) -> None:
        z = ranged("noise_multiplier", self.noise_multiplier, 1 / MAX_ETA, 1e12, "it is scale over L1 sensitivity")
        object.__setattr__(self, "noise_multiplier", z)

    @property
    def mu_squared(self) -> Decimal:
        """mu^2, rounded up."""
        return _laplace_mu_squared(self.noise_multiplier)


@final
@dataclass(frozen=True, slots=True)
class RandomizedResponse(KernelEvent):
    """Any mechanism of pure epsilon: the worst of them is binary randomised response.

    Attributes:
        epsilon: from 1e-12 to 100.

    **Guarantee.** Every epsilon-DP mechanism is post-processing of randomised response with ``e^epsilon : 1``
    (Kairouz, Oh, Viswanath 2015), which is mu-GDP for ``mu = -2 Phi^-1(1/(1 + e^epsilon))``. See
    docs/proofs/domination.md.

    Raises:
        EventError: not finite, or out of that range.
    """

    kind: ClassVar[str] = "randomized_response"
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = ()
    epsilon: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", ranged("epsilon", self.epsilon, 1e-12, MAX_ETA, _WHY))

    @property
    def mu_squared(self) -> Decimal:
        """mu^2, rounded up."""
        return pure_mu_squared(Decimal(self.epsilon))


@lru_cache(maxsize=4096)
def pure_mu_squared(epsilon: Decimal) -> Decimal:
    """mu^2 that dominates every mechanism of pure `epsilon`: ``mu = -2 Phi^-1(1/(1 + e^epsilon))``, rounded up."""
    with precise(WORKING_DIGITS + 50) as mp:
        mu = 2 * mp.sqrt(2) * mp.erfinv(mp.tanh(to_mp(mp, epsilon) / 2))
        return ceil_decimal(mu * mu)


@lru_cache(maxsize=4096)
def _bounded_range_mu_squared(eta: float) -> Decimal:
    # For eta up to 100, 1 - tanh(eta/4) >= 2e-22: 60 digits leave more than 35 in the tail.
    with precise(WORKING_DIGITS + 30) as mp:
        mu = 2 * mp.sqrt(2) * mp.erfinv(mp.tanh(to_mp(mp, eta) / 4))
        return ceil_decimal(mu * mu)


@lru_cache(maxsize=4096)
def _laplace_mu_squared(noise_multiplier: float) -> Decimal:
    with precise(WORKING_DIGITS + 30) as mp:
        mu = 2 * mp.sqrt(2) * mp.erfinv(-mp.expm1(-1 / (2 * to_mp(mp, noise_multiplier))))
        return ceil_decimal(mu * mu)


__all__ = ["MAX_ETA", "ExponentialMechanism", "Laplace", "RandomizedResponse", "pure_mu_squared"]

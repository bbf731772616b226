"""Events of Gaussian noise: plain, on Poisson samples of the units (DP-SGD), and thresholded (partition selection)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import inf, nextafter
from typing import Any, ClassVar, final

from accountants.errors import EventError
from accountants.events.base import KernelEvent, probability, ranged, squared, whole
from accountants.exact import DOWN, UP, ceil_decimal, positive_float, precise, to_mp

MAX_NOISE_MULTIPLIER = 1e12
MAX_STEPS = 10**8
_WHY = "it is sigma over sensitivity"


@final
@dataclass(frozen=True, slots=True)
class Gaussian(KernelEvent):
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
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = ()
    noise_multiplier: float

    def __post_init__(self) -> None:
        z = ranged("noise_multiplier", self.noise_multiplier, 1 / MAX_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER, _WHY)
        object.__setattr__(self, "noise_multiplier", z)

    @property
    def mu_squared(self) -> Decimal:
        """mu^2 = 1/noise_multiplier^2, rounded up."""
        return _inverse_square(self.noise_multiplier)

    @classmethod
    def from_mu(cls, mu: float) -> Gaussian:
        """The least noise that is mu-GDP."""
        return cls._within(squared(mu))

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
class SubsampledGaussian(KernelEvent):
    """DP-SGD: in each step every unit takes part with probability q, its one clipped contribution gets Gaussian noise.

    Attributes:
        noise_multiplier: sigma over the clipping norm, from 1e-2 to 1e12.
        sample_rate: q, above 0 and at most 1: declared, never derived from the number of rows.
        steps: T, 1 to 1e8.

    **Guarantee.** Each step is the Gaussian mechanism on a Poisson sample of *units*: its dominating pairs are
    ``(1-q) N(0,1) + q N(mu,1)`` against ``N(0,1)`` and the reverse (Zhu, Dong, Wang 2022, Theorem 11), composed T
    times.
    ``mu_squared`` is that of T steps without sampling: valid by joint convexity, and loose; with a declared delta0
    `accountants.domination` finds what sampling saves.

    Raises:
        EventError: not finite, or out of those ranges.
    """

    kind: ClassVar[str] = "subsampled_gaussian"
    delta0: ClassVar[Decimal] = Decimal(0)
    assumptions: ClassVar[tuple[str, ...]] = (
        "each unit takes part in a step independently with the declared probability (Poisson sampling of units)",
    )
    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        z = ranged("noise_multiplier", self.noise_multiplier, 1e-2, MAX_NOISE_MULTIPLIER, "it is sigma over the norm")
        object.__setattr__(self, "noise_multiplier", z)
        q = ranged("sample_rate", self.sample_rate, 1e-9, 1.0, "it is the chance that a unit takes part in a step")
        object.__setattr__(self, "sample_rate", q)
        object.__setattr__(self, "steps", whole("steps", self.steps, 1, MAX_STEPS))

    @property
    def mu_squared(self) -> Decimal:
        """steps/noise_multiplier^2, rounded up: as if every unit took part in every step."""
        return UP.multiply(Decimal(self.steps), _inverse_square(self.noise_multiplier))


@final
@dataclass(frozen=True, slots=True)
class Thresholding(KernelEvent):
    """Partition selection: noisy counts of keys that no schema lists, shown where they exceed a threshold.

    Attributes:
        noise_multiplier: sigma over the L2 sensitivity of all counts of one unit.
        delta: the chance that *any* key which one unit alone brings in is shown, for all its keys together.

    **Guarantee.** Given that no key of the unit alone is shown, the answer is post-processing of Gaussian counts
    over keys
    that both tables have: so ``delta(g) <= delta + (1 - delta) delta_Gauss(g; 1/noise_multiplier)``
    (Korolova et al. 2009; Swanberg, Desfontaines, Haney 2023). See docs/proofs/thresholding.md.

    Raises:
        EventError: not finite, or out of range.
    """

    kind: ClassVar[str] = "thresholding"
    assumptions: ClassVar[tuple[str, ...]] = ("delta covers every key that one unit can bring in, not one of them",)
    noise_multiplier: float
    delta: Decimal

    def __post_init__(self) -> None:
        z = ranged("noise_multiplier", self.noise_multiplier, 1 / MAX_NOISE_MULTIPLIER, MAX_NOISE_MULTIPLIER, _WHY)
        object.__setattr__(self, "noise_multiplier", z)
        object.__setattr__(self, "delta", probability("delta", self.delta))

    @property
    def mu_squared(self) -> Decimal:
        """Of the counts, rounded up."""
        return _inverse_square(self.noise_multiplier)

    @property
    def delta0(self) -> Decimal:
        """The declared delta."""
        return self.delta

    def threshold(self, at_most: int) -> int:
        """The least safe threshold in rows where a unit has at most `at_most` (k) rows: show counts above it.

        The counts carry ``sigma = noise_multiplier * k`` rows of noise. With j keys of its own a unit stays hidden with
        probability ``prod Phi((t - n_i)/sigma)``, ``sum n_i <= k``. The logarithm is concave in the n_i, so the
        worst split is one key of k - j + 1 rows and others of one; it is concave in j too, so j = 1 or j = k is the
        worst.

        Raises:
            EventError: `at_most` is below 1.
        """
        return _threshold(self.noise_multiplier, self.delta, whole("at_most", at_most, 1, 10**9))


@lru_cache(maxsize=4096)
def _inverse_square(z: float) -> Decimal:
    exact = Decimal(z)
    return UP.divide(Decimal(1), DOWN.multiply(exact, exact))


@lru_cache(maxsize=256)
def _threshold(noise_multiplier: float, delta: Decimal, k: int) -> int:
    with precise() as mp:
        sigma, hidden = to_mp(mp, noise_multiplier) * k, mp.log1p(-to_mp(mp, delta))

        def least(keys: int) -> Any:
            """x with Phi(x)^keys = 1 - delta; from the small tail, which erfinv of nearly 1 would lose."""
            return mp.findroot(
                lambda x: mp.log(mp.erfc(x / mp.sqrt(2)) / 2) - mp.log(-mp.expm1(hidden / keys)),
                mp.sqrt(-2 * mp.log(-mp.expm1(hidden / keys)) + mp.mpf("0.01")),
            )

        return math.ceil(ceil_decimal(max(k + sigma * least(1), 1 + sigma * least(k))))


__all__ = ["MAX_NOISE_MULTIPLIER", "MAX_STEPS", "Gaussian", "SubsampledGaussian", "Thresholding"]

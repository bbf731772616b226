"""What a plan comes to, whatever its order: all Gaussian noise together, all failures, and the rest counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import final

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
from accountants.exact import UP, ceil_float

Look = ExponentialMechanism | Laplace | RandomizedResponse | SubsampledGaussian
"""What has a privacy loss distribution of its own. A `SubsampledGaussian` among looks is one step."""


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """A composition in normal form; equal for every order in which the same events are asked.

    Attributes:
        mu_squared: of all Gaussian noise together, rounded up (Gaussians compose exactly).
        delta0: the chance that any part fails outright, rounded up: the sum of theirs.
        looks: each other look with how often it is asked, in a fixed order.
    """

    mu_squared: Decimal = Decimal(0)
    delta0: Decimal = Decimal(0)
    looks: tuple[tuple[Look, int], ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event], mu_squared: Decimal = Decimal(0)) -> Parts:
        """The parts of `events`, beside filters of capacity `mu_squared`.

        A claim of (epsilon, delta), and a selection among runs, fail with probability delta and are otherwise
        dominated by randomised response at epsilon (Kairouz, Oh, Viswanath 2015).
        """
        delta0 = Decimal(0)
        looks: Counter[Look] = Counter()
        for event, count in sorted(Counter(events).items(), key=lambda item: repr(item[0])):
            times = Decimal(count)
            match event:
                case Gaussian():
                    mu_squared = UP.add(mu_squared, UP.multiply(times, event.mu_squared))
                case Thresholding():
                    mu_squared = UP.add(mu_squared, UP.multiply(times, event.mu_squared))
                case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=steps):
                    looks[SubsampledGaussian(z, q, 1)] += steps * count
                case Claimed():
                    looks[_response(ceil_float(event.converted[0]))] += count
                case PrivateSelection():
                    looks[_response(event.epsilon)] += count
                case PostProcessing():
                    pass
                case _:
                    looks[event] += count
            delta0 = UP.add(delta0, UP.multiply(times, event.delta0))
        return cls(mu_squared, delta0, tuple(sorted(looks.items(), key=lambda item: repr(item[0]))))

    @property
    def closed_mu_squared(self) -> Decimal:
        """Sum of mu^2 of every part in closed form, rounded up."""
        total = self.mu_squared
        for look, count in self.looks:
            total = UP.add(total, UP.multiply(Decimal(count), look.mu_squared))
        return total

    @property
    def pure_epsilon(self) -> Decimal | None:
        """The sum of pure epsilons; None where a part has none."""
        if self.mu_squared or self.delta0:
            return None
        total = Decimal(0)
        for look, count in self.looks:
            match look:
                case ExponentialMechanism(eta=epsilon) | RandomizedResponse(epsilon=epsilon):
                    each = Decimal(epsilon)
                case Laplace(noise_multiplier=z):
                    each = UP.divide(Decimal(1), Decimal(z))
                case _:
                    return None
            total = UP.add(total, UP.multiply(Decimal(count), each))
        return total


def _response(epsilon: float) -> RandomizedResponse:
    return RandomizedResponse(max(epsilon, 1e-12))


__all__ = ["Look", "Parts"]

"""A factor: a domain and an array over it. Operations broadcast by attribute name, so no axis number leaves here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Domain

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A real function of the attributes in `domain`: a potential (log scale), a probability table or counts.

    Attributes:
        domain: the attributes, in the order of the axes.
        values: float64, ``values.shape == domain.shape``.

    Raises:
        ValueError: the shapes differ.
    """

    domain: Domain
    values: Array

    def __post_init__(self) -> None:
        if self.values.shape != self.domain.shape:
            raise ValueError(
                f"values of shape {self.values.shape} over {self.domain.sizes}; expected {self.domain.shape}"
            )

    @classmethod
    def zeros(cls, domain: Domain) -> Factor:
        """The factor that is 0 everywhere (1 on the log scale)."""
        return cls(domain, np.zeros(domain.shape))

    def _axes_without(self, keep: Iterable[str]) -> tuple[int, ...]:
        wanted = set(keep)
        unknown = wanted - set(self.domain.attributes)
        if unknown:
            raise KeyError(f"not in this factor: {sorted(unknown)}; it has {list(self.domain.attributes)}")
        return tuple(i for i, a in enumerate(self.domain.attributes) if a not in wanted)

    def transpose(self, attributes: Iterable[str]) -> Factor:
        """The same factor with its axes in the order given (a view)."""
        target = self.domain.project(tuple(attributes))
        return Factor(target, self.values.transpose(self.domain.axes(target.attributes)))

    def expand(self, domain: Domain) -> Array:
        """Values shaped to broadcast against a factor over `domain`, with length-1 axes where absent (a view)."""
        order = [a for a in domain.attributes if a in self.domain]
        if len(order) != len(self.domain):
            missing = sorted(set(self.domain.attributes) - set(order))
            raise KeyError(f"cannot expand to {list(domain.attributes)}: {missing} would be lost")
        sizes = self.domain.sizes
        shape = tuple(sizes.get(a, 1) for a in domain.attributes)
        return self.values.transpose(self.domain.axes(order)).reshape(shape)

    def _joined(self, other: Factor) -> Domain:
        if other.domain.attributes == self.domain.attributes:
            return self.domain
        return Domain.of(self.domain.sizes | other.domain.sizes)

    def __add__(self, other: Factor) -> Factor:
        domain = self._joined(other)
        return Factor(domain, np.add(self.expand(domain), other.expand(domain)))

    def __sub__(self, other: Factor) -> Factor:
        domain = self._joined(other)
        return Factor(domain, np.subtract(self.expand(domain), other.expand(domain)))

    def __mul__(self, other: Factor) -> Factor:
        domain = self._joined(other)
        return Factor(domain, np.multiply(self.expand(domain), other.expand(domain)))

    def project(self, attributes: Iterable[str]) -> Factor:
        """Sum out every attribute not named; axes come out in the order given."""
        target = tuple(attributes)
        drop = self._axes_without(target)
        kept = Domain.of({a: s for a, s in self.domain.sizes.items() if a in target})
        summed = self.values.sum(axis=drop) if drop else self.values
        return Factor(kept, summed).transpose(target)

    def logsumexp(self, attributes: Iterable[str]) -> Factor:
        """As `project`, for values on the log scale; a slice that is all ``-inf`` stays ``-inf``."""
        target = tuple(attributes)
        drop = self._axes_without(target)
        kept = Domain.of({a: s for a, s in self.domain.sizes.items() if a in target})
        peak = self.values.max(axis=drop, keepdims=True)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        with np.errstate(divide="ignore"):
            summed = np.log(np.exp(self.values - peak).sum(axis=drop)) + peak.reshape(kept.shape)
        return Factor(kept, summed).transpose(target)

    def exp(self) -> Factor:
        """The factor off the log scale."""
        return Factor(self.domain, np.exp(self.values))


__all__ = ["Array", "Factor"]

"""A network as a distribution of rows over merged cells: it answers what a graphical model answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.decoder import Decoder
from dpsynth.graphical.factor import Array
from dpsynth.graphical.particles import Particles

Load = Callable[[Domain, Mapping[str, Any], Mapping[str, NDArray[Any]]], "Autoregression | Decoder"]
_BODIES: Mapping[str, Load] = {Autoregression.kind: Autoregression.load, Decoder.kind: Decoder.load}
"""How each kind of network is loaded."""
_CHUNK = 2**14
"""Rows drawn at a time."""
_CHUNK_GIVEN = 2**10
_SEED = 5
LEAST_ROWS, MOST_ROWS = 20_000, 200_000
"""Rows of the fixed sample in which expected counts are counted."""


class NetworkRows:
    """Rows of a network, any number of them. Immutable.

    Attributes:
        network: draws rows.
        total: how many rows it stands for, at least 1.
        potentials: none: a fit changes nothing of it.
    """

    potentials: Mapping[Clique, Array] = MappingProxyType({})

    def __init__(self, network: Autoregression | Decoder, total: float) -> None:
        self.network = network
        self.total = total
        self._drawn: Particles | None = None

    @property
    def domain(self) -> Domain:
        """Of merged cells."""
        return self.network.domain

    @property
    def order(self) -> Clique:
        """All attributes, as the domain has them."""
        return self.domain.attributes

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` rows; with `given`, completed by the network (see its `draw`).

        Raises:
            ValueError: `rows` is negative.
        """
        if rows < 0:
            raise ValueError(f"rows must be at least 0, got {rows}")
        size = _CHUNK_GIVEN if given else _CHUNK
        parts: list[Codes] = []
        for start in range(0, rows, size):
            end = min(start + size, rows)
            own = {a: np.asarray(c)[start:end] for a, c in given.items()} if given else None
            parts.append(self.network.draw(end - start, rng, own))
        none = np.zeros(0, dtype=np.int64)
        return {a: np.concatenate([none, *(part[a] for part in parts)]) for a in self.domain.attributes}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique`, summing to `total`: counted in one fixed sample."""
        if self._drawn is None:
            rows = min(max(round(self.total), LEAST_ROWS), MOST_ROWS)
            self._drawn = Particles(self.domain, self.sample(rows, np.random.default_rng(_SEED)))
        return self._drawn.marginal(clique, np.full(self._drawn.rows, self.total / self._drawn.rows))

    @classmethod
    def load(
        cls, domain: Domain, total: float, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> NetworkRows:
        """From what its network's `dump` gave.

        Raises:
            KeyError, ValueError: something is missing, or does not fit.
        """
        return cls(_BODIES[header["kind"]](domain, header, arrays), total)


__all__ = ["NetworkRows"]

"""The fitted model of every deep generator: a network over merged cells, and the way back to base cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.cells import drawn, log_probabilities
from dpsynth.generators.deep.decoder import Decoder
from dpsynth.generators.deep.tilt import Tilt
from dpsynth.generators.recoding import Recoding

Load = Callable[[Domain, Mapping[str, Any], Mapping[str, NDArray[Any]]], "Autoregression | Decoder"]
BODIES: Mapping[str, Load] = {Autoregression.kind: Autoregression.load, Decoder.kind: Decoder.load}
"""How each kind of network is loaded."""
_CHUNK = 2**14
"""Rows drawn at a time."""
_CHUNK_GIVEN = 2**10
_SEED = 5
LEAST_ROWS, MOST_ROWS = 20_000, 200_000
"""Rows of the fixed sample in which expected counts are counted."""


class NetworkModel:
    """Made from noised parameters and noisy answers alone; sampling and saving it costs nothing. Immutable.

    Attributes:
        recoding: base cells to merged cells, and back.
        network: draws rows over merged cells.
        total: the noisy estimate of the number of rows, at least 1.
        tilt: how rows of the network are weighted.
    """

    kind = "network"
    version = 1

    def __init__(
        self, recoding: Recoding, network: Autoregression | Decoder, total: float, tilt: Tilt | None = None
    ) -> None:
        if network.domain != recoding.domain:
            raise ValueError(f"the network is over {network.domain.sizes}, the recoding over {recoding.domain.sizes}")
        self.recoding = recoding
        self.network = network
        self.total = total
        self.tilt = Tilt() if tilt is None else tilt
        self._drawn: Codes | None = None

    @property
    def domain(self) -> Domain:
        """The encoded domain it samples in."""
        return self.recoding.base

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` encoded rows; with `given`, each from the network's conditional given its own codes, about (see the
        network's `draw`)."""
        merged = self._merged(rows, rng, self.recoding.encode(given) if given else None)
        decoded = self.recoding.decode(merged, rng)
        kept = {a: np.asarray(c).astype(np.int64) for a, c in (given or {}).items()}
        return {a: kept.get(a, decoded[a]) for a in self.domain.attributes}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique` in the base domain, summing to `total`: counted in one fixed sample."""
        if self._drawn is None:
            rows = min(max(round(self.total), LEAST_ROWS), MOST_ROWS)
            self._drawn = self._merged(rows, np.random.default_rng(_SEED), None)
        shape = self.recoding.domain.shape_of(clique)
        cell = np.ravel_multi_index(tuple(self._drawn[a] for a in clique), shape)
        counts = np.bincount(cell, minlength=int(np.prod(shape))).astype(np.float64)
        return self.recoding.spread(counts.reshape(shape) * (self.total / len(cell)), clique)

    def _merged(self, rows: int, rng: np.random.Generator, given: Codes | None) -> dict[str, NDArray[np.int64]]:
        if rows < 0:
            raise ValueError(f"rows must be at least 0, got {rows}")
        size = _CHUNK_GIVEN if given else _CHUNK
        parts: list[Codes] = []
        for start in range(0, rows, size):
            end = min(start + size, rows)
            own = {a: np.asarray(c)[start:end] for a, c in given.items()} if given else None
            parts.append(self._drawn_part(end - start, rng, own))
        none = np.zeros(0, dtype=np.int64)
        return {a: np.concatenate([none, *(part[a] for part in parts)]) for a in self.domain.attributes}

    def _drawn_part(self, rows: int, rng: np.random.Generator, given: Codes | None) -> Codes:
        """Rows of the network, chosen by their weights among several times as many."""
        if not self.tilt.potentials:
            return self.network.draw(rows, rng, given)
        if not given:
            pool = self.network.draw(self.tilt.pool(rows), rng)
            places = self.tilt.chosen(self.tilt.heights(self.network.domain, pool), rows, rng)
        else:
            each = self.tilt.completions
            pool = self.network.draw(rows * each, rng, {a: np.repeat(np.asarray(c), each) for a, c in given.items()})
            heights = self.tilt.heights(self.network.domain, pool).astype(np.float32)
            places = np.arange(rows) * each + drawn(log_probabilities(heights.reshape(rows, each)), rng)
        return {a: np.asarray(c)[places] for a, c in pool.items()}

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays; equal models give equal dumps."""
        network, arrays = self.network.dump()
        header = {
            "kind": self.kind,
            "version": self.version,
            "attributes": list(self.domain.attributes),
            "shape": list(self.domain.shape),
            "total": self.total,
            "network": network,
            "tilt": [list(clique) for clique in self.tilt.potentials],
        }
        held = {f"network.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
        for i, a in enumerate(self.domain.attributes):
            held[f"map_{i}"] = self.recoding.maps[a].copy()
            held[f"weights_{i}"] = self.recoding.weights[a].copy()
        for i, potential in enumerate(self.tilt.potentials.values()):
            held[f"potential_{i}"] = np.ascontiguousarray(potential)
        return header, held

    @classmethod
    def load(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> NetworkModel:
        """The model that `dump` described.

        Raises:
            ValueError: the header is of another kind or version, or the arrays do not fit it.
        """
        if header.get("kind") != cls.kind or header.get("version") != cls.version:
            raise ValueError(
                f"a model of kind {header.get('kind')!r}, version {header.get('version')!r}; "
                f"expected {cls.kind!r}, version {cls.version}"
            )
        prefix = "network."
        try:
            base = Domain(tuple(header["attributes"]), tuple(int(s) for s in header["shape"]))
            places = list(enumerate(base.attributes))
            maps = {a: np.asarray(arrays[f"map_{i}"], dtype=np.int64) for i, a in places}
            weights = {a: np.asarray(arrays[f"weights_{i}"], dtype=np.float64) for i, a in places}
            recoding = Recoding.of(base, maps, weights)
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            network = BODIES[header["network"]["kind"]](recoding.domain, header["network"], own)
            potentials = {
                tuple(clique): np.asarray(arrays[f"potential_{i}"], dtype=np.float64)
                for i, clique in enumerate(header["tilt"])
            }
            for clique, potential in potentials.items():
                if potential.shape != recoding.domain.shape_of(clique):
                    raise ValueError(f"the potential of {clique} has the wrong shape")
            return cls(recoding, network, float(header["total"]), Tilt(potentials))
        except KeyError as missing:
            raise ValueError(f"incomplete model: {missing} is missing") from missing


__all__ = ["BODIES", "NetworkModel"]

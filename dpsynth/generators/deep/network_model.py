"""The fitted model of every deep generator: a network over merged cells, and the way back to base cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.deep.network_rows import NetworkRows
from dpsynth.generators.recoding import Recoding
from dpsynth.generators.stored import dump_particles, dump_recoding, load_particles, load_recoding
from dpsynth.graphical import RakedModel


class NetworkModel:
    """Made from noised parameters and noisy answers alone; sampling and saving it costs nothing. Immutable.

    Attributes:
        recoding: base cells to merged cells, and back.
        rows: draws rows over merged cells: the network, or particles of it weighted.
    """

    kind = "network"
    version = 2

    def __init__(self, recoding: Recoding, rows: NetworkRows | RakedModel[NetworkRows]) -> None:
        if rows.domain != recoding.domain:
            raise ValueError(f"the network is over {rows.domain.sizes}, the recoding over {recoding.domain.sizes}")
        self.recoding = recoding
        self.rows = rows

    @property
    def domain(self) -> Domain:
        """The encoded domain it samples in."""
        return self.recoding.base

    @property
    def total(self) -> float:
        """The noisy estimate of the number of rows, at least 1."""
        return self.rows.total

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` encoded rows; with `given`, each from the network's conditional given its own codes, about (see the
        network's `draw`), or one of the particles that have them."""
        return self.recoding.sample(self.rows.sample, rows, rng, given)

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique` in the base domain, summing to `total`."""
        return self.recoding.spread(self.rows.project(clique), clique)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays; equal models give equal dumps."""
        raked = self.rows if isinstance(self.rows, RakedModel) else None
        prior = self.rows.prior if isinstance(self.rows, RakedModel) else self.rows
        network, own = prior.network.dump()
        arrays = {f"network.{name}": np.ascontiguousarray(array) for name, array in own.items()}
        header = {
            "kind": self.kind,
            "version": self.version,
            **dump_recoding(self.recoding, arrays),
            "total": self.total,
            "network": network,
            "raked": dump_particles(raked, arrays) if raked else None,
        }
        return header, arrays

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
            recoding = load_recoding(header, arrays)
            own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            rows = NetworkRows.load(recoding.domain, float(header["total"]), header["network"], own)
            return cls(recoding, load_particles(rows, header["raked"], arrays) if header["raked"] else rows)
        except KeyError as missing:
            raise ValueError(f"incomplete model: {missing} is missing") from missing


__all__ = ["NetworkModel"]

"""The fitted model of every marginal method: a graphical model over merged cells, and the way back to base cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import GraphicalModel, JunctionTree, RakedModel
from dpsynth.graphical.particles import Particles


class MarginalModel:
    """Made from noisy answers alone; sampling and saving it costs nothing. Immutable.

    Attributes:
        recoding: base cells to merged cells, and back.
        graphical: the distribution over merged cells: a graphical model, or its particles weighted.
    """

    kind = "marginal"

    def __init__(self, recoding: Recoding, graphical: GraphicalModel | RakedModel) -> None:
        if graphical.domain != recoding.domain:
            raise ValueError(
                f"the graphical model is over {graphical.domain.sizes}, the recoding over {recoding.domain.sizes}"
            )
        self.recoding = recoding
        self.graphical = graphical

    @property
    def domain(self) -> Domain:
        """The encoded domain it samples in."""
        return self.recoding.base

    @property
    def total(self) -> float:
        """The noisy estimate of the number of rows, at least 1."""
        return self.graphical.total

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` encoded rows; with `given`, each drawn from the model's conditional given its own codes."""
        merged = self.graphical.sample(rows, rng, self.recoding.encode(given) if given else None)
        decoded = self.recoding.decode(merged, rng)
        kept = {a: np.asarray(c).astype(np.int64) for a, c in (given or {}).items()}
        return {a: kept.get(a, decoded[a]) for a in self.domain.attributes}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique` in the base domain, summing to ``total``."""
        return self.recoding.spread(self.graphical.project(clique), clique)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays; equal models give equal dumps."""
        raked = self.graphical if isinstance(self.graphical, RakedModel) else None
        graphical = self.graphical.prior if isinstance(self.graphical, RakedModel) else self.graphical
        cliques = sorted(graphical.potentials, key=self.domain.axes)
        header = {
            "kind": self.kind,
            "version": _RAKED if raked else _PLAIN,
            "attributes": list(self.domain.attributes),
            "shape": list(self.domain.shape),
            "cliques": [list(c) for c in cliques],
            "bags": [list(b) for b in sorted(graphical.tree.bags, key=self.domain.axes)],
            "total": self.total,
        }
        arrays: dict[str, NDArray[Any]] = {}
        for i, a in enumerate(self.domain.attributes):
            arrays[f"map_{i}"] = self.recoding.maps[a].copy()
            arrays[f"weights_{i}"] = self.recoding.weights[a].copy()
        for i, c in enumerate(cliques):
            arrays[f"potential_{i}"] = np.ascontiguousarray(graphical.potentials[c])
        if raked:
            header["raked"] = _dump_particles(raked, arrays)
        return header, arrays

    @classmethod
    def load(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> MarginalModel:
        """The model that `dump` described.

        Raises:
            ValueError: the header is of another kind or version, or the arrays do not fit it.
        """
        if header.get("kind") != cls.kind or header.get("version") not in (_PLAIN, _RAKED):
            raise ValueError(
                f"a model of kind {header.get('kind')!r}, version {header.get('version')!r}; "
                f"expected {cls.kind!r}, version {_PLAIN} or {_RAKED}"
            )
        try:
            base = Domain(tuple(header["attributes"]), tuple(int(s) for s in header["shape"]))
            places = list(enumerate(base.attributes))
            maps = {a: np.asarray(arrays[f"map_{i}"], dtype=np.int64) for i, a in places}
            weights = {a: np.asarray(arrays[f"weights_{i}"], dtype=np.float64) for i, a in places}
            potentials = {
                tuple(c): np.asarray(arrays[f"potential_{i}"], dtype=np.float64)
                for i, c in enumerate(header["cliques"])
            }
            total = float(header["total"])
            bags = [tuple(bag) for bag in header["bags"]] if "bags" in header else [*potentials]
            recoding = Recoding.of(base, maps, weights)
            tree = JunctionTree.of(recoding.domain, bags)
            graphical = GraphicalModel(recoding.domain, potentials, total, tree)
            if header["version"] == _PLAIN:
                return cls(recoding, graphical)
            return cls(recoding, _load_particles(graphical, header["raked"], arrays))
        except KeyError as missing:
            raise ValueError(f"incomplete model: {missing} is missing") from missing


_PLAIN, _RAKED = 1, 2
"""Versions of what `MarginalModel.dump` writes: without particles, and with them."""


def _dump_particles(raked: RakedModel, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Add the particles to `arrays`; what else there is of them, as JSON."""
    particles, kept = raked.particles, np.flatnonzero(raked.weights)
    for i, a in enumerate(raked.domain.attributes):
        arrays[f"particle_{i}"] = particles.codes(a)[kept]
    arrays["particle_weights"] = raked.weights[kept]
    return {"cliques": [list(c) for c in raked.cliques]}


def _load_particles(prior: GraphicalModel, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RakedModel:
    codes = {a: np.asarray(arrays[f"particle_{i}"], np.int64) for i, a in enumerate(prior.domain.attributes)}
    rows = len(arrays["particle_weights"])
    for a, held in codes.items():
        if held.shape != (rows,) or (rows and not 0 <= held.min() <= held.max() < prior.domain[a]):
            raise ValueError(f"particles of {a!r} do not fit the model")
    weights = np.asarray(arrays["particle_weights"], np.float64)
    return RakedModel(prior, Particles(prior.domain, codes), weights, [tuple(c) for c in header["cliques"]])


__all__ = ["MarginalModel"]

"""The fitted model of every marginal method: a graphical model over merged cells, and the way back to base cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.recoding import Recoding
from dpsynth.generators.stored import dump_particles, dump_recoding, load_particles, load_recoding
from dpsynth.graphical import GraphicalModel, JunctionTree, RakedModel


class MarginalModel:
    """Made from noisy answers alone; sampling and saving it costs nothing. Immutable.

    Attributes:
        recoding: base cells to merged cells, and back.
        graphical: the distribution over merged cells: a graphical model, or its particles weighted.
    """

    kind = "marginal"

    def __init__(self, recoding: Recoding, graphical: GraphicalModel | RakedModel[GraphicalModel]) -> None:
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

    @property
    def bags(self) -> tuple[Clique, ...]:
        """Of the junction tree, in domain order."""
        prior = self.graphical.prior if isinstance(self.graphical, RakedModel) else self.graphical
        return tuple(sorted(prior.tree.bags, key=self.domain.axes))

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` encoded rows; with `given`, each drawn from the model's conditional given its own codes."""
        return self.recoding.sample(self.graphical.sample, rows, rng, given)

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique` in the base domain, summing to ``total``."""
        return self.recoding.spread(self.graphical.project(clique), clique)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays; equal models give equal dumps."""
        raked = self.graphical if isinstance(self.graphical, RakedModel) else None
        graphical = self.graphical.prior if isinstance(self.graphical, RakedModel) else self.graphical
        cliques = sorted(graphical.potentials, key=self.domain.axes)
        arrays: dict[str, NDArray[Any]] = {}
        header = {
            "kind": self.kind,
            "version": _RAKED if raked else _PLAIN,
            **dump_recoding(self.recoding, arrays),
            "cliques": [list(c) for c in cliques],
            "bags": [list(b) for b in self.bags],
            "total": self.total,
        }
        for i, c in enumerate(cliques):
            arrays[f"potential_{i}"] = np.ascontiguousarray(graphical.potentials[c])
        if raked:
            header["raked"] = dump_particles(raked, arrays)
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
            recoding = load_recoding(header, arrays)
            potentials = {
                tuple(c): np.asarray(arrays[f"potential_{i}"], dtype=np.float64)
                for i, c in enumerate(header["cliques"])
            }
            total = float(header["total"])
            bags = [tuple(bag) for bag in header["bags"]] if "bags" in header else [*potentials]
            tree = JunctionTree.of(recoding.domain, bags)
            graphical = GraphicalModel(recoding.domain, potentials, total, tree)
            if header["version"] == _PLAIN:
                return cls(recoding, graphical)
            return cls(recoding, load_particles(graphical, header["raked"], arrays))
        except KeyError as missing:
            raise ValueError(f"incomplete model: {missing} is missing") from missing


_PLAIN, _RAKED = 1, 2
"""Versions of what `MarginalModel.dump` writes: without particles, and with them."""


__all__ = ["MarginalModel"]

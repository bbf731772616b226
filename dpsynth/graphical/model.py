"""A fitted graphical model: a distribution over a domain, and how many rows it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.graphical.belief_propagation import Calibrated, MessagePassing
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.sampling import sample


class GraphicalModel:
    """The distribution proportional to ``exp(sum of potentials)``, scaled to `total` rows. Immutable.

    Attributes:
        domain: the attributes.
        potentials: log-scale arrays, one for each clique, finite, axes in domain order.
        total: rows it stands for, positive.
        calibrated: the calibrated junction tree: all inference starts from it.
    """

    def __init__(
        self,
        domain: Domain,
        potentials: Mapping[Clique, Array],
        total: float,
        tree: JunctionTree | None = None,
        *,
        passing: MessagePassing | None = None,
    ) -> None:
        if not (np.isfinite(total) and total > 0):
            raise ValueError(f"total must be positive and finite, got {total}")
        self.domain = domain
        self.potentials = {c: potentials[c] for c in sorted(potentials, key=lambda c: (len(c), domain.axes(c)))}
        self.total = float(total)
        cliques = tuple(self.potentials)
        if passing is None or passing.cliques != cliques:  # one laid out for the same potentials saves that work
            passing = MessagePassing(tree or JunctionTree.of(domain, cliques), cliques)
        self.calibrated: Calibrated = passing.calibrate(tuple(self.potentials.values()))

    @property
    def tree(self) -> JunctionTree:
        """The junction tree."""
        return self.calibrated.tree

    @property
    def order(self) -> Clique:
        """All attributes along the junction tree, root first."""
        return tuple(dict.fromkeys(a for bag in self.tree.bags for a in bag))

    def project(self, clique: Sequence[str], max_cells: int | None = None) -> Array:
        """Expected counts over `clique`, axes in the order given, in rows; they sum to `total`.

        Raises:
            ModelTooLarge: the marginal cannot be computed within `max_cells`.
        """
        return self.calibrated.project(clique, max_cells).values * self.total

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """Rows drawn by `dpsynth.graphical.sampling.sample`."""
        return sample(self.calibrated, rows, rng, given)


__all__ = ["GraphicalModel"]

"""A network's rows weighted so that they fit noisy margins: what training got wrong, and counts can mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.graphical import Measurement, combine
from dpsynth.graphical.estimation import Dual
from dpsynth.graphical.factor import Array
from dpsynth.graphical.particles import Particles, WeightedSums

_SMOOTHING, _TOLERANCE, _EVALUATIONS = 0.2, 0.1, 40
_POOL, _FEWEST = 4, 2048
"""Rows drawn for one that is kept, and fewest of them."""
_COMPLETIONS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Tilt:
    """Potentials over cliques: a row ``x`` counts for ``exp(sum_c theta_c[x_c])`` of the network's own.

    The exponential family whose base measure is the network, as in generalised raking (Deville, Särndal, Sautory 1993).

    Attributes:
        potentials: by clique, over merged cells; none: rows are as the network draws them.
    """

    potentials: Mapping[Clique, Array] = field(default_factory=dict)

    @classmethod
    def fitted(
        cls, particles: Particles, measurements: Sequence[Measurement], total: float, warm: Tilt
    ) -> tuple[Tilt, Array]:
        """Potentials at which particles of the network fit all measurements by precision, and the particles' weights.

        Args:
            particles: rows of the network.
            measurements: one-ways and more.
            total: what they sum to.
            warm: where to start.
        """
        domain = particles.domain
        combined = combine(domain, measurements)
        cliques = tuple(sorted(combined, key=lambda c: (len(c), domain.axes(c))))
        sums = WeightedSums(particles, cliques, {})
        problem = Dual(sums, domain, combined, total, _SMOOTHING)
        potentials = problem.minimised(warm.potentials, _TOLERANCE, _EVALUATIONS)
        return cls(potentials), sums.run([potentials[c] for c in cliques])[2]

    def heights(self, domain: Domain, codes: Codes) -> Array:
        """Log weight of every row, shape (rows,)."""
        found = np.zeros(len(codes[domain.attributes[0]]))
        for clique, potential in self.potentials.items():
            found += potential[tuple(np.asarray(codes[a]) for a in clique)]
        return found

    def pool(self, rows: int) -> int:
        """How many rows to draw for `rows` that are kept."""
        return max(_POOL * rows, _FEWEST) if self.potentials else rows

    def chosen(self, heights: Array, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Places of `rows` of the drawn ones, by weight, in random order: a systematic sample (Madow 1949)."""
        running = np.cumsum(np.exp(heights - heights.max()))
        points = (np.arange(rows) + rng.random()) / rows * running[-1]
        return rng.permutation(np.minimum(np.searchsorted(running, points, side="right"), len(heights) - 1))

    @property
    def completions(self) -> int:
        """How many completions to draw for one row that is given in part."""
        return _COMPLETIONS if self.potentials else 1


__all__ = ["Tilt"]

"""The one-way looks that every marginal method begins with: base cells, then, of fine grids, the bins they showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accountants import Gaussian
from dpsynth.domain import Clique
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import Measurement, combine, estimate_total, measured
from dpsynth.hints import Hints

_HALF_NORMAL = math.sqrt(2 / math.pi)
"""Expected absolute value of a standard normal."""


@dataclass(frozen=True, slots=True, eq=False)
class OneWays:
    """What has been measured of single columns, and the recoding that follows from it.

    A fine grid (``bins: auto``) is looked at twice, each time with half the share: its cells show the bins, and then
    the bins are counted as such, since the noise of a sum of ``m`` cells is ``sqrt(m)`` times that of one count. Other
    columns lose nothing by it: both looks count the same cells.

    Attributes:
        base: one noisy marginal for every attribute, over base codes.
        bins: noisy marginals over the bins of fine grids.
        recoding: base cells to merged cells.
    """

    base: Sequence[Measurement]
    bins: Sequence[Measurement]
    recoding: Recoding

    @classmethod
    def look(cls, private: PrivateTable, noise: Gaussian, hints: Hints, merge_below: float) -> OneWays:
        """One stacked look at the base cells of every column."""
        base = measured(private.count_all(_singles(private), noise))
        recoding = Recoding.merging_rare(private.domain, base, hints.out_of_domain, merge_below, hints.fine)
        return cls(base, (), recoding)

    def again(self, private: PrivateTable, noise: Gaussian, hints: Hints, merge_below: float) -> OneWays:
        """One more look: at the bins of fine grids, which stay as they are, and at the base cells of other columns."""
        maps = {a: self.recoding.maps[a] for a in hints.fine}
        found = measured(private.recoded(maps).count_all(_singles(private), noise))
        bins = [m for m in found if m.clique[0] in maps]
        rest = [m for m in found if m.clique[0] not in maps]
        base = list(combine(private.domain, [*self.base, *rest]).values())
        recoding = self.recoding.again(base, hints.out_of_domain, merge_below, maps)
        return OneWays(base, [*self.bins, *bins], recoding)

    @classmethod
    def planned(cls, private: PrivateTable, noise: Sequence[Gaussian], hints: Hints, merge_below: float) -> OneWays:
        """The looks of `one_way_looks`."""
        found = cls.look(private, noise[0], hints, merge_below)
        for event in noise[1:]:
            found = found.again(private, event, hints, merge_below)
        return found

    @property
    def merged(self) -> list[Measurement]:
        """One noisy marginal for every attribute, over merged codes."""
        found = [self.recoding.one_way(m) for m in self.base]
        return list(combine(self.recoding.domain, [*found, *self.bins]).values())

    @property
    def error(self) -> float:
        """Mean total variation distance that noise makes in a one-way of the model.

        Of bins that were not counted yet: what a look like the one at their cells would leave.
        """
        merged = {m.clique: m for m in self.merged}
        noise = {c: float(np.broadcast_to(m.sigma, m.values.shape).sum()) for c, m in merged.items()}
        if not self.bins:
            fine = [m for m in self.base if m.clique[0] in self.recoding.empty]
            noise |= {m.clique: float(np.mean(m.sigma)) * len(merged[m.clique].values) for m in fine}
        return 0.5 * _HALF_NORMAL * float(np.mean(list(noise.values()))) / estimate_total(merged.values())


def one_way_looks(noise_multiplier: float, hints: Hints) -> list[Gaussian]:
    """The looks at the one-ways in a fixed plan, as costly as one of this noise: one, or two where grids are fine."""
    looks = 2 if hints.fine else 1
    return [Gaussian(noise_multiplier=noise_multiplier * math.sqrt(looks))] * looks


def _singles(private: PrivateTable) -> list[Clique]:
    return [(a,) for a in private.domain.attributes]


__all__ = ["OneWays", "one_way_looks"]

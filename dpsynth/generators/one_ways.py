"""The one-way looks that every marginal method begins with: denoised, and merged to the cells pairs are asked over."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accountants import Gaussian
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.denoising import Denoised, denoised
from dpsynth.generators.grouping import grouped
from dpsynth.generators.heaped import rebinned
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import Measurement, combine, estimate_total, measured
from dpsynth.graphical.factor import Array
from dpsynth.hints import Hints
from dpsynth.measurement import NoisyCounts

_HALF_NORMAL = math.sqrt(2 / math.pi)
"""Expected absolute value of a standard normal."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is done to noisy one-ways before anything else is asked.

    Attributes:
        denoise: whether counts are replaced by their posterior means (`denoised`).
        merge_below: rare cells are merged (`Recoding.merging_rare`), in sigma.
        group_below: neighbours of ordered columns are grouped (`grouped`), in sigma; 0 groups none.
    """

    denoise: bool
    merge_below: float
    group_below: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class OneWays:
    """What has been measured of single columns, and the recoding that follows from it.

    A fine grid (``bins: auto``) is looked at twice, each time with half the share: its cells show the bins, and then
    the bins are counted as such, since the noise of a sum of ``m`` cells is ``sqrt(m)`` times that of one count. Other
    columns lose nothing by it: both looks count the same cells. Fine grids are denoised and merged by `binning`, other
    columns by `Cleaning`.

    Attributes:
        base: one noisy marginal for every attribute, over base codes.
        clean: the same, denoised.
        bins: noisy marginals over the bins of fine grids.
        recoding: base cells to merged cells.
        heaped: noisy marginals of heaped columns, over base codes, with a target, over merged ones.
    """

    base: Sequence[Measurement]
    clean: Sequence[Measurement]
    bins: Sequence[Measurement]
    recoding: Recoding
    heaped: Sequence[Measurement] = ()

    @classmethod
    def look(cls, private: PrivateTable, noise: Gaussian, hints: Hints, cleaning: Cleaning) -> OneWays:
        """One stacked look at the base cells of every column."""
        return cls.first(private.domain, private.count_all(_singles(private), noise), hints, cleaning)

    @classmethod
    def first(cls, domain: Domain, answers: Iterable[NoisyCounts], hints: Hints, cleaning: Cleaning) -> OneWays:
        """What the answers of `look` say."""
        return cls._of(domain, measured(answers), (), hints, cleaning, None)

    def again(self, private: PrivateTable, noise: Gaussian, hints: Hints, cleaning: Cleaning) -> OneWays:
        """One more look: at the bins of fine grids, which stay as they are, and at the base cells of other columns."""
        maps = {a: self.recoding.maps[a] for a in hints.fine}
        return self.second(private.recoded(maps).count_all(_singles(private), noise), hints, cleaning)

    def second(self, answers: Iterable[NoisyCounts], hints: Hints, cleaning: Cleaning) -> OneWays:
        """What the answers of `again` say beside the first."""
        domain, found = self.recoding.base, measured(answers)
        bins = [m for m in found if m.clique[0] in hints.fine]
        rest = [m for m in found if m.clique[0] not in hints.fine]
        base = list(combine(domain, [*self.base, *rest]).values())
        return self._of(domain, base, [*self.bins, *bins], hints, cleaning, self.recoding)

    def with_heaped(self, answers: Iterable[NoisyCounts], target: str, hints: Hints, cleaning: Cleaning) -> OneWays:
        """What counts of heaped columns' cells by merged cells of the target say beside the first look: other bins."""
        found, first, bins = measured(answers), {m.clique[0]: m for m in self.base}, {}
        for pair in found:
            attribute = _other(pair.clique, target)
            cells = len(hints.fine[attribute]) - 1
            one_way = first[attribute]
            bins[attribute] = rebinned(
                _by(pair, attribute)[:cells],
                float(np.mean(pair.sigma)),
                one_way.values[:cells],
                np.broadcast_to(np.square(one_way.sigma), one_way.values.shape)[:cells],
                np.asarray(hints.fine[attribute]),
                cleaning.merge_below,
            )
        recoding = self.recoding.rebinned(bins, self.base, hints.out_of_domain, cleaning.merge_below)
        return replace(self, recoding=recoding, heaped=found)

    @classmethod
    def _of(
        cls,
        domain: Domain,
        base: Sequence[Measurement],
        bins: Sequence[Measurement],
        hints: Hints,
        cleaning: Cleaning,
        before: Recoding | None,
    ) -> OneWays:
        found = {m.clique[0]: _cleaned(m, hints.fine, cleaning) for m in base}
        clean = [d.measurement for d in found.values()]
        if before is None:
            recoding = Recoding.merging_rare(domain, clean, hints.out_of_domain, cleaning.merge_below, hints.fine)
        else:
            recoding = before.again(clean, hints.out_of_domain, cleaning.merge_below, hints.fine)
        listed = [d for a, d in found.items() if a not in hints.fine]
        if listed:
            recoding = grouped(recoding, listed, hints.ordered, cleaning.group_below)
        return cls(base, clean, bins, recoding)

    @classmethod
    def planned(cls, private: PrivateTable, noise: Sequence[Gaussian], hints: Hints, cleaning: Cleaning) -> OneWays:
        """The looks of `one_way_looks`."""
        found = cls.look(private, noise[0], hints, cleaning)
        for event in noise[1:]:
            found = found.again(private, event, hints, cleaning)
        return found

    @property
    def merged(self) -> list[Measurement]:
        """One noisy marginal for every attribute, over merged codes."""
        found = [self.recoding.one_way(m) for m in self.clean]
        return list(combine(self.recoding.domain, [*found, *self.bins]).values())

    def heaped_with(self, target: str) -> list[Measurement]:
        """What was counted of heaped columns together with the target, over merged codes."""
        return [self.recoding.summed(m, _other(m.clique, target)) for m in self.heaped]

    @property
    def error(self) -> float:
        """Mean total variation distance that the noise makes in a one-way of the model."""
        merged = self.merged
        noise = np.mean([np.broadcast_to(m.sigma, m.values.shape).sum() for m in merged])
        return 0.5 * _HALF_NORMAL * float(noise) / estimate_total(merged)


def one_way_looks(noise_multiplier: float, hints: Hints) -> list[Gaussian]:
    """The looks at the one-ways in a fixed plan, as costly as one of this noise: one, or two where grids are fine."""
    looks = 2 if hints.fine else 1
    return [Gaussian(noise_multiplier=noise_multiplier * math.sqrt(looks))] * looks


def _cleaned(one_way: Measurement, fine: Collection[str], cleaning: Cleaning) -> Denoised:
    return denoised(one_way) if cleaning.denoise and one_way.clique[0] not in fine else Denoised(one_way, 0.0)


def _other(clique: Clique, target: str) -> str:
    (attribute,) = (a for a in clique if a != target)
    return attribute


def _by(pair: Measurement, attribute: str) -> Array:
    """Counts with the cells of `attribute` along the first axis."""
    return pair.values if pair.clique[0] == attribute else pair.values.T


def _singles(private: PrivateTable) -> list[Clique]:
    return [(a,) for a in private.domain.attributes]


__all__ = ["Cleaning", "OneWays", "one_way_looks"]

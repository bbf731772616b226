"""What the marginal methods make of their one-ways: denoised, and merged to the cells that pairs are asked over."""

from __future__ import annotations

from collections.abc import Sequence

from dpsynth.domain import Domain
from dpsynth.generators.denoising import Denoised, denoised
from dpsynth.generators.grouping import grouped
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import Measurement
from dpsynth.hints import Hints


def prepared(
    base: Domain,
    one_ways: Sequence[Measurement],
    hints: Hints,
    *,
    denoise: bool,
    merge_below: float,
    group_below: float = 0.0,
) -> tuple[Recoding, list[Measurement]]:
    """The recoding that one-ways ask for, and the one-ways over its cells.

    Args:
        base: the encoded domain.
        one_ways: one noisy marginal for every attribute, over base codes.
        hints: public facts.
        denoise: whether counts are replaced by their posterior means (`denoised`).
        merge_below: rare cells are merged (`Recoding.merging_rare`), in sigma.
        group_below: neighbours of ordered columns are grouped (`grouped`), in sigma; 0 groups none.
    """
    found = [denoised(m) if denoise else Denoised(m, 0.0) for m in one_ways]
    clean = [d.measurement for d in found]
    recoding = Recoding.merging_rare(base, clean, hints.out_of_domain, merge_below)
    recoding = grouped(recoding, found, hints.ordered, group_below)
    return recoding, [recoding.one_way(m) for m in clean]


__all__ = ["prepared"]

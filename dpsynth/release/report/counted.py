"""Margins as they were measured, repeats averaged, and the same margins of the released rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.measurement import NoisyCounts
from dpsynth.release.transcript import Transcript

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """One margin as measured, repeats averaged. Their noise is independent, so weights of 1/sigma^2 are best.

    Attributes:
        clique, recoding: as of the answers.
        values: weighted mean of the noisy counts.
        sigma: its noise in one cell, in rows.
        times: how many answers went into it.
    """

    clique: Clique
    recoding: Mapping[str, Integers]
    values: Floats
    sigma: float
    times: int

    def one_way(self, name: str) -> tuple[Floats, float]:
        """One column's counts, summed over the others, and the noise of one of them."""
        axis = self.clique.index(name)
        others = tuple(i for i in range(self.values.ndim) if i != axis)
        merged = prod(self.values.shape[i] for i in others)
        return self.values.sum(axis=others), self.sigma * sqrt(merged)

    def parts(self, name: str, domain: Domain) -> list[Integers]:
        """The base codes behind each cell that was counted of one column."""
        map_ = self.recoding.get(name)
        if map_ is None:
            return [np.array([code]) for code in range(domain[name])]
        return [np.flatnonzero(map_ == cell) for cell in range(self.values.shape[self.clique.index(name)])]

    def released(self, codes: Codes) -> Floats:
        """The same margin of encoded rows, in rows."""
        shape = self.values.shape
        axes = [self.recoding[a][codes[a]] if a in self.recoding else codes[a] for a in self.clique]
        flat = np.ravel_multi_index([np.asarray(axis, dtype=np.int64) for axis in axes], shape)
        return np.bincount(flat, minlength=prod(shape)).reshape(shape).astype(np.float64)


def counted(transcript: Transcript) -> list[Counted]:
    """Every measured margin once, in the order first measured."""
    alike: dict[Any, list[NoisyCounts]] = {}
    for answer in transcript:
        if isinstance(answer, NoisyCounts):
            recoding = tuple((name, map_.tobytes()) for name, map_ in sorted((answer.recoding or {}).items()))
            alike.setdefault((answer.clique, recoding), []).append(answer)
    return [_averaged(answers) for answers in alike.values()]


def _averaged(answers: list[NoisyCounts]) -> Counted:
    precision = sum(answer.sigma**-2 for answer in answers)
    values = np.sum([answer.values * (answer.sigma**-2 / precision) for answer in answers], axis=0)
    first = answers[0]
    return Counted(first.clique, first.recoding or {}, np.asarray(values), precision**-0.5, len(answers))


__all__ = ["Counted", "counted"]

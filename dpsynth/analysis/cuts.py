"""Where columns can be cut: the starts of bins, and the values and starts that merging left apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsynth.analysis.values import Values, start
from dpsynth.columns import BinnedBase
from dpsynth.encoding import Encoder
from dpsynth.schema import Schema

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Cuts:
    """What can be asked of a column beside others.

    Attributes:
        column: its name.
        binned: whether it is cut at starts of bins, or asked by value.
        places: base cells: those that start a merged cell, or that are one.
        labels: what they are called.
        all: whether merging left all of them.
        mixed: whether rows with and without a value were counted together, so that none is left.
    """

    column: str
    binned: bool
    places: tuple[int, ...]
    labels: tuple[str, ...]
    all: bool
    mixed: bool

    @classmethod
    def of(cls, schema: Schema, name: str, map_: NDArray[np.int64], weights: NDArray[np.float64]) -> Cuts:
        """Those of one column, whose base cells were merged by `map_` and lie in merged ones as `weights` say."""
        column = schema.column(name)
        cells, binned = column.cells, isinstance(column, BinnedBase)
        labels = Encoder(schema).decode_labels(name)[:cells]
        there = np.flatnonzero(weights > 0)
        first, last = np.full(int(map_.max()) + 1, len(map_)), np.full(int(map_.max()) + 1, -1)
        np.minimum.at(first, map_[there], there)
        np.maximum.at(last, map_[there], there)
        mixed = bool(((first < cells) & (last >= cells)).any())
        if mixed:
            places = np.zeros(0, dtype=np.int64)
        elif binned:
            held = [(low, high) for low, high in zip(first, last, strict=True) if low < high]
            across = np.zeros(len(map_) + 1, dtype=np.int64)  # merged cells that reach over each cut
            np.add.at(across, [low + 1 for low, _ in held], 1)
            np.add.at(across, [high + 1 for _, high in held], -1)
            places = np.flatnonzero((np.cumsum(across)[1:cells] == 0) & (np.diff(map_[:cells]) != 0)) + 1
        else:
            places = np.flatnonzero(first[map_[:cells]] == last[map_[:cells]])
        named = [start(labels[i]) if binned else labels[i] for i in places]
        return cls(name, binned, tuple(places.tolist()), tuple(named), len(places) == cells - binned, mixed)

    def near(self, values: Values) -> str:
        """A sentence that names those nearest to what was asked."""
        asked = np.flatnonzero(np.diff(values.mean[values.valid > 0]))
        at = int(asked[0]) + 1 if len(asked) else 0
        order = sorted(range(len(self.places)), key=lambda i: (abs(self.places[i] - at), i))[:_SHOWN]
        return self._told([self.labels[i] for i in sorted(order)])

    def __str__(self) -> str:
        if self.all and len(self.labels) > _SHOWN:
            return f"{self.column} {'starts at every bin' if self.binned else 'has every value'}"
        shown = np.unique(np.linspace(0, len(self.labels) - 1, min(_SHOWN, len(self.labels))).round().astype(int))
        return self._told([self.labels[i] for i in shown])

    def _told(self, labels: Sequence[str]) -> str:
        more = ", ..." if len(labels) < len(self.labels) else ""
        if not labels:
            why = "rows with a rare value and without one" if self.mixed else "all rows"
            return f"{self.column} has no {'cut' if self.binned else 'value'}: {why} were counted together"
        return f"{self.column} {'starts at' if self.binned else 'has'} {', '.join(labels)}{more}"


__all__ = ["Cuts"]

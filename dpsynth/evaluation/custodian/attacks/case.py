"""One release under attack, the real one or one that leaks: what several attacks need of it, worked out once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.attacks.space import Points
from dpsynth.evaluation.custodian.attacks.targets import Targets
from dpsynth.evaluation.custodian.finding import Tables

NEIGHBOURS = 5
MOST_NUMBERS = 60_000_000
"""Coordinates of a table held in memory at most, four bytes each; a larger table is sampled."""
PLANTED_ROWS = 10_000


class Near(NamedTuple):
    """Nearest released rows of each attacked row: distances in columns' worth and places, shapes (rows, 5)."""

    distances: NDArray[np.float64]
    places: NDArray[np.intp]


@final
class Case:
    """What the attacker holds.

    Args:
        tables: the real rows.
        targets: who is attacked.
        release: the released rows; permuted here, so that ties break at random.
        rng: for that, and for the split of the columns.
    """

    def __init__(self, tables: Tables, targets: Targets, release: pd.DataFrame, rng: np.random.Generator) -> None:
        self.tables = tables
        self.targets = targets
        self.release = release.iloc[rng.permutation(len(release))[: self.most_rows]]
        names = rng.permutation(np.array(targets.space.names, dtype=object))
        self.halves = tuple(map(tuple, (names[: len(names) // 2], names[len(names) // 2 :])))

    @property
    def most_rows(self) -> int:
        """Rows of a table that are looked at, at most: they are held as points."""
        return max(1, MOST_NUMBERS // self.targets.space.width)

    @cached_property
    def points(self) -> Points:
        """The released rows in the space."""
        return self.targets.space.embed(self.release)

    @cached_property
    def whole(self) -> tuple[Near, Near]:
        """Neighbours by all columns: of the attacked training rows, of the attacked holdout rows."""
        return self._near(np.arange(self.targets.space.width))

    @cached_property
    def by_half(self) -> tuple[tuple[Near, Near], ...]:
        """Neighbours by each half of the columns; see `whole`."""
        return tuple(self._near(self.targets.space.coordinates(half)) for half in self.halves)

    def _near(self, coordinates: NDArray[np.intp]) -> tuple[Near, Near]:
        # A joint search for both sides: the rows are prepared once.
        sides = (self.targets.train, self.targets.holdout)
        queries = np.concatenate([side.points[:, coordinates] for side in sides])
        distances, places = nearest(self.points[:, coordinates], queries, NEIGHBOURS)
        cut = len(sides[0].points)
        return Near(distances[:cut], places[:cut]), Near(distances[cut:], places[cut:])


def planted(tables: Tables, targets: Targets) -> pd.DataFrame:
    """A release that leaks: copies of training rows, the attacked ones first."""
    return tables.train.iloc[targets.train_rows[: max(PLANTED_ROWS, len(targets.train.frame))]]


__all__ = ["NEIGHBOURS", "Case", "Near", "planted"]

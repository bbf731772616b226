"""Where records lie: mixed columns as points whose squared Euclidean distance is close to Gower's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.columns import Float
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.schema import Schema

Points = NDArray[np.float32]
STEPS = 9
"""Dimensions of a number: one for each ninth of its scale, so that the square of a difference is nearly its size."""
FULL = 46
"""Greatest value of such a dimension. All are whole numbers, so that distances and ties are exact."""
COLUMN = STEPS * FULL**2
"""Squared distance of two records that differ by all of one column."""
MOST_LEVELS = 24
"""With more levels than this a column is hashed to as many random signs: the width stays bounded."""
KNOTS = 257
BINS = 10
MOST = 1e150
"""Greatest number that is told from others: differences stay finite."""


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """One column: how its cells become coordinates.

    Attributes:
        name: of the column.
        knots, places: of an ordered column, values and where they lie in [0, 1]; empty for others.
        coordinates: of an unordered one, shape (levels, width); the last level is the empty cell.
        cuts: inner edges of at most ten bins of an ordered column, for what has to be guessed.
        levels: declared levels of a listed column; 0 for numbers and moments.
        decimals: digits that count as the same value; None for all.
        gaps: whether a cell may be empty.
    """

    name: str
    knots: NDArray[np.float64]
    places: NDArray[np.float64]
    coordinates: Points
    cuts: NDArray[np.float64]
    levels: int
    decimals: int | None
    gaps: bool

    @property
    def ordered(self) -> bool:
        """Whether nearby values are alike."""
        return len(self.knots) > 0

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return STEPS + self.gaps if self.ordered else self.coordinates.shape[1]

    def embed(self, cells: pd.Series[Any]) -> Points:
        """Coordinates, shape (rows, width)."""
        values = numbers(cells)
        if not self.ordered:
            return np.take(self.coordinates, self.classes(cells), axis=0)
        known = ~np.isnan(values)
        at = np.where(known, self.scaled(cells), 0.5)
        steps = np.clip(at[:, None] * STEPS - np.arange(STEPS), 0, 1) * FULL
        flags = (~known[:, None]) * float(round((COLUMN * 0.75) ** 0.5))
        whole: Points = np.rint(np.concatenate([steps, flags] if self.gaps else [steps], axis=1)).astype(np.float32)
        return whole

    def scaled(self, cells: pd.Series[Any]) -> NDArray[np.float64]:
        """One feature for trees: a number's place in [0, 1] or a level's code; -1 for an empty cell."""
        values = numbers(cells)
        if not self.ordered:
            return self.classes(cells).astype(np.float64)
        return np.where(np.isnan(values), -1.0, np.interp(values, self.knots, self.places))

    def classes(self, cells: pd.Series[Any]) -> NDArray[np.int64]:
        """What there is to guess: the level, or the bin of a number; -1 for an empty cell."""
        values = numbers(cells)
        if self.ordered:
            at: NDArray[Any] = np.searchsorted(self.cuts, values, side="right")
        else:
            at = values if self.levels else np.zeros(len(values))
        return np.where(np.isnan(values), -1, at).astype(np.int64)

    def printed(self, cells: pd.Series[Any]) -> NDArray[np.float64]:
        """Values as a release would print them, as floats."""
        values = numbers(cells)
        return np.asarray((values if self.decimals is None else np.round(values, self.decimals)) + 0.0)


@final
class Space:
    """All columns that tell records apart, scaled by the three tables together, each as heavy as the others.

    A number lies at the mean of its rank and its place in the range: ranks resolve where values are dense, and the
    range keeps outliers apart. Columns with one value only are left out.

    Args:
        tables: released and real rows.
        rng: for the hashing of long lists.
    """

    def __init__(self, tables: Tables, rng: np.random.Generator) -> None:
        frames = (tables.synthetic, tables.train, tables.holdout)
        self.axes = tuple(
            axis
            for name in tables.schema.names
            if (axis := _axis(tables.schema, name, [f[name] for f in frames if len(f)], rng)) is not None
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that vary."""
        return tuple(axis.name for axis in self.axes)

    @property
    def width(self) -> int:
        """Number of coordinates of a record."""
        return sum(axis.width for axis in self.axes)

    def embed(self, frame: pd.DataFrame) -> Points:
        """Records as points, shape (rows, width)."""
        out = np.empty((len(frame), self.width), dtype=np.float32)
        start = 0
        for axis in self.axes:
            out[:, start : start + axis.width] = axis.embed(frame[axis.name])
            start += axis.width
        return out

    def coordinates(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Which coordinates belong to these columns."""
        widths = np.repeat(np.arange(len(self.axes)), [axis.width for axis in self.axes])
        return np.flatnonzero(np.isin(widths, [i for i, axis in enumerate(self.axes) if axis.name in names]))

    def classes(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """What there is to guess of each column, shape (rows, columns); see `Axis.classes`."""
        columns = [axis.classes(frame[axis.name]) for axis in self.axes]
        return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0), dtype=np.int64)

    def features(self, frame: pd.DataFrame) -> Points:
        """One feature a column, shape (rows, columns); see `Axis.scaled`."""
        columns = [axis.scaled(frame[axis.name]).astype(np.float32) for axis in self.axes]
        return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0), dtype=np.float32)

    def values(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Levels' codes, numbers as printed and moments as floats, shape (rows, columns); nan where a cell is empty."""
        columns = [axis.printed(frame[axis.name]) for axis in self.axes]
        return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))

    def hashes(self, frame: pd.DataFrame) -> NDArray[np.uint64]:
        """One hash a record, equal where all cells print the same."""
        hashed = pd.util.hash_pandas_object(pd.DataFrame(self.values(frame)), index=False)
        return np.asarray(hashed, dtype=np.uint64)


def numbers(cells: pd.Series[Any]) -> NDArray[np.float64]:
    """A column as floats: a level's code, a number, seconds of a moment; nan where it is empty or infinite."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        codes = cells.cat.codes.to_numpy().astype(np.float64)
        return np.where(codes < 0, np.nan, codes)
    if cells.dtype.kind == "M":
        seconds = cells.to_numpy().astype("datetime64[s]").astype(np.int64).astype(np.float64)
        return np.where(cells.isna(), np.nan, seconds)
    values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), np.clip(values, -MOST, MOST), np.nan)


def _axis(schema: Schema, name: str, columns: list[pd.Series[Any]], rng: np.random.Generator) -> Axis | None:
    cells = [numbers(column) for column in columns]
    known = [values[~np.isnan(values)] for values in cells]
    found = np.unique(np.concatenate([*known, np.empty(0)]))
    gaps = any(len(k) < len(c) for k, c in zip(known, cells, strict=True))
    if len(found) + gaps < 2:
        return None
    column = schema.column(name)
    listed = isinstance(columns[0].dtype, pd.CategoricalDtype)
    levels = len(columns[0].cat.categories) if listed else 0
    decimals = column.decimals if isinstance(column, Float) else None
    empty = np.empty(0)
    if (listed and not column.ordered) or len(found) < 2:
        used = found.astype(np.intp) if listed else np.zeros(len(found), dtype=np.intp)
        coordinates = _coordinates(levels or 1, used, gaps, rng)
        return Axis(name, empty, empty, coordinates, empty, levels, decimals, gaps)
    full = [values for values in known if len(values)]
    steps = np.linspace(0, 1, KNOTS)
    knots = np.unique(np.concatenate([np.quantile(v, steps, method="nearest") for v in full]))
    ranks = np.zeros(len(knots))
    for values in map(np.sort, full):
        sides = np.searchsorted(values, knots, side="left") + np.searchsorted(values, knots, side="right")
        ranks += sides / (2 * len(values) * len(full))
    places = (ranks + (knots - knots[0]) / max(knots[-1] - knots[0], np.finfo(float).tiny)) / 2
    cuts = _cuts(full[0])
    return Axis(name, knots, places, np.empty((0, 0), dtype=np.float32), cuts, levels, decimals, gaps)


def _cuts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner edges: of each value where there are few, else deciles."""
    distinct = np.unique(values)
    if len(distinct) <= BINS:
        return (distinct[1:] + distinct[:-1]) / 2
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))


def _coordinates(levels: int, used: NDArray[np.intp], gaps: bool, rng: np.random.Generator) -> Points:
    """Points equally far from each other; random signs where there are too many for that."""
    rows = np.append(used, levels) if gaps else used
    out = np.zeros((levels + 1, 1), dtype=np.float32)
    if len(rows) == 2:
        out[rows[1], 0] = round(COLUMN**0.5)
        return out
    if len(rows) <= MOST_LEVELS:
        out = np.zeros((levels + 1, len(rows)), dtype=np.float32)
        out[rows, np.arange(len(rows))] = round((COLUMN / 2) ** 0.5)
        return out
    signs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), (levels + 1, MOST_LEVELS))
    return signs * np.float32(round((COLUMN / (2 * MOST_LEVELS)) ** 0.5))


__all__ = ["COLUMN", "Axis", "Points", "Space", "numbers"]

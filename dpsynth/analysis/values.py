"""What cells are worth: the numbers and yes-or-no questions that estimates are about, over base and merged cells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from dpsynth.columns import BinnedBase, Boolean, Coded, ColumnBase, Date, Datetime, Float, Integer, Ordinal
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.schema import Schema

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_SHOWN = 8
_NONE = ("", "missing", "none", "null", "na", "nan", "n/a", "empty")
_POINTS = 64
"""Points of a bin on a logarithmic scale by which its mean and spread are reckoned."""


def start(label: str) -> str:
    """Where a bin of that name starts."""
    return label.strip("[]()").split(", ")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """A number for each cell of a column.

    Attributes:
        name: how it is called: the column, or the question.
        column: whose cells.
        valid: cells that have one: not those of empty cells and of what is outside the codebook.
        mean: of the values in a cell; 0 where not valid.
        variance: of the values in a cell.
        reach: how far from `mean` a value of the cell can lie.
        question: whether it is 1 or 0.
        apart: over merged cells, the part of `variance` that is between the base cells merged.
        known: over merged cells, 1 over the rows of a cell whose `mean` was estimated from its base cells, 0 where it
            is as released.
        against: of a term of a regression, the value it is compared with.
    """

    name: str
    column: str
    valid: Floats
    mean: Floats
    variance: Floats
    reach: Floats
    question: bool = False
    apart: Floats | None = None
    known: Floats | None = None
    against: str | None = None

    def merged(self, map_: NDArray[np.int64], weights: Floats) -> Values:
        """Over merged cells, within which rows are spread as `weights` say."""
        held = np.bincount(map_, weights * self.valid).astype(np.float64)
        share = np.where(held > 0, held, 1.0)

        def mean(each: Floats) -> Floats:
            return np.asarray(np.bincount(map_, weights * self.valid * each) / share)

        centre = mean(self.mean)
        apart = mean(np.square(self.mean - centre[map_]))
        reach = np.zeros(len(held))
        np.maximum.at(reach, map_, np.where(weights * self.valid > 0, np.abs(self.mean - centre[map_]) + self.reach, 0))
        return Values(self.name, self.column, held, centre, mean(self.variance) + apart, reach, self.question, apart)

    def same_inside(self, map_: NDArray[np.int64], weights: Floats) -> bool:
        """Whether no merged cell holds base cells of different values, or with and without one."""
        for each in (self.valid, self.mean * self.valid):
            low = np.full(int(map_.max()) + 1, np.inf)
            high = -low
            np.minimum.at(low, map_[weights > 0], each[weights > 0])
            np.maximum.at(high, map_[weights > 0], each[weights > 0])
            if (high > low + 1e-12).any():
                return False
        return True


def numbers(schema: Schema, name: str) -> Values:
    """A column's values as numbers.

    Raises:
        NotSupported: they are none.
    """
    column = _plain(schema, name)
    size = column.size
    mean, variance, reach = np.zeros(size), np.zeros(size), np.zeros(size)
    cells = slice(0, column.cells)
    match column:
        case Integer() | Float():
            mean[cells], variance[cells], reach[cells] = _inside(column)
        case Boolean() | Coded():
            mean[cells] = np.arange(column.cells)
        case Ordinal() if all(isinstance(each, int | float) for each in column.values):
            mean[cells] = np.array(column.values, dtype=np.float64)
        case Date() | Datetime():
            raise NotSupported(f"{name!r} holds dates; ask for a proportion before or after one, such as --proportion")
        case _:
            raise NotSupported(f"{name!r} holds no numbers but categories; ask for a proportion: {name}=VALUE")
    return Values(name, name, _valid(column), mean, variance, reach, isinstance(column, Boolean))


def question(schema: Schema, name: str, comparison: str, value: str) -> Values:
    """1 in the cells for which ``column comparison value`` holds, 0 in others.

    Args:
        schema: the public description of the table.
        name: a column.
        comparison: ``=``, or for numbers and dates also ``<`` and ``>=``.
        value: a value of the column as text; of numbers and dates an end of one of its bins.

    Raises:
        NotSupported: the cells cannot tell.
    """
    column = _plain(schema, name)
    encoder = Encoder(schema)
    labels = encoder.decode_labels(name)[: column.cells]
    holds = np.zeros(column.size)
    if comparison == "=":
        if value in labels:
            code = labels.index(value)
        else:  # in another spelling; a number inside a bin is not the bin
            code = column.size if isinstance(column, BinnedBase) else int(encoder.encode_column(name, [value])[0])
        if code >= column.cells:
            raise NotSupported(_no_cell(column, name, value, labels))
        holds[code] = 1.0
    else:
        if not isinstance(column, BinnedBase):
            raise NotSupported(
                f"{name!r} holds no numbers, so {name}{comparison}{value} has no answer; ask {name}=VALUE"
            )
        cut = _cut(column, name, comparison, value, labels)
        holds[: column.cells] = np.arange(column.cells) < cut if comparison == "<" else np.arange(column.cells) >= cut
    none = np.zeros(column.size)
    return Values(f"{name}{comparison}{value}", name, _valid(column), holds, none, none, True)


def _plain(schema: Schema, name: str) -> ColumnBase:
    if name in schema.derived:
        raise NotSupported(
            f"{name!r} was counted relative to {' and '.join(schema.derived[name].base)}, since a constraint ties "
            "them, so that its own values were never counted; other columns are"
        )
    return schema.column(name)


def _valid(column: ColumnBase) -> Floats:
    return (np.arange(column.size) < column.cells).astype(np.float64)


def _inside(column: Integer | Float) -> tuple[Floats, Floats, Floats]:
    """Mean, variance and reach of the values in each bin, spread evenly on the column's scale."""
    bins, unit = column.partition, column.unit
    edges = np.asarray(bins.edges, dtype=np.float64)
    low, high = edges[:-1], edges[1:] - 1
    if bins.log is None:
        mean, variance = (low + high) / 2, (np.square(high - low + 1) - 1) / 12
    else:
        warp = bins.positions
        at = warp[:-1, None] + np.diff(warp)[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS
        points = np.exp(at) if bins.edges[0] > 0 else np.expm1(at) * bins.log
        points = np.clip(np.floor(points), low[:, None], high[:, None])
        mean, variance = points.mean(axis=1), points.var(axis=1)
    reach = np.maximum(high - mean, mean - low)
    return mean / unit, variance / unit**2, reach / unit


def _cut(column: BinnedBase, name: str, comparison: str, value: str, labels: list[str]) -> int:
    """Which bin starts there.

    Raises:
        NotSupported: none does, or all rows lie on one side.
    """
    starts, end = [start(label) for label in labels], labels[-1].strip("[]()").split(", ")[-1]
    read, kind = (_number, "number") if isinstance(column, Integer | Float) else (_moment, "date")
    asked, last, places = read(value), read(end), [read(each) or 0.0 for each in starts]
    reach = f"from {starts[0]} to {end}"
    if asked is None:
        raise NotSupported(f"{value!r} is not a {kind}; {name!r} is cut at {kind}s {reach}")
    if asked in places[1:]:
        return places.index(asked, 1)
    if asked <= places[0] or (last is not None and asked > last):
        every = (comparison == ">=") == (asked <= places[0])
        raise NotSupported(
            f"{name}{comparison}{value} is true of {'all' if every else 'no'} rows with a value: {name!r} is declared "
            f"{reach}"
        )
    near = sorted(sorted(range(1, len(starts)), key=lambda i: abs(places[i] - asked))[:_SHOWN])
    if not near:
        raise NotSupported(f"{name}{comparison}{value} cannot be told: {name!r} was counted in one bin, {reach}")
    raise NotSupported(
        f"{name}{comparison}{value} cannot be told: {name!r} was counted {reach} in bins that start at "
        f"{', '.join(starts[i] for i in near)}{', ...' if len(near) < len(starts) - 1 else ''}"
    )


def _number(text: str) -> float | None:
    try:
        return found if isfinite(found := float(text)) else None
    except ValueError:
        return None


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _no_cell(column: ColumnBase, name: str, value: str, labels: list[str]) -> str:
    """Why a column has no cell of that value."""
    if column.missing and value.casefold() in _NONE:
        return f"the share of rows without a value in {name!r} cannot be asked: shares are among the rows that have one"
    same = [label for label in labels if label.casefold() == value.casefold()]
    near = same or get_close_matches(value.casefold(), [each.casefold() for each in labels], n=1)
    meant = next((label for label in labels if near and label.casefold() == near[0].casefold()), None)
    if isinstance(column, BinnedBase):
        first, end = start(labels[0]), labels[-1].strip("[]()").split(", ")[-1]
        return f"{name!r} has no cell {value!r}; ask {name}<NUMBER or {name}>=NUMBER, from {first} to {end}"
    shown = f"{', '.join(labels[:12])}{', ...' if len(labels) > 12 else ''}"
    return f"{name!r} has no cell {value!r}; " + (f"did you mean {meant!r}? " if meant else "") + f"it has {shown}"


__all__ = ["Values", "numbers", "question", "start"]

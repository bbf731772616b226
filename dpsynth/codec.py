"""One codec per column type: cells to codes, codes back to cells, and what each code is called."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from dpsynth.cells import NULL, READ, moments, numbers, texts
from dpsynth.columns import Boolean, Categorical, Coded, ColumnBase, Date, Datetime, Float, Integer, Ordinal
from dpsynth.text import canonical, cell_text

_EPOCH = datetime(1970, 1, 1)
_DAY = 86400
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")

Drawn = ExtensionArray | NDArray[Any]


class Codec(Protocol):
    """Between the cells of one column and its in-domain codes; null and out-of-domain cells are told apart."""

    def encode(self, cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Each row's in-domain code, -1 where there is none, and whether the cell is a null."""
        ...

    def decode(self, codes: NDArray[np.int64], rng: np.random.Generator) -> Drawn:
        """A value for each in-domain code, null for -1."""
        ...

    def labels(self) -> list[str]:
        """A short name for every in-domain code."""
        ...


class Listed:
    """Categories, ordinals and flags: cells match a declared value by canonical text."""

    def __init__(self, column: Categorical | Ordinal | Boolean) -> None:
        if isinstance(column, Boolean):
            self._values: tuple[Any, ...] = (False, True)
            self._fold = True
            self._codes = {text: int(text in _TRUE) for text in (*_FALSE, *_TRUE)}
        else:
            self._values = column.values
            self._fold = False
            self._codes = {canonical(cell_text(v) or "") or "": i for i, v in enumerate(column.values)}

    def encode(self, cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """By canonical text; flags in any case."""
        inner, positions = texts(cells)
        get, fold = self._codes.get, self._fold
        codes = np.array(
            [-1 if text is None else get(text.lower() if fold else text, -1) for text in inner], dtype=np.int64
        )
        nulls = np.array([text is None for text in inner], dtype=bool)
        return codes[positions], nulls[positions]

    def decode(self, codes: NDArray[np.int64], rng: np.random.Generator) -> Drawn:
        """The declared values, in the narrowest of boolean, Int64, Float64 and string that holds them all."""
        kinds = {type(value) for value in self._values}
        dtype: Any
        if kinds == {bool}:
            dtype = "boolean"
        elif kinds == {int}:
            dtype = "Int64"
        elif kinds <= {int, float}:
            dtype = "Float64"
        else:
            dtype = "string"
        values = self.labels() if dtype == "string" else list(self._values)
        held: Any = pd.array([*values, pd.NA], dtype=dtype)
        return cast(ExtensionArray, held.take(codes))

    def labels(self) -> list[str]:
        """The values as text."""
        return [value if isinstance(value, str) else canonical(cell_text(value) or "") or "" for value in self._values]


class Numeric:
    """Integers and floats: a finite number falls into the bin that contains it, or the nearest one."""

    def __init__(self, column: Integer | Float) -> None:
        self._bins = column.partition
        self._unit = column.unit
        self._decimals = column.decimals if isinstance(column, Float) else None
        self._inner = np.array(self._bins.edges[1:-1], dtype=np.int64) / self._unit

    def encode(self, cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """By bin."""
        values, state = numbers(cells)
        codes = np.searchsorted(self._inner, values, side="right").astype(np.int64)
        return np.where(state == READ, codes, -1), state == NULL

    def decode(self, codes: NDArray[np.int64], rng: np.random.Generator) -> Drawn:
        """A number inside the bin at the declared decimals, as Int64 or Float64."""
        return self.place(self.draw(codes, rng), codes < 0)

    def draw(self, codes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A grid point inside the bin, anything for -1."""
        return self._bins.draw(np.where(codes < 0, 0, codes), rng)

    def place(self, points: NDArray[np.int64], null: NDArray[np.bool_]) -> Drawn:
        """Grid points as numbers."""
        if self._decimals is None:
            return pd.arrays.IntegerArray(points, null)
        return pd.arrays.FloatingArray(points / self._unit, null)

    def points(self, cells: pa.Array) -> NDArray[np.int64]:
        """Each number in grid units, brought inside the bounds; any of them where none reads."""
        values, state = numbers(cells)
        low, high = self._bins.edges[0], self._bins.edges[-1] - 1
        inside = np.clip(np.where(state == READ, values, 0.0), low / self._unit, high / self._unit)
        scaled = np.floor(inside) if self._decimals is None else np.rint(inside * self._unit)
        return np.asarray(np.clip(scaled.astype(np.int64), low, high))

    def labels(self) -> list[str]:
        """Half-open intervals, the last one closed; the number itself where a bin holds only one."""
        return _intervals(self._bins.edges, self._text, whole=self._decimals is None)

    def _text(self, point: int) -> str:
        text = f"{point / self._unit:.{self._decimals or 0}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text


class Enumerated:
    """Integer codes of a research table: the code itself; anything but ``0..cardinality-1`` is out of domain."""

    def __init__(self, column: Coded) -> None:
        self._cardinality = column.cardinality

    def encode(self, cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The integral numbers in range."""
        values, state = numbers(cells)
        inside = (state == READ) & (values >= 0) & (values < self._cardinality) & (values == np.floor(values))
        return np.where(inside, values, -1).astype(np.int64), state == NULL

    def decode(self, codes: NDArray[np.int64], rng: np.random.Generator) -> Drawn:
        """The codes, as Int64."""
        return pd.arrays.IntegerArray(codes.copy(), codes < 0)

    def labels(self) -> list[str]:
        """The codes as text."""
        return [str(code) for code in range(self._cardinality)]


class Temporal:
    """Dates and moments: the bin that contains the day or second, or the nearest one."""

    def __init__(self, column: Date | Datetime) -> None:
        self._bins = column.partition
        self._step = _DAY if isinstance(column, Date) else 1
        self._inner = np.array(self._bins.edges[1:-1], dtype=np.int64)

    def encode(self, cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """By bin."""
        seconds, state = moments(cells)
        codes = np.searchsorted(self._inner, seconds // self._step, side="right").astype(np.int64)
        return np.where(state == READ, codes, -1), state == NULL

    def decode(self, codes: NDArray[np.int64], rng: np.random.Generator) -> Drawn:
        """A day or a second inside the bin, as datetime64[s]."""
        return self.place(self.draw(codes, rng), codes < 0)

    def draw(self, codes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A grid point inside the bin, anything for -1."""
        return self._bins.draw(np.where(codes < 0, 0, codes), rng)

    def place(self, points: NDArray[np.int64], null: NDArray[np.bool_]) -> Drawn:
        """Grid points as days or seconds."""
        drawn = (points * self._step).astype("datetime64[s]")
        drawn[null] = np.datetime64("NaT")
        return drawn

    def points(self, cells: pa.Array) -> NDArray[np.int64]:
        """The day or second of each cell in grid units, brought inside the bounds; the lower one where none reads."""
        seconds, _ = moments(cells)
        return np.clip(seconds // self._step, self._bins.edges[0], self._bins.edges[-1] - 1).astype(np.int64)

    def labels(self) -> list[str]:
        """Half-open intervals, the last one closed; the day or second itself where a bin holds only one."""
        return _intervals(self._bins.edges, self._text, whole=True)

    def _text(self, point: int) -> str:
        moment = _EPOCH + timedelta(seconds=point * self._step)
        return moment.date().isoformat() if self._step == _DAY else moment.isoformat(sep=" ")


def codec(column: ColumnBase) -> Codec:
    """The codec of a column."""
    if isinstance(column, (Categorical, Ordinal, Boolean)):
        return Listed(column)
    if isinstance(column, (Integer, Float)):
        return Numeric(column)
    if isinstance(column, (Date, Datetime)):
        return Temporal(column)
    if isinstance(column, Coded):
        return Enumerated(column)
    raise TypeError(f"no codec for {type(column).__name__}; add one to dpsynth.codec")


def _intervals(edges: tuple[int, ...], text: Any, *, whole: bool) -> list[str]:
    last = len(edges) - 2
    labels = []
    for i in range(last + 1):
        low, high = edges[i], edges[i + 1]
        if high - low == 1 and (whole or i == last):
            labels.append(text(low))
        elif i == last:
            labels.append(f"[{text(low)}, {text(high - 1)}]")
        else:
            labels.append(f"[{text(low)}, {text(high)})")
    return labels


__all__ = ["Codec", "Numeric", "Temporal", "codec"]

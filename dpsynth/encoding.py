"""Values to codes and back: a pure function of the schema.

Whatever a cell holds, it has a code: one of the column's in-domain cells, the missing cell (a null, where the
schema declares nulls), or the out-of-domain cell, always the last. Encoding never fails, warns or logs
because of a value. A cell's code depends on that cell alone; in a column that constraints let derive from others
(`dpsynth.derived`) on its row alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dpsynth.cells import as_arrow, piecewise, texts
from dpsynth.codec import Numeric, Temporal, codec
from dpsynth.columns import ColumnBase, Date, Datetime, Float
from dpsynth.derived import Derived
from dpsynth.domain import Codes, Domain
from dpsynth.errors import SourceError
from dpsynth.schema import Schema
from dpsynth.text import unit_text

OUTSIDE_LABEL = "(outside the codebook)"
MISSING_LABEL = "missing"


class Encoder:
    """Encodes and decodes the columns of one schema. It holds no rows and changes no state.

    Args:
        schema: the public description of the table.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._columns: dict[str, ColumnBase] = {column.name: column for column in schema.columns}
        self._codecs = {name: codec(column) for name, column in self._columns.items()}

    @property
    def schema(self) -> Schema:
        """The schema encoded by."""
        return self._schema

    @property
    def domain(self) -> Domain:
        """The encoded domain."""
        return self._schema.domain

    def encode(self, batch: Any) -> dict[str, NDArray[np.unsignedinteger[Any]]]:
        """Codes of every schema column, in schema order; other columns are not looked at.

        Args:
            batch: a pandas DataFrame, an Arrow Table or RecordBatch, or a mapping of columns.

        Returns:
            One array per column, shape (rows,), of the smallest unsigned type that holds the column's size.

        Raises:
            SourceError: a column of the schema is not in `batch`.
        """
        present = batch.keys() if isinstance(batch, Mapping) else getattr(batch, "column_names", None)
        present = list(batch.columns if present is None else present)
        lacking = [name for name in self._columns if name not in present]
        if lacking:
            raise SourceError(f"the table lacks {_list(lacking)}, which the schema declares")
        own = {name: self.encode_column(name, batch[name]) for name in self._columns}
        return {name: self._related(name, own, batch) if name in self._schema.derived else own[name] for name in own}

    def related(self, name: str, cells: Mapping[str, Any]) -> NDArray[np.unsignedinteger[Any]]:
        """Codes of one derived column, shape (rows,).

        Args:
            name: a derived column of the schema.
            cells: its cells and those of its base, by column.
        """
        own = {each: self.encode_column(each, cells[each]) for each in (name, *self._schema.derived[name].base)}
        return self._related(name, own, cells)

    def _related(self, name: str, own: Codes, cells: Any) -> NDArray[np.unsignedinteger[Any]]:
        derived = self._schema.derived[name]
        empty = np.logical_or.reduce([own[base] >= self._columns[base].cells for base in derived.base])
        steps = np.zeros(len(own[name]), dtype=np.int64)
        if len(derived.steps) > 1:
            (base,) = derived.base
            steps = derived.sign * (self._points(name, cells[name]) - self._points(base, cells[base]))
        return derived.encode(own[name], empty, steps).astype(code_dtype(derived.size))

    def _points(self, name: str, cells: Any) -> NDArray[np.int64]:
        codec_ = self._codecs[name]
        assert isinstance(codec_, Numeric | Temporal)
        return piecewise(codec_.points, as_arrow(cells), np.zeros(1, dtype=np.int64))

    def encode_column(self, name: str, cells: Any) -> NDArray[np.unsignedinteger[Any]]:
        """Codes of one column by itself, shape (rows,): of a derived one not those of `encode`, but as it is declared.

        Args:
            name: a column of the schema.
            cells: its cells, as a pandas Series, an Arrow array or anything a Series can be made of.
        """
        column, read = self._columns[name], self._codecs[name].encode

        def coded(array: pa.Array) -> NDArray[Any]:
            codes, nulls = read(array)
            codes[nulls] = column.cells if column.missing else -1
            return np.where(codes < 0, column.outside_code, codes).astype(code_dtype(column.size))

        outside = np.array([column.outside_code], dtype=code_dtype(column.size))
        return piecewise(coded, as_arrow(cells), outside)

    def decode(
        self, codes: Codes, rng: np.random.Generator, points: Mapping[str, NDArray[np.int64]] | None = None
    ) -> pd.DataFrame:
        """A table of values for encoded rows; missing and out-of-domain codes become nulls.

        Numbers and dates are drawn inside their bin, so that ``encode(decode(codes)) == codes`` for every
        in-domain and missing code.

        Args:
            codes: encoded rows, for all or some of the schema's columns.
            rng: draws inside the bins, column by column in schema order.
            points: for some numbers and dates what to place instead, in grid units; each inside its code's bin.

        Raises:
            ValueError: a column the schema does not have, or a code outside its column's domain.
        """
        alien = [name for name in codes if name not in self._columns]
        if alien:
            raise ValueError(f"codes for {_list(alien)}, which the schema does not declare")
        inside: dict[str, NDArray[np.int64]] = {}
        for column in self._schema.encoded:
            if column.name in codes:
                given = np.asarray(codes[column.name]).astype(np.int64)
                if len(given) and not (given.min() >= 0 and given.max() < column.size):
                    raise ValueError(
                        f"codes of {column.name!r} must lie in [0, {column.size}), got {given.min()} to {given.max()}"
                    )
                inside[column.name] = np.where(given < column.cells, given, -1)
        derived = {name: each for name, each in self._schema.derived.items() if name in inside}
        bases = {base for each in derived.values() for base in each.base}
        if lacking := [name for name in sorted(bases) if name not in inside]:
            raise ValueError(f"no codes for {_list(lacking)}, which others are encoded relative to")
        placed, decoded = dict(points or {}), dict[str, Any]()
        for name in inside:
            codec_ = self._codecs[name]
            if name in derived:
                continue
            if name in bases and name not in placed and isinstance(codec_, Numeric | Temporal):
                placed[name] = codec_.draw(inside[name], rng)
            if name in placed and isinstance(codec_, Numeric | Temporal):
                decoded[name] = codec_.place(placed[name], inside[name] < 0)
            else:
                decoded[name] = codec_.decode(inside[name], rng)
        for name, each in derived.items():
            decoded[name] = self._placed(each, inside, placed, rng)
        return pd.DataFrame({name: decoded[name] for name in inside})

    def _placed(
        self,
        derived: Derived,
        inside: Mapping[str, NDArray[np.int64]],
        points: Mapping[str, NDArray[np.int64]],
        rng: np.random.Generator,
    ) -> Any:
        """The values of a derived column: its base and a step, or drawn inside cells of its own."""
        code, codec_ = inside[derived.name], self._codecs[derived.name]
        assert isinstance(codec_, Numeric | Temporal)
        far = (code >= 0) & (code < len(derived.steps))
        drawn = points.get(derived.name)
        steps = derived.steps.draw(np.where(far, code, 0), rng) if drawn is None else drawn
        value = np.add.reduce([points[base] for base in derived.base]) + derived.sign * steps
        value = np.clip(value, *derived.bounds)
        if derived.alone:
            own = derived.rest.draw(np.maximum(code - len(derived.steps), 0) * ~far, rng)
            value = np.where(far, value, own)
        empty = np.logical_or.reduce([inside[base] < 0 for base in derived.base])
        return codec_.place(value, (code < 0) | (far & empty))

    def decode_labels(self, attribute: str) -> list[str]:
        """What each code of the column is called, in code order, for people."""
        column = self._columns[attribute]
        labels = self._codecs[attribute].labels()
        if (derived := self._schema.derived.get(attribute)) is not None:
            runs = [np.flatnonzero(derived.runs == run) for run in range(len(derived.rest))]
            alone = [_joined(labels[run[0]], labels[run[-1]]) for run in runs] if derived.alone else []
            labels = [*_steps(derived), *alone]
        missing = [MISSING_LABEL] if column.missing else []
        return [*labels, *missing, OUTSIDE_LABEL]


def _joined(first: str, last: str) -> str:
    """Neighbouring intervals or values as one."""
    if first == last:
        return first
    start = first.partition(", ")[0] if first.startswith("[") else f"[{first}"
    return f"{start}, {last.rpartition(', ')[2]}" if last.startswith("[") else f"{start}, {last}]"


def _steps(derived: Derived) -> list[str]:
    """What the cells of a derived column's step are called."""
    if len(derived.steps) == 1:
        return [" + ".join(derived.base)]
    apart = f"{derived.base[0]} {'+' if derived.sign > 0 else '-'} "
    names = {Date: " days", Datetime: " seconds"}
    name, unit = names.get(type(derived.own), ""), derived.own.unit if isinstance(derived.own, Float) else 1
    ends = [(f"{low / unit:.12g}", f"{(high - 1) / unit:.12g}") for low, high in pairwise(derived.steps.edges)]
    return [apart + (low if low == high else f"{low} to {high}") + name for low, high in ends]


def code_dtype(size: int) -> np.dtype[Any]:
    """The smallest unsigned integer type for codes below `size`."""
    return np.dtype(np.min_scalar_type(max(size - 1, 0)))


def unit_tokens(cells: Any) -> list[bytes | None]:
    """The privacy unit of each row as canonical bytes; None where there is none.

    Spellings of one unit merge: ``5``, ``05``, ``5.0``, ``"5"`` and ``" 5 "`` are the same, and so are ``Ann`` and
    ``ANN``; see `dpsynth.text.unit_text`. Nulls, blank text and objects without text name no unit. Bytes that
    are not UTF-8 still tell units apart.

    Args:
        cells: the unit column, as a pandas Series, an Arrow array or anything a Series can be made of.
    """

    def named(array: pa.Array) -> NDArray[Any]:
        inner, positions = texts(array, unit_text)
        tokens = np.empty(len(inner), dtype=object)
        tokens[:] = [None if text is None else text.encode("utf-8") for text in inner]
        return tokens[positions]

    return list(piecewise(named, as_arrow(cells), np.array([None])))


def _list(names: list[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(repr(name) for name in names)


__all__ = ["MISSING_LABEL", "OUTSIDE_LABEL", "Encoder", "code_dtype", "unit_tokens"]

"""Values to codes and back: a pure function of the schema.

Whatever a cell holds, it has a code: one of the column's in-domain cells, the missing cell (a null, where the
schema declares nulls), or the out-of-domain cell, always the last. Encoding never fails, warns or logs
because of a value, and a cell's code depends on that cell alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dpsynth.cells import as_arrow, piecewise, texts
from dpsynth.codec import Numeric, Temporal, codec
from dpsynth.columns import ColumnBase
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
        return {name: self.encode_column(name, batch[name]) for name in self._columns}

    def encode_column(self, name: str, cells: Any) -> NDArray[np.unsignedinteger[Any]]:
        """Codes of one column, shape (rows,).

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
        decoded = {}
        for name, column in self._columns.items():
            if name in codes:
                given = np.asarray(codes[name]).astype(np.int64)
                if len(given) and not (given.min() >= 0 and given.max() < column.size):
                    raise ValueError(
                        f"codes of {name!r} must lie in [0, {column.size}), got {given.min()} to {given.max()}"
                    )
                inside = np.where(given < column.cells, given, -1)
                codec_ = self._codecs[name]
                if points is not None and name in points and isinstance(codec_, Numeric | Temporal):
                    decoded[name] = codec_.place(points[name], inside < 0)
                else:
                    decoded[name] = codec_.decode(inside, rng)
        return pd.DataFrame(decoded)

    def decode_labels(self, attribute: str) -> list[str]:
        """What each code of the column is called, in code order, for people."""
        column = self._columns[attribute]
        missing = [MISSING_LABEL] if column.missing else []
        return [*self._codecs[attribute].labels(), *missing, OUTSIDE_LABEL]


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

"""Column types read off a table that its owner declares public. The one place where a schema looks at values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dpsynth.columns import (
    Boolean,
    Categorical,
    Column,
    ColumnBase,
    Date,
    Datetime,
    Float,
    Integer,
    Ordinal,
)
from dpsynth.errors import SchemaError
from dpsynth.text import canonical, cell_text

MOST_VALUES = 1000
"""Distinct texts beyond which a column is taken for free text or an identifier and refused."""

_MOST_DECIMALS = 6


def columns_of(frame: Any, *, skip: str | None, bins: int) -> tuple[Column, ...]:
    """A column type for every column of a public table but `skip`.

    Flags become boolean; numbers with at most `bins` distinct values ordinal, others integer or float between
    their least and greatest value; dates and moments likewise; everything else categorical, ordered pandas
    categories ordinal. A column with nulls declares ``missing``.

    Raises:
        SchemaError: a column without any value, or with too many distinct texts to be a category.
    """
    if not isinstance(frame, pd.DataFrame):
        import pyarrow as pa

        try:
            frame = pa.table(frame).to_pandas()
        except (TypeError, ValueError):
            frame = None
        if frame is None:
            raise SchemaError("a public table must be a pandas, Polars or Arrow table; load it as one")
    if not frame.columns.is_unique:
        twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
        raise SchemaError(f"the public table has columns of the same name: {twice}; rename them")
    return tuple(_column(str(name), frame[name], bins) for name in frame.columns if str(name) != skip)


def _column(name: str, cells: pd.Series[Any], bins: int) -> Any:
    missing = bool(cells.isna().any())
    known = cells.dropna()
    if isinstance(cells.dtype, pd.CategoricalDtype):
        values = [_plain(value) for value in cells.cat.categories]
        kind: type[ColumnBase] = Ordinal if cells.cat.ordered else Categorical
        return _listed(kind, name, values, missing)
    if known.empty:
        raise SchemaError(f"column {name!r} of the public table holds no value; drop it or declare its type by hand")
    if known.dtype == object:
        known = known.infer_objects()
    if pd.api.types.is_bool_dtype(known.dtype):
        return Boolean(name=name, missing=missing)
    if pd.api.types.is_datetime64_any_dtype(known.dtype):
        return _temporal(name, known, missing, bins)
    if pd.api.types.is_numeric_dtype(known.dtype) and not pd.api.types.is_complex_dtype(known.dtype):
        return _number(name, known, missing, bins)
    texts = {canonical(cell_text(value) or "") for value in known.unique()}
    blank = None in texts
    return _listed(Categorical, name, sorted(text for text in texts if text is not None), missing or blank)


def _listed(kind: type[ColumnBase], name: str, values: list[Any], missing: bool) -> ColumnBase:
    if len(values) > MOST_VALUES:
        raise SchemaError(
            f"column {name!r} of the public table holds {len(values)} distinct texts, more than {MOST_VALUES}; "
            "drop it or declare its values by hand"
        )
    return kind(name=name, values=tuple(values), missing=missing)  # type: ignore[call-arg]


def _number(name: str, known: pd.Series[Any], missing: bool, bins: int) -> ColumnBase:
    values = np.asarray(known, dtype=np.float64)
    finite = values[np.isfinite(values)]
    distinct = np.unique(finite)
    if len(distinct) == 0:
        raise SchemaError(f"column {name!r} of the public table holds no finite number; drop it")
    whole = bool((distinct == np.floor(distinct)).all())
    if len(distinct) <= max(bins, 1):
        return _listed(Ordinal, name, [int(v) if whole else float(v) for v in distinct], missing)
    low, high = float(distinct[0]), float(distinct[-1])
    if whole:
        return Integer(name=name, min=int(low), max=int(high), bins=bins, missing=missing)
    decimals = _decimals(distinct)
    step = 10.0**-decimals
    low, high = round(np.floor(low / step) * step, decimals), round(np.ceil(high / step) * step, decimals)
    return Float(name=name, min=low, max=high, bins=bins, decimals=decimals, missing=missing)


def _decimals(distinct: np.ndarray[Any, Any]) -> int:
    for decimals in range(_MOST_DECIMALS):
        if np.array_equal(np.round(distinct, decimals), distinct):
            return decimals
    return _MOST_DECIMALS


def _temporal(name: str, known: pd.Series[Any], missing: bool, bins: int) -> ColumnBase:
    moments = known.dt.tz_localize(None) if known.dt.tz is not None else known
    low, high = moments.min().floor("s"), moments.max().floor("s")
    if low == high:
        return _listed(Categorical, name, [str(low.to_pydatetime()).removesuffix(" 00:00:00")], missing)
    if bool((moments == moments.dt.normalize()).all()):
        return Date(name=name, min=low.date(), max=high.date(), bins=bins, missing=missing)
    return Datetime(name=name, min=low.to_pydatetime(), max=high.to_pydatetime(), bins=bins, missing=missing)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__ = ["MOST_VALUES", "columns_of"]

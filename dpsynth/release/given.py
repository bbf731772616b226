"""Columns supplied at sampling: public values, encoded by the schema, and kept as supplied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.columns import Date, Datetime, Float, Integer
from dpsynth.encoding import Encoder
from dpsynth.errors import BundleError

Given = Mapping[str, Any] | pd.DataFrame


def encode_given(given: Given, rows: int | None, encoder: Encoder) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """The supplied columns as values and as codes, in schema order.

    Args:
        given: one value for each column, or a list (or frame) with one value for each row.
        rows: how many rows were asked for; None to take the number from `given`.
        encoder: of the model's schema.

    Raises:
        BundleError: no columns, a column or a value that the schema does not have, or lengths that disagree. It
            quotes the schema, never a value.
    """
    columns: dict[str, Any] = {str(name): cells for name, cells in given.items()}
    known = encoder.domain.attributes
    unknown = [name for name in columns if name not in known]
    if unknown or not columns:
        got = f"column {str(unknown[0])!r}" if unknown else "no column"
        raise BundleError(f"'given' names {got}; the schema has {', '.join(known)}")
    ordered = [name for name in known if name in columns]
    lengths = {len(cells) for cells in columns.values() if not _scalar(cells)}
    if len(lengths) > 1:
        raise BundleError(f"'given' has columns of {sorted(lengths)} rows; supply equally many values for each")
    length = lengths.pop() if lengths else rows
    if length is None or length < 1 or rows not in (None, length):
        raise BundleError(
            f"'given' has {length} rows and {rows} were asked for; supply one value for each row, at least one"
        )
    frame = pd.DataFrame(
        {
            name: pd.Series([columns[name]] * length if _scalar(columns[name]) else columns[name]).reset_index(
                drop=True
            )
            for name in ordered
        }
    )
    return frame, {name: _codes(name, frame[name], encoder) for name in ordered}


def keep_given(decoded: pd.DataFrame, given: pd.DataFrame, encoder: Encoder) -> pd.DataFrame:
    """`decoded` with the supplied numbers and dates themselves, not others from the same bins.

    Raises:
        BundleError: one lies outside the bounds of its column.
    """
    kept = decoded.copy()
    for name in map(str, given.columns):
        column = encoder.schema.column(name)
        if not isinstance(column, Integer | Float | Date | Datetime):
            continue
        exact = given[name].astype(kept[name].dtype)
        if isinstance(column, Float):
            exact = exact.round(column.decimals)
        low, high = (pd.Series([bound]).astype(exact.dtype)[0] for bound in (column.min, column.max))
        wrong = int(((exact < low) | (exact > high)).fillna(False).sum())
        if wrong:
            raise BundleError(
                f"{_which(wrong, len(exact))} given for column {name!r} are out of bounds; "
                f"the schema has {column.min} to {column.max}"
            )
        kept[name] = exact.where(decoded[name].notna(), decoded[name])
    return kept


def _codes(name: str, cells: pd.Series[Any], encoder: Encoder) -> NDArray[Any]:
    codes = encoder.encode_column(name, cells)
    outside = encoder.domain[name] - 1
    wrong = int(np.count_nonzero(codes == outside))
    if wrong:
        labels = encoder.decode_labels(name)[:-1]
        shown = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
        raise BundleError(
            f"{_which(wrong, len(cells))} given for column {name!r} are not in the schema; allowed are {shown}"
        )
    return codes


def _which(wrong: int, of: int) -> str:
    return "the values" if wrong == of else f"{wrong} of {of} values"


def _scalar(cells: Any) -> bool:
    return isinstance(cells, str | bytes) or not hasattr(cells, "__len__")


__all__ = ["Given", "encode_given", "keep_given"]

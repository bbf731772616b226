"""Columns supplied at sampling: public values, encoded by the schema, and kept as supplied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accountants.verdict import Refused, Rule
from dpsynth.cells import READ, as_arrow, attempt, moments, numbers
from dpsynth.codec import Numeric, Temporal, codec
from dpsynth.columns import Date, Datetime, Float, Integer
from dpsynth.encoding import MISSING_LABEL, Encoder
from dpsynth.errors import BundleError
from dpsynth.private import REASON, WAY_OUT, is_private
from dpsynth.text import cell_text

Given = Mapping[str, Any] | pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Supplied:
    """The supplied columns, in schema order, one cell for each row.

    Attributes:
        frame: as they were supplied.
        codes: what they encode to, each as its column is declared.
        exact: numbers and dates as they are released, at the column's type and decimals.
        points: the same in the column's own grid units; anything where a cell is empty.
    """

    frame: pd.DataFrame
    codes: dict[str, NDArray[Any]]
    exact: dict[str, pd.Series[Any]]
    points: dict[str, NDArray[np.int64]]

    def keep(self, decoded: pd.DataFrame) -> pd.DataFrame:
        """`decoded` with the supplied numbers and dates themselves, not others from the same bins."""
        kept = decoded.copy()
        for name, cells in self.exact.items():
            kept[name] = cells.astype(kept[name].dtype).where(decoded[name].notna(), decoded[name])
        return kept


def encode_given(given: Given, rows: int | None, encoder: Encoder) -> Supplied:
    """The supplied columns as values, as codes and as numbers.

    Args:
        given: one value for each column, or a list (or frame) with one value for each row.
        rows: how many rows were asked for; None to take the number from `given`.
        encoder: of the model's schema.

    Raises:
        BundleError: no columns, a column or a value that the schema does not have, a number out of bounds, or lengths
            that disagree. It quotes the schema, never a value.
        GateRefused: they are stamped private, or were written as private.
    """
    _refuse_private(given)
    columns: dict[str, Any] = {str(name): cells for name, cells in given.items()}
    known = encoder.domain.attributes
    alien = next((name for name in columns if name not in known), None)
    if alien is not None or not columns:
        near = get_close_matches(alien, known, n=1) if alien is not None else []
        got = f"column {alien!r}" if alien is not None else "no column"
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BundleError(f"'given' names {got}; {hint}the schema has {', '.join(known)}")
    ordered = [name for name in known if name in columns]
    lengths = {len(cells) for cells in columns.values() if not _scalar(cells)}
    if len(lengths) > 1:
        raise BundleError(f"'given' has columns of {sorted(lengths)} rows; supply equally many values for each")
    length = lengths.pop() if lengths else rows
    if not length or length < 1:
        raise BundleError("'given' has no rows; supply one value for each row to be drawn, at least one")
    if rows not in (None, length):
        raise BundleError(
            f"'given' has {length} rows and {rows} were asked for; supply one value for each row, or ask for no number"
        )
    frame = pd.DataFrame({name: _cells(columns[name], length) for name in ordered})
    codes = {name: _codes(name, frame[name], encoder) for name in ordered}
    exact, points = dict[str, "pd.Series[Any]"](), dict[str, NDArray[np.int64]]()
    for name in ordered:
        column = encoder.schema.column(name)
        if isinstance(column, Integer | Float | Date | Datetime):
            points[name], null = _points(column, frame[name])
            placing = codec(column)
            assert isinstance(placing, Numeric | Temporal)
            exact[name] = pd.Series(placing.place(points[name], null))
    return Supplied(frame, codes, exact, points)


def read_given(path: str | PathLike[str]) -> dict[str, Any]:
    """Columns to hold, one row for each to be drawn, from a CSV (cells as text) or Parquet file.

    Raises:
        BundleError: it cannot be read, or has another suffix.
        GateRefused: it is stamped private, or was written as private.
    """
    file, reason = Path(path), ""
    _refuse_private(file)
    try:
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
        elif file.suffix == ".csv":
            names = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
            twice = next((name for name in names if names.count(name) > 1), None)
            reason = f"column {twice!r} is there twice; name each column once" if twice is not None else ""
            frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        else:
            reason = "its name must end in .csv or .parquet"
    except pd.errors.EmptyDataError:
        reason = "it is empty; its first line must name the columns"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text; save it as UTF-8"
    except (OSError, ValueError) as error:
        fallback = f"it is not a readable {'Parquet' if file.suffix == '.parquet' else 'CSV'} file"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else fallback
    if reason:
        raise BundleError(f"cannot read the given columns from {str(path)!r}: {reason}")
    return {str(name): frame[name] for name in frame.columns}


def _refuse_private(given: Any) -> None:
    """Columns that are given are released as they are.

    Raises:
        GateRefused: they come from a private report or a table split for one.
    """
    if is_private(given):
        Refused(Rule.PRIVATE, REASON, WAY_OUT).raise_()


def _cells(cells: Any, length: int) -> pd.Series[Any]:
    return pd.Series([cells] * length if _scalar(cells) else cells).reset_index(drop=True)


def _points(column: Integer | Float | Date | Datetime, cells: pd.Series[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Numbers and dates in grid units, by the reader that encodes them, and which are null.

    Raises:
        BundleError: one cannot be read, or lies outside the bounds of its column.
    """
    array = as_arrow(cells)
    read: Any = numbers if isinstance(column, Integer | Float) else moments
    found = attempt(lambda: read(array))
    if found is None:  # what a library raised may quote the value
        raise BundleError(f"the values given for column {column.name!r} cannot be read as {column.type}")
    values, state = found
    if isinstance(column, Float):
        values = np.rint(values * column.unit)
    elif isinstance(column, Date):
        values = values // 86400
    edges = column.partition.edges
    wrong = (state == READ) & ((values < edges[0]) | (values > edges[-1] - 1))
    if wrong.any():
        raise BundleError(
            f"{_which(wrong)} given for column {column.name!r} are out of bounds; the schema has {_range(column)}"
        )
    return np.floor(np.where(state == READ, values, edges[0])).astype(np.int64), state != READ


def _codes(name: str, cells: pd.Series[Any], encoder: Encoder) -> NDArray[Any]:
    codes, column = encoder.encode_column(name, cells), encoder.schema.column(name)
    wrong = codes == column.outside_code
    if not wrong.any():
        return codes
    text = (cell_text(cells.iloc[int(np.flatnonzero(wrong)[0])]) or "").strip()
    if not text and not column.missing:
        raise BundleError(
            f"{_which(wrong)} given for column {name!r} are not in the schema: they are empty, and the column is not "
            "declared 'missing: true'; supply a value"
        )
    if isinstance(column, Integer | Float | Date | Datetime):
        raise BundleError(
            f"{_which(wrong)} given for column {name!r} are not in the schema; allowed: {column.type}, {_range(column)}"
        )
    labels = [*codec(column).labels(), *([MISSING_LABEL] if column.missing else [])]
    shown = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
    near = get_close_matches(text, labels, n=1)  # names a value of the schema, not the one that was given
    hint = f"did you mean {near[0]!r}? allowed are" if near else "allowed are"
    raise BundleError(f"{_which(wrong)} given for column {name!r} are not in the schema; {hint} {shown}")


def _range(column: Integer | Float | Date | Datetime) -> str:
    return f"{column.min} to {column.max}"


def _which(wrong: NDArray[np.bool_]) -> str:
    """How many of the supplied cells, and where the first is: what is given is public, and still not quoted."""
    if wrong.all():
        return "the values"
    return f"{int(wrong.sum())} of {len(wrong)} values (the first in row {int(np.flatnonzero(wrong)[0]) + 1})"


def _scalar(cells: Any) -> bool:
    return isinstance(cells, str | bytes) or not hasattr(cells, "__len__")


__all__ = ["Given", "Supplied", "encode_given", "read_given"]

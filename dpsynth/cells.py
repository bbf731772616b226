"""Cells of one column, read as text, as numbers or as moments, whatever type they are stored in.

The three readers work on Arrow arrays, look at each distinct cell once, and judge every cell by itself: what
a cell reads as never depends on its neighbours, on the batch or on the storage type. Nothing here raises on a
value. `as_arrow` is the way in for pandas and NumPy columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dpsynth.errors import SourceError
from dpsynth.text import UNREADABLE, bytes_text, canonical, cell_text, number_text

READ, NULL, BAD = 0, 1, 2
"""State of a cell: it reads, it is a null, or it does not read."""

_PLAIN_NUMBER = r"^-?[0-9]{1,17}(\.[0-9]{1,17})?$"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")  # in linear time
_MOMENT = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
    r"(?:[T ]([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:[.,][0-9]+)?)?)?"
    r"\s?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1)
_FIRST_SECOND, _LAST_SECOND = -62135596800, 253402300799
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

_INT = np.dtype(np.int64)

T = TypeVar("T")
Numbers = tuple[NDArray[np.float64], NDArray[np.uint8]]
Moments = tuple[NDArray[np.int64], NDArray[np.uint8]]


def attempt(read: Callable[[], T]) -> T | None:
    """What `read` gives, None if it raises.

    Raises:
        MemoryError: out of memory, said without any size: a library's own text has the number of rows.
    """
    try:
        return read()
    except MemoryError:
        pass  # replaced below, outside this block, so that it is not attached
    except Exception:
        return None
    raise MemoryError("out of memory while a table was read")


def as_arrow(column: Any) -> pa.Array:
    """A pandas or Arrow column as one flat Arrow array: dictionaries, nested and unknown types resolved.

    A column of Python objects becomes text, cell by cell. So does one that cannot be converted as a whole: a
    cell that is beyond help then does not read, and its neighbours read as they do without it.
    """
    array = attempt(lambda: _whole(column))
    if array is not None:
        return array
    if isinstance(column, pd.Series):
        held = attempt(lambda: pa.chunked_array(pa.array(column))) if isinstance(column.dtype, pd.ArrowDtype) else None
        column = column if held is None else held
    return _must(lambda: pa.array([_cell(column, at) for at in range(len(column))], pa.string()))


def piecewise(read: Callable[[pa.Array], NDArray[Any]], array: pa.Array, hopeless: NDArray[Any]) -> NDArray[Any]:
    """`read` over the array, shape (rows,); where it raises, over ever smaller pieces of it, down to the cell.

    Args:
        read: one element for each cell, which depends on that cell alone.
        array: a flat array, see `as_arrow`.
        hopeless: what a cell gets that cannot be read even by itself, shape (1,).
    """
    found = attempt(lambda: read(array))
    if found is not None:
        return found
    return _must(lambda: _pieces(read, array, hopeless))


def _pieces(read: Callable[[pa.Array], NDArray[Any]], array: pa.Array, hopeless: NDArray[Any]) -> NDArray[Any]:
    if pa.types.is_dictionary(array.type):
        entries = (as_arrow(array.dictionary), pa.nulls(1))
        parts = [piecewise(read, each, hopeless) for each in entries]
        return np.take(np.concatenate(parts), _entries(array))
    if len(array) <= 1:
        return np.repeat(hopeless, len(array))
    half = len(array) // 2
    parts = [piecewise(read, each, hopeless) for each in (array.slice(0, half), array.slice(half))]
    return np.concatenate(parts)


def _must(read: Callable[[], T]) -> T:
    """What `read` gives, where only a library that does not work at all could keep it from that."""
    found = attempt(read)
    if found is None:  # never blank a column: that would let one cell decide about the others
        raise SourceError("a column could not be read: pandas, NumPy or Arrow failed on every way to it")
    return found


def _whole(column: Any) -> pa.Array:
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return _flat(column)
    return _series_array(column if isinstance(column, pd.Series) else pd.Series(column))


def _cell(column: Any, at: int) -> str | None:
    """The text of one cell, looked at without its neighbours."""
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        found = attempt(lambda: texts(_alone(column, at)))
        return UNREADABLE if found is None else found[0][found[1][0]]
    held = attempt(lambda: (column.iloc[at] if isinstance(column, pd.Series) else column[at],))
    return UNREADABLE if held is None else cell_text(held[0])


def _alone(column: Any, at: int) -> pa.Array:
    """One cell as an array, without the rest of its dictionary."""
    cell = column.slice(at, 1)
    cell = _flat(next(chunk for chunk in cell.chunks if len(chunk)) if isinstance(cell, pa.ChunkedArray) else cell)
    if not pa.types.is_dictionary(cell.type):
        return cell
    index = cell.indices[0].as_py()
    return pa.nulls(1) if index is None else _alone(cell.dictionary, index)


def _series_array(series: pd.Series[Any]) -> pa.Array:
    if isinstance(series.dtype, pd.CategoricalDtype):
        index = series.cat.categories  # as it is stored: nothing may be inferred from all categories together
        categories = as_arrow(pd.Series(index.array, dtype=index.dtype))
        codes = series.cat.codes.to_numpy()
        return categories.take(pa.array(codes, pa.int64(), mask=codes < 0))
    if series.dtype == object or isinstance(series.dtype, pd.PeriodDtype):
        return _object_array(series)
    array = attempt(lambda: _flat(pa.array(series)))
    return _object_array(series) if array is None else array


def _object_array(series: pd.Series[Any]) -> pa.Array:
    cells: Any = series.to_numpy(dtype=object)
    if attempt(lambda: pd.api.types.infer_dtype(cells, skipna=True)) == "string":
        array = attempt(lambda: _flat(pa.array(cells, pa.string(), from_pandas=True)))
        if array is not None:
            return array
    return _flat(pa.array([cell_text(cell) for cell in cells], pa.string()))


def _flat(column: Any) -> pa.Array:
    """One array without chunks, extensions, run-end encoding or nesting. Dictionaries stay."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # chunks that cannot be joined: beyond 2 GiB
            return pa.concat_arrays([_flat(chunk).cast(pa.large_binary()) for chunk in column.chunks])
    if isinstance(column, pa.ExtensionArray):
        if column.type.extension_name == "arrow.uuid":
            return pa.array([cell_text(cell) for cell in column.to_pylist()], pa.string())
        column = column.storage
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if pa.types.is_nested(column.type) or not _known(column.type):
        return pc.if_else(column.is_null(), pa.scalar(None, pa.string()), pa.scalar(UNREADABLE, pa.string()))
    return column


def _known(kind: Any) -> bool:
    t = pa.types
    return bool(
        t.is_null(kind)
        or t.is_boolean(kind)
        or t.is_integer(kind)
        or t.is_floating(kind)
        or t.is_decimal(kind)
        or t.is_date(kind)
        or t.is_timestamp(kind)
        or t.is_dictionary(kind)
        or _is_text(kind)
    )


def _is_text(kind: Any) -> bool:
    t = pa.types
    return bool(
        t.is_string(kind)
        or t.is_large_string(kind)
        or t.is_string_view(kind)
        or t.is_binary(kind)
        or t.is_large_binary(kind)
        or t.is_binary_view(kind)
        or t.is_fixed_size_binary(kind)
    )


def distinct(array: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Distinct cells, the last one always null, and each row's position among them."""
    if not pa.types.is_dictionary(array.type):
        array = pc.dictionary_encode(array, null_encoding="mask")
    cells = _flat(array.dictionary)
    return pa.concat_arrays([cells, pa.nulls(1, cells.type)]), _entries(array)


def _entries(array: pa.Array) -> NDArray[np.int64]:
    """Each row's dictionary entry; one past the last for nulls, and for an index that no entry has."""
    count = len(array.dictionary)
    positions: NDArray[np.int64] = _numpy(pc.fill_null(array.indices.cast(pa.int64()), count), _INT)
    return np.where((positions < 0) | (positions > count), count, positions)


def texts(array: pa.Array, fold: Callable[[str], str | None] = canonical) -> tuple[list[str | None], NDArray[np.int64]]:
    """The texts of the distinct cells (None: null) and each row's position among them.

    Texts that start with `UNREADABLE` are cells without text.

    Args:
        array: a flat array, see `as_arrow`.
        fold: which texts are one; `unit_text` for privacy units.
    """
    array = _plain(array)
    cells, positions = distinct(array)
    if pa.types.is_dictionary(cells.type):  # a dictionary of dictionaries
        inner, at = texts(cells, fold)
        return [inner[i] for i in at], positions
    return [None if text is None else fold(text) for text in _texts(cells)], positions


def _plain(array: pa.Array) -> pa.Array:
    """The array in a type that `pc.dictionary_encode` knows."""
    kind = array.type
    if _is_text(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_floating(kind) and kind != pa.float64():
        return _short_floats(array)
    if pa.types.is_decimal(kind):
        return array.cast(pa.string()).cast(pa.large_binary())
    return array


def _short_floats(array: pa.Array) -> pa.Array:
    """Single and half precision as the shortest decimal text that means them (0.1, not 0.10000000149).

    Whole numbers stay exact.
    """
    nulls = _numpy(array.is_null(), np.dtype(bool))
    cells = array.to_numpy(zero_copy_only=False).astype(f"f{array.type.bit_width // 8}")
    shortest = cells.astype(str).astype(object)
    whole = np.isfinite(cells) & (np.trunc(cells) == cells)
    shortest[whole] = cells[whole].astype(np.float64).astype(str).astype(object)
    return pa.array(shortest, pa.string(), mask=nulls | np.isnan(cells)).cast(pa.large_binary())


def _texts(cells: pa.Array) -> list[str | None]:
    kind = cells.type
    if _is_text(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        cells = _plain(cells)
    kind = cells.type
    if _is_text(kind):
        return [None if raw is None else bytes_text(raw) for raw in cells.to_pylist()]
    if pa.types.is_null(kind):
        return [None] * len(cells)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return [None if cell is None else str(cell).lower() for cell in cells.to_pylist()]
    if pa.types.is_floating(kind):
        return [None if cell is None else number_text(cell) for cell in cells.to_pylist()]
    seconds, state = moments(cells)
    return [_moment_text(int(at), int(s)) for at, s in zip(seconds, state, strict=True)]


def _moment_text(seconds: int, state: int) -> str | None:
    if state != READ:
        return None if state == NULL else UNREADABLE
    return str(np.datetime64(seconds, "s")).replace("T", " ").removesuffix(" 00:00:00")


def numbers(array: pa.Array) -> Numbers:
    """Each row as a number: values (anything where it does not read) and states.

    Text reads if it is a decimal number with ``.`` and perhaps an exponent; ``nan`` is a null, ``true`` and
    ``false`` are 1 and 0. A finite number beyond the largest double is an infinity that reads. An infinity
    itself, and a date, do not.
    """
    kind = array.type
    if pa.types.is_floating(kind) and kind != pa.float64():
        return numbers(_short_floats(array))
    if pa.types.is_boolean(kind):
        return numbers(array.cast(pa.uint8()))
    if pa.types.is_integer(kind) or kind == pa.float64():
        nulls = _numpy(array.is_null(), np.dtype(bool))
        values = _numpy(pc.fill_null(array, 0), np.dtype(np.float64))
        state = np.where(nulls | np.isnan(values), NULL, np.where(np.isinf(values), BAD, READ))
        return values, state.astype(np.uint8)
    if pa.types.is_null(kind) or pa.types.is_temporal(kind):
        nulls = _numpy(array.is_null(), np.dtype(bool))
        return np.zeros(len(array)), np.where(nulls, NULL, BAD).astype(np.uint8)
    cells, positions = distinct(_plain(array))
    values, state = _text_numbers(cells) if pa.types.is_large_binary(cells.type) else numbers(cells)
    return values[positions], state[positions]


def _text_numbers(cells: pa.Array) -> Numbers:
    plain = _numpy(pc.fill_null(pc.match_substring_regex(cells, _PLAIN_NUMBER), False), np.dtype(bool))
    values, state = np.zeros(len(cells)), np.zeros(len(cells), dtype=np.uint8)
    values[plain] = _numpy(cells.filter(pa.array(plain)).cast(pa.string()).cast(pa.float64()), values.dtype)
    rest = np.flatnonzero(~plain)
    for at, raw in zip(rest, cells.take(pa.array(rest)).to_pylist(), strict=True):
        values[at], state[at] = _text_number(raw)
    return values, state


def _text_number(raw: bytes | None) -> tuple[float, int]:
    text = "" if raw is None else bytes_text(raw).strip()
    if _NUMBER.fullmatch(text):
        return float(text), READ
    folded = text.lower()
    if folded in ("", "nan"):
        return 0.0, NULL
    if folded in ("true", "false"):
        return float(folded == "true"), READ
    return 0.0, BAD


def moments(array: pa.Array) -> Moments:
    """Each row as wall-clock seconds since 1970-01-01: values (zero where it does not read) and states.

    A zone or offset is dropped, not converted; fractions of a second are cut off. Text reads if it is ISO
    8601 (the date alone is midnight), ``nan`` and ``nat`` are nulls. Years are 1 to 9999.
    """
    kind = array.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        nulls = _numpy(array.is_null(), np.dtype(bool))
        seconds = _seconds(array)
        inside = (seconds >= _FIRST_SECOND) & (seconds <= _LAST_SECOND)
        state = np.where(nulls, NULL, np.where(inside, READ, BAD)).astype(np.uint8)
        return np.where(state == READ, seconds, 0), state
    inner, positions = texts(array)
    read = [_text_moment(text) for text in inner]
    values = np.array([value for value, _ in read], dtype=np.int64)
    state = np.array([each for _, each in read], dtype=np.uint8)
    return values[positions], state[positions]


def _seconds(array: pa.Array) -> NDArray[np.int64]:
    kind = array.type
    if pa.types.is_date32(kind):
        days = _numpy(pc.fill_null(array.cast(pa.int32()), 0), np.dtype(np.int64))
        return days * 86400
    if pa.types.is_date64(kind):
        return _numpy(pc.fill_null(array.cast(pa.int64()), 0), np.dtype(np.int64)) // 1000
    if kind.tz is not None:
        try:
            array = pc.local_timestamp(array)
        except Exception:  # a zone this platform does not know: its instants are read as UTC
            array = array.cast(pa.timestamp(kind.unit))
    ticks = _numpy(pc.fill_null(array.cast(pa.int64()), 0), np.dtype(np.int64))
    return ticks // _PER_SECOND[kind.unit]


def _text_moment(text: str | None) -> tuple[int, int]:
    if text is None or text.lower() in ("nan", "nat"):
        return 0, NULL
    match = _MOMENT.fullmatch(text)
    if match is None:
        return 0, BAD
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
    except ValueError:
        return 0, BAD
    return int((moment - _EPOCH).total_seconds()), READ


def _numpy(array: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(dtype, copy=False)


__all__ = ["BAD", "NULL", "READ", "as_arrow", "attempt", "distinct", "moments", "numbers", "piecewise", "texts"]

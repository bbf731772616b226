"""How private files and frames are marked, and known again: real rows of a split, and reports computed from real rows.

Three marks, each enough. The *type* says it (``__private__``). A *stamp* inside files and frames says it, and survives
most of what pandas and Arrow do with a table. *Digests* of what was written are kept in the home folder: of its bytes,
of a table's content with and without the unit, and of each column that could hardly be the same by chance. So a copy in
another format is known too, with columns left out or added; a selection of rows is not. All this guards against
mistakes, not against intent.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.extensions import ExtensionArray

from dpsynth.cells import as_arrow, attempt, texts
from dpsynth.place import home

MARK = "PRIVATE"
STAMP = "PRIVATE - real rows, or figures computed from them; for the custodian alone, never to be released"
REASON = "this is private: real rows, or figures computed from real rows outside the charged looks."
WAY_OUT = "Release only tables drawn from a committed model, and hold columns only at values that are public."

MANY_VALUES = 20
"""Distinct cells from which a column is known by how often it has each, in whatever order of rows."""
MUCH_ORDER = 64
"""Bytes of its compressed sequence from which a column of fewer is known in its order of rows: nobody hits on it."""

_TABLES = (".parquet", ".pq", ".csv")


def stamped(table: pa.Table) -> pa.Table:
    """The table with the stamp in its footer and in every column; frames read from it carry it in ``attrs``."""
    columns = [field.with_metadata({**(field.metadata or {}), MARK: STAMP}) for field in table.schema]
    held = dict(table.schema.metadata or {})
    described = json.loads(held.pop(b"pandas", b"{}"))
    described = {"index_columns": [], "column_indexes": [], "columns": [], **described, "attributes": {MARK: STAMP}}
    held[b"pandas"] = json.dumps(described).encode()
    return table.cast(pa.schema(columns, metadata={**held, MARK: STAMP}))


def is_private(thing: Any) -> bool:
    """Whether a type, a stamp or a known digest says that `thing` is private.

    Args:
        thing: anything: a report, findings, a frame, a column, an Arrow table, bytes, a path, a mapping of these.
            Each column of a frame or a mapping is held against the known ones, and all of them together.
    """
    if getattr(type(thing), "__private__", False) is True:
        return True
    if isinstance(thing, pd.DataFrame):
        return MARK in thing.attrs or _known_content(thing)
    if isinstance(thing, pd.Series):
        return MARK in thing.attrs or _known_column(thing)
    if isinstance(thing, pa.Table | pa.RecordBatch):
        return MARK.encode() in (thing.schema.metadata or {}) or _known_content(thing.to_pandas())
    if isinstance(thing, bytes):
        return STAMP.encode() in thing or is_known(hashlib.sha256(thing).hexdigest())
    if isinstance(thing, str | PathLike):
        return _file_is_private(Path(thing))
    if isinstance(thing, Mapping):
        held = thing.get(MARK)  # the report's JSON; a column may have that name too
        if isinstance(held, str) and held == STAMP:
            return True
        return any(is_private(each) for each in thing.values() if not isinstance(each, str)) or _known_columns(thing)
    if isinstance(thing, list | tuple) and any(getattr(type(each), "__private__", False) is True for each in thing):
        return True
    return isinstance(thing, _COLUMNS) and _known_column(thing)


def content_digest(frame: pd.DataFrame) -> str:
    """What a table holds, whatever its types, its file format and the order of its rows and columns: sha256, hex."""
    rows = np.zeros(len(frame), dtype=np.uint64)
    names = sorted(map(str, frame.columns))
    for at in np.argsort([str(name) for name in frame.columns], kind="stable"):
        inner, positions = texts(as_arrow(frame.iloc[:, int(at)]))
        cells = pd.util.hash_array(np.array(["\0" if text is None else text for text in inner], dtype=object))
        rows = rows * np.uint64(6364136223846793005) + cells[positions]  # wraps around: order of columns counts
    rows.sort()
    return hashlib.sha256(repr((names, len(frame))).encode() + rows.tobytes()).hexdigest()


def column_digest(cells: Any) -> str | None:
    """What a column holds, whatever its name, type and format: sha256, hex; None where another may hold it by chance.

    With `MANY_VALUES` distinct cells or more it is how often each is there. With fewer it is their sequence, provided
    that it does not compress to less than `MUCH_ORDER` bytes: sorted and periodic columns are anybody's.

    Args:
        cells: a column of pandas, NumPy or Arrow.
    """
    inner, positions = texts(as_arrow(cells))
    spelled = np.array(["\0" if text is None else text for text in inner], dtype=object)
    which, distinct = pd.factorize(spelled)  # several cells may spell one value
    codes, order = pd.factorize(which[positions])  # in order of appearance
    found = [str(distinct[at]) for at in order]
    if len(found) >= MANY_VALUES:
        said = json.dumps(["counts", sorted(zip(found, np.bincount(codes).tolist(), strict=True))]).encode()
    else:
        sequence = codes.astype(np.uint8).tobytes()
        if len(zlib.compress(sequence, 9)) < MUCH_ORDER:
            return None
        said = json.dumps(["sequence", found]).encode() + sequence
    return hashlib.sha256(said).hexdigest()


def table_digests(table: pa.Table, unit: str | None = None) -> list[str]:
    """All that a table is known by: its content, the same without the unit, and its columns."""
    frame = table.to_pandas()
    digests = [content_digest(frame)]
    if unit in frame.columns:
        digests.append(content_digest(frame.drop(columns=unit)))
    columns = [column_digest(frame.iloc[:, at]) for at in range(frame.shape[1])]
    return [*digests, *(digest for digest in columns if digest is not None)]


def remember(*digests: str) -> None:
    """Keep digests of private files in the home folder.

    Raises:
        OSError: it cannot be written.
    """
    folder = _register()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for digest in digests:
        (folder / digest).touch(mode=0o600)


def is_known(digest: str) -> bool:
    """Whether `remember` was told that digest."""
    try:
        return (_register() / digest).is_file()
    except OSError:
        return False


def _known_content(frame: pd.DataFrame) -> bool:
    if not _register().is_dir():
        return False
    return is_known(content_digest(frame)) or any(_known_column(frame.iloc[:, at]) for at in range(frame.shape[1]))


def _known_columns(held: Mapping[Any, Any]) -> bool:
    """Whether the columns of a mapping, single cells left aside, make a known table."""
    columns = {str(name): cells for name, cells in held.items() if isinstance(cells, (pd.Series, *_COLUMNS))}
    if not columns or not _register().is_dir():
        return False
    frame = attempt(
        lambda: pd.DataFrame({name: pd.Series(cells).reset_index(drop=True) for name, cells in columns.items()})
    )
    return frame is not None and is_known(content_digest(frame))


def _known_column(cells: Any) -> bool:
    if not _register().is_dir():
        return False
    digest = attempt(lambda: column_digest(cells))
    return digest is not None and is_known(digest)


def _file_is_private(path: Path) -> bool:
    try:
        raw = path.read_bytes() if path.is_file() else b""
    except (OSError, ValueError):
        return False
    if not raw or is_private(raw):
        return bool(raw)
    try:
        if path.suffix.lower() == ".csv":
            return is_private(pd.read_csv(path, dtype=str, keep_default_na=False))
        return path.suffix.lower() in _TABLES and is_private(pq.read_table(path))
    except Exception:  # not a table: what reads it next says so
        return False


def _register() -> Path:
    return home() / "private"


_COLUMNS: tuple[type, ...] = (list, tuple, np.ndarray, pd.Index, ExtensionArray, pa.Array, pa.ChunkedArray)

__all__ = [
    "MARK",
    "REASON",
    "STAMP",
    "WAY_OUT",
    "column_digest",
    "content_digest",
    "is_known",
    "is_private",
    "remember",
    "stamped",
    "table_digests",
]

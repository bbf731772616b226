"""How private files and frames are marked, and known again: real rows of a split, and reports computed from real rows.

Three marks, each enough. The *type* says it (``__private__``). A *stamp* inside files and frames says it, and survives
most of what pandas and Arrow do with a table. The *digest* of what was written, of its bytes and of a table's content,
is kept in the home folder: a copy in another format is known too. All this guards against mistakes, not against intent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dpsynth.cells import as_arrow, texts
from dpsynth.place import home

MARK = "PRIVATE"
STAMP = "PRIVATE - real rows, or figures computed from them; for the custodian alone, never to be released"
REASON = "this is private: real rows, or figures computed from real rows outside the charged looks."
WAY_OUT = "Release only tables drawn from a committed model, and hold columns only at values that are public."

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
    """
    if getattr(type(thing), "__private__", False) is True:
        return True
    if isinstance(thing, pd.DataFrame | pd.Series):
        return MARK in thing.attrs or (isinstance(thing, pd.DataFrame) and _known_content(thing))
    if isinstance(thing, pa.Table | pa.RecordBatch):
        return MARK.encode() in (thing.schema.metadata or {}) or _known_content(thing.to_pandas())
    if isinstance(thing, bytes):
        return STAMP.encode() in thing or is_known(hashlib.sha256(thing).hexdigest())
    if isinstance(thing, str | PathLike):
        return _file_is_private(Path(thing))
    if isinstance(thing, Mapping):
        return any(is_private(each) for each in thing.values() if not isinstance(each, str))
    if isinstance(thing, list | tuple):
        return any(getattr(type(each), "__private__", False) is True for each in thing)
    return False


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
    return _register().is_dir() and is_known(content_digest(frame))


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


__all__ = ["MARK", "REASON", "STAMP", "WAY_OUT", "content_digest", "is_known", "is_private", "remember", "stamped"]

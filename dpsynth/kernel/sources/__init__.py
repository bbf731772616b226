"""Batches of rows from tables in memory and files. `open_source` says which."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa

from dpsynth.errors import SourceError
from dpsynth.kernel.sources.arrow import ArrowSource, FeatherSource
from dpsynth.kernel.sources.base import BATCH, Source, check_structure
from dpsynth.kernel.sources.csv import CsvSource
from dpsynth.kernel.sources.frame import FrameSource
from dpsynth.kernel.sources.parquet import ParquetSource

_BY_SUFFIX: dict[str, Callable[[str], Source]] = {
    ".parquet": ParquetSource,
    ".pq": ParquetSource,
    ".csv": CsvSource,
    ".csv.gz": CsvSource,
    ".feather": FeatherSource,
    ".arrow": FeatherSource,
}


def open_source(table: Any) -> Source:
    """The rows of a pandas DataFrame, an Arrow table, a Polars frame, or a file, told by its suffix.

    Args:
        table: the table or the path. Anything that exports an Arrow stream will do.

    Raises:
        SourceError: nothing can read it, the file is not there or not what its suffix says, or two columns
            have the same name.
    """
    if isinstance(table, Source):
        return table
    if isinstance(table, (str, os.PathLike)):
        return _open_path(os.fsdecode(table))
    if isinstance(table, pd.DataFrame):
        return FrameSource(table)
    arrow = _as_table(table)
    if arrow is None:
        raise SourceError(
            f"a table must be a pandas, Polars or Arrow table or a path, got {type(table).__name__}; "
            "load it as one of these"
        )
    return ArrowSource(arrow)


def _open_path(path: str) -> Source:
    suffix = next((each for each in _BY_SUFFIX if path.lower().endswith(each)), None)
    if suffix is None:
        raise SourceError(f"cannot tell what {path!r} holds; its name must end in {', '.join(_BY_SUFFIX)}")
    problem = None
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or "not a path"
    if problem is not None:
        raise SourceError(f"cannot read {path!r}: {problem}")
    return _BY_SUFFIX[suffix](path)


def _as_table(table: Any) -> Any:
    if isinstance(table, pa.Table):
        return table
    try:
        if isinstance(table, pa.RecordBatch):
            return pa.Table.from_batches([table])
        if hasattr(table, "__arrow_c_stream__"):
            return pa.table(table)
        if hasattr(table, "to_arrow"):
            found = table.to_arrow()
            return found if isinstance(found, pa.Table) else None
    except Exception:
        return None
    return None


__all__ = ["BATCH", "Source", "check_structure", "open_source"]

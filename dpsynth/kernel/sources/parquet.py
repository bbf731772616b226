"""Rows of a Parquet file, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from dpsynth.errors import SourceError
from dpsynth.kernel.sources.base import BATCH, Source, guarded, unique_names


@final
class ParquetSource(Source):
    """A Parquet file.

    Raises:
        SourceError: it is none, or two columns have the same name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        names = None
        try:
            names = pq.read_schema(path).names
        except Exception:
            names = None
        if names is None:
            raise SourceError(f"{path!r} is not a Parquet file; write it again or correct its suffix")
        self._columns = unique_names(names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(list(columns), size))

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=size, columns=columns):
                yield batch.select(columns)


__all__ = ["ParquetSource"]

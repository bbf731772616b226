"""Rows of a Parquet file, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from dpsynth.kernel.sources.base import BATCH, Source, guarded, names_in


@final
class ParquetSource(Source):
    """A Parquet file.

    Raises:
        SourceError: it is none, or two columns have the same name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._columns = names_in(path, "a Parquet", lambda: pq.read_schema(path).names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(list(columns), size))

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=2**20) as file:
            for batch in file.iter_batches(batch_size=size, columns=columns):
                yield batch.select(columns)


__all__ = ["ParquetSource"]

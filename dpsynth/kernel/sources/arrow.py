"""Rows of an Arrow table, in memory or in a Feather (Arrow IPC) file. Polars frames arrive here too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import pyarrow as pa

from dpsynth.kernel.sources.base import BATCH, Source, guarded, names_in, unique_names


@final
class ArrowSource(Source):
    """An Arrow table in memory.

    Raises:
        SourceError: two columns of the same name.
    """

    def __init__(self, table: pa.Table) -> None:
        self._columns = unique_names(table.column_names)
        self._table = table

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(iter(self._table.select(list(columns)).to_batches(max_chunksize=size)))


@final
class FeatherSource(Source):
    """A Feather file, that is an Arrow IPC file or stream.

    Raises:
        SourceError: it is none, or two columns have the same name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._columns = names_in(path, "a Feather or Arrow", lambda: _reader(path).schema.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(list(columns), size))

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        reader = _reader(self._path)
        stream = isinstance(reader, pa.RecordBatchReader)
        for batch in reader if stream else map(reader.get_batch, range(reader.num_record_batches)):
            part = batch.select(columns)
            for start in range(0, part.num_rows, size):
                yield part.slice(start, size)


def _reader(path: str) -> Any:
    try:
        return pa.ipc.open_file(pa.OSFile(path))
    except pa.ArrowInvalid:
        return pa.ipc.open_stream(pa.OSFile(path))


__all__ = ["ArrowSource", "FeatherSource"]

"""Rows of a pandas DataFrame. Columns of Python objects become text, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import pandas as pd
import pyarrow as pa

from dpsynth.cells import as_arrow
from dpsynth.kernel.sources.base import BATCH, Source, guarded, unique_names


@final
class FrameSource(Source):
    """A DataFrame in memory; its index is ignored.

    Raises:
        SourceError: two columns of the same name, or a name that is not text.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._columns = unique_names(list(frame.columns))
        self._frame = frame

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(columns, size))

    def _batches(self, columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        at = [self._columns.index(name) for name in columns]
        for start in range(0, len(self._frame), size):
            part = self._frame.iloc[start : start + size]
            yield pa.RecordBatch.from_arrays([as_arrow(part.iloc[:, i]) for i in at], names=list(columns))


__all__ = ["FrameSource"]

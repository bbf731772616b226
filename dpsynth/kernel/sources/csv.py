"""Rows of a CSV file, plain or gzipped. Every cell is text, so that a column's type never varies by batch.

The file is read as RFC 4180 has it: comma separated, a header line, cells that hold commas, quotes or line
breaks in double quotes. Nothing in the rows can stop the reader: a short line is filled up with nulls, a long
one loses its surplus, blank lines do not count, and bytes that are not UTF-8 make a cell that does not read.
Lines end in LF or CR LF; a carriage return elsewhere is a space, so that no cell can begin a row of its own.
A quote that is never closed takes at most 128 KiB of text with it.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TextIO, final

import pyarrow as pa
import pyarrow.compute as pc

from dpsynth.errors import SourceError
from dpsynth.kernel.sources.base import BATCH, Source, guarded, unique_names
from dpsynth.text import clean_text

_CHUNK = 1 << 20
_ROWS = 2048
"""Rows turned into columns at a time: few enough to stay in the processor's cache."""


@final
class CsvSource(Source):
    """A CSV file with a header line. A gzipped one is read through once at the start, to find it complete.

    Raises:
        SourceError: it cannot be read, has no header line, or names two columns the same.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._packed = path.lower().endswith(".gz")
        if self._packed and not _unpacks(path):
            raise SourceError(f"{path!r} is not a complete gzip file; write it again or correct its suffix")
        header = None
        try:
            with self._open() as text:
                header = next(_records(text), None)
        except Exception:
            header = None
        if header is None:
            raise SourceError(f"{path!r} has no header line; the first line of a CSV file names its columns")
        self._columns = unique_names([name.strip() for name in header], quote=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(list(columns), size))

    def _open(self) -> TextIO:
        opener: Callable[..., TextIO] = gzip.open if self._packed else open
        return opener(self._path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n")

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        at = [self._columns.index(name) for name in columns]
        width = len(self._columns)
        with self._open() as text:
            records = _records(text)
            next(records, None)
            while True:
                parts = []
                for start in range(0, size, _ROWS):
                    rows = list(islice(records, min(_ROWS, size - start)))
                    if rows:
                        parts.append(_part([_fitted(row, width) for row in rows], at, columns))
                if not parts:
                    return
                yield from pa.Table.from_batches(parts).combine_chunks().to_batches()


def _records(text: TextIO) -> Iterator[list[str]]:
    """The records that are not blank; one that the reader gives up on is left out."""
    reader = csv.reader(map(_one_line, text))
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error:
            record = []
        if record:
            yield record


def _one_line(line: str) -> str:
    """The line with its stray carriage returns as spaces: some writers leave them unquoted inside a cell."""
    if "\r" not in line:
        return line
    ending = "\r\n" if line.endswith("\r\n") else ""
    return line.removesuffix(ending).replace("\r", " ") + ending


def _fitted(record: list[str], width: int) -> list[str]:
    return record if len(record) >= width else record + [""] * (width - len(record))


def _part(rows: list[list[str]], at: list[int], columns: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_texts([row[i] for row in rows]) for i in at], names=columns)


def _texts(cells: list[str]) -> pa.Array:
    try:
        array = pa.array(cells, pa.string())
    except UnicodeEncodeError:
        array = None
    if array is None:
        array = pa.array([clean_text(cell) for cell in cells], pa.string())
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def _unpacks(path: str) -> bool:
    try:
        with gzip.open(path, "rb") as file:
            while file.read(_CHUNK):
                pass
    except Exception:
        return False
    return True


__all__ = ["CsvSource"]

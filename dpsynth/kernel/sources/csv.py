"""Rows of a CSV file, plain or gzipped. Every cell is text, so that a column's type never varies by batch.

**One line is one row, read by itself.** A privacy guarantee needs rows that cannot touch each other, so nothing
in a line may change how another is read. A quote never reaches beyond its line; cells with line breaks are
therefore not supported (Parquet holds them). A line that does not have one field for each column, that leaves a
quote open, or that is too long (1 MiB, 128 KiB a cell) is a row of nulls; an empty line is none. Bytes that are
not UTF-8 make a cell that does not read. Lines end in LF or CR LF; a carriage return elsewhere is a space.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, ClassVar, cast, final

import pyarrow as pa
import pyarrow.compute as pc

from dpsynth.errors import SourceError
from dpsynth.kernel.sources.base import BATCH, Source, guarded
from dpsynth.text import clean_text

_LONGEST_LINE = 1 << 20
"""In bytes."""

_LONGEST_CELL = 1 << 17
"""In characters; what the csv module allows unless another library raised its limit for the whole process."""

_CHUNK = 1 << 18
_ROWS = 2048
"""Rows turned into columns at a time: few enough to stay in the processor's cache."""

_BOM = b"\xef\xbb\xbf"


@final
class CsvSource(Source):
    """A CSV file with a header line. A gzipped one is read through once at the start, to find it complete.

    A name that the header has twice, or a header that does not read, is no error here: what is said must not
    depend on the first line, which may hold cells. Such columns are just not there.

    Raises:
        SourceError: it cannot be read, or has no line.
    """

    column_hint: ClassVar[str] = " (columns of a CSV file are separated by commas, and its first line names them)"

    def __init__(self, path: str) -> None:
        self._path = path
        self._packed = path.lower().endswith(".gz")
        if self._packed and not _unpacks(path):
            raise SourceError(f"{path!r} is not a complete gzip file; write it again or correct its suffix")
        header = None
        try:
            with self._open() as file:
                header = next(_records(file), None)
        except Exception:
            header = None
        if header is None:
            raise SourceError(f"{path!r} has no header line; the first line of a CSV file names its columns")
        self._header = [name.strip() for name in header]
        self._columns = tuple(name for name, times in Counter(self._header).items() if times == 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names that occur once."""
        return self._columns

    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order; see `Source.batches`."""
        return guarded(self._batches(list(columns), size))

    def _open(self) -> BinaryIO:
        return cast(BinaryIO, gzip.open(self._path, "rb")) if self._packed else open(self._path, "rb")

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        at = [self._header.index(name) for name in columns]
        width = len(self._header)
        nulls = [""] * width
        with self._open() as file:
            lines = _records(file)
            next(lines, None)
            records = (row if len(row) == width else nulls for row in lines)
            while True:
                parts = []
                for start in range(0, size, _ROWS):
                    rows = list(islice(records, min(_ROWS, size - start)))
                    if rows:
                        parts.append(_part(rows, at, columns))
                if not parts:
                    return
                yield from pa.Table.from_batches(parts).combine_chunks().to_batches()


def _records(file: BinaryIO) -> Iterator[list[str]]:
    """The fields of each line that is not empty; none of a line that does not read."""
    for line in _lines(file):
        if len(line) > _LONGEST_LINE:
            yield []
            continue
        text = line.decode("utf-8", "surrogateescape").removesuffix("\r")
        if text:
            yield _fields(text.replace("\r", " ") if "\r" in text else text)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines as they are, without their LF. One that is too long is cut off, still too long."""
    held, chunk = b"", file.read(_CHUNK).removeprefix(_BOM)
    while chunk:
        lines = chunk.split(b"\n")
        lines[0] = held + lines[0]
        held = lines.pop()[: _LONGEST_LINE + 1]
        yield from lines
        chunk = file.read(_CHUNK)
    yield held


def _fields(line: str) -> list[str]:
    """The fields of one line; none if it leaves a quote open or holds a cell that is too long."""
    if '"' not in line:
        fields = line.split(",")
    else:
        try:
            reader = csv.reader((line, ""))
            fields = next(reader)
        except csv.Error:
            return []
        if reader.line_num > 1:  # it asked for a second line: a quote is open
            return []
    if len(line) > _LONGEST_CELL and max(map(len, fields)) > _LONGEST_CELL:
        return []
    return fields


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

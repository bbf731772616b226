"""A source: the kernel's only way to rows. It gives column names (structure) and batches (rows), no more.

Everything that can be wrong with a table's structure is found by `open_source` and `check_structure`, before
anything is charged. No value ever changes what happens: a cell nobody can read arrives as one that does not
read. Errors are raised outside any ``except`` block, so that no library message, which may quote a cell, is
kept in ``__context__``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from dpsynth.errors import SourceError
from dpsynth.schema import Schema

BATCH = 65_536
"""Rows in a batch, unless asked otherwise."""


class Source(ABC):
    """A table that can be read from its first row to its last, as often as needed."""

    column_hint: ClassVar[str] = ""
    """How such a file holds its columns, for whoever misses one; the same whatever the file holds."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The column names, all different."""

    @abstractmethod
    def batches(self, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, in order, with the given columns alone.

        Args:
            columns: some of `Source.columns`.
            size: rows in a batch at most.

        Raises:
            SourceError: the table can no longer be read.
        """


def check_structure(source: Source, schema: Schema) -> None:
    """The source has the unit column and every column the schema declares, each once.

    Raises:
        SourceError: it has not. The message names the schema's columns, never the source's, and does not hint at
            what the source has instead: the first line of a file without a header holds cells.
    """
    present = set(source.columns)
    wanted = [*([schema.unit] if schema.unit is not None else []), *schema.names]
    lacking = [name for name in wanted if name not in present]
    if not lacking:
        return
    what = "the unit column" if lacking == [schema.unit] else "column" if len(lacking) == 1 else "columns"
    raise SourceError(
        f"the table lacks {what} {', '.join(repr(name) for name in lacking)}, which the schema declares, or has more "
        "than one of that name; names must agree to the letter: rename the table's columns or correct the schema"
        f"{source.column_hint}"
    )


def unique_names(names: Sequence[object]) -> tuple[str, ...]:
    """Column names as text, all different.

    Args:
        names: as the table has them, text or whole numbers.

    Raises:
        SourceError: a name is something else, or occurs twice. It is not quoted: it may have been a cell.
    """
    for at, name in enumerate(names, start=1):
        if not isinstance(name, (str, int)):
            raise SourceError(f"the name of column {at} is not text but {type(name).__name__}; rename it")
    found = tuple(str(name) for name in names)
    if len(set(found)) < len(found):
        raise SourceError("two columns of the table have the same name; rename one of them")
    return found


def names_in(path: str, kind: str, read: Callable[[], Sequence[str]]) -> tuple[str, ...]:
    """The column names that `read` finds in a file.

    Raises:
        SourceError: `read` fails, so the file is no `kind`; or two columns have the same name.
    """
    names = None
    try:
        names = read()
    except Exception:  # dropped: a library's text may quote what it found
        names = None
    if names is None:
        raise SourceError(f"{path!r} is not {kind} file; write it again or correct its suffix")
    return unique_names(names)


def guarded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches; whatever a library raises on the way becomes one bare `SourceError`."""
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except Exception:
            batch = None
        if batch is None:
            raise SourceError("the table could not be read to its end; check that its file is complete")
        yield batch


__all__ = ["BATCH", "Source", "check_structure", "guarded", "names_in", "unique_names"]

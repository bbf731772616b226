"""The store: the ledger's rows in one append-only table. It knows rows as text, no budget and no key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, final

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, select

from accountants.errors import LedgerCorrupt, LedgerError
from accountants.ledger.address import open_database
from accountants.ledger.database import Layout
from accountants.ledger.lock import RunLock
from accountants.ledger.rows import Row

_ROWS = Table(
    "ledger_rows",
    MetaData(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("account", "kind", "text", "prev", "hash", "signature", "key_id")
    ),
)
LAYOUT = Layout("ledger", _ROWS, version=1, rule="append")
_PAGE = 2000
"""Rows fetched at a time, so that a long ledger is never in memory as a whole."""


@final
class Store:
    """Rows in a database.

    Args:
        url: see `open_database`.
        make: whether to make what is not there.

    Raises:
        LedgerError, LedgerBusy: it cannot be used; or it is not there, and not to be made.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self.database = open_database(url, LAYOUT, make=make)
        if not self.database.present:
            raise LedgerError(
                f"there is no ledger at {self.place}; open an account with `dpsynth ledger open NAME --epsilon 3 "
                "--delta 1e-8`, which makes it, or name another with --ledger, $DPSYNTH_LEDGER or $DPSYNTH_HOME"
            )

    @property
    def place(self) -> str:
        """Where the ledger is, for messages."""
        return self.database.place

    @property
    def in_memory(self) -> bool:
        """Whether it ends with this process."""
        return self.database.in_memory

    def read(self) -> AbstractContextManager[Connection]:
        """One consistent view of the rows, see `Database.read`."""
        return self.database.read()

    def write(self) -> AbstractContextManager[Connection]:
        """The one write transaction there is at a time, see `Database.write`."""
        return self.database.write()

    def run_lock(self, dataset: str) -> RunLock:
        """A new handle on the dataset's run lock."""
        return self.database.run_lock(dataset)

    def after(self, connection: Connection, seq: int) -> Iterator[Row]:
        """Rows with a higher number than `seq`, in order."""
        page = _PAGE
        while page == _PAGE:
            page = 0
            statement = select(_ROWS).where(_ROWS.c.seq > seq).order_by(_ROWS.c.seq).limit(_PAGE)
            for record in connection.execute(statement).all():
                row = _row(tuple(record))
                seq, page = row.seq, page + 1
                yield row

    def hash_at(self, connection: Connection, seq: int) -> str | None:
        """The hash that row `seq` carries, None where there is no such row."""
        found: str | None = connection.execute(select(_ROWS.c.hash).where(_ROWS.c.seq == seq)).scalar_one_or_none()
        return found

    def insert(self, connection: Connection, row: Row) -> None:
        """Append one row inside a `write`."""
        connection.execute(_ROWS.insert().values(**asdict(row)))


def _row(record: tuple[Any, ...]) -> Row:
    seq, *texts = record
    if not all(isinstance(text, str) for text in texts):
        raise LedgerCorrupt(f"ledger row {seq} cannot be trusted: a field of it is not text; restore it from a backup")
    return Row(seq, *texts)

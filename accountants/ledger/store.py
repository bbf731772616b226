"""The store: one append-only table in SQLite. It knows transactions and rows as text, no budget and no key."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, create_engine, event, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from accountants.errors import LedgerBusy, LedgerCorrupt, LedgerError
from accountants.ledger.lock import FileLock, MemoryLock, RunLock
from accountants.ledger.rows import Row

BUSY_SECONDS = 5.0
SCHEMA_VERSION = 1

_METADATA = MetaData()
_ROWS = Table(
    "ledger_rows",
    _METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("account", "kind", "text", "prev", "hash", "signature", "key_id")
    ),
)
# Against mistakes with other tools; an attacker drops the triggers first, and the chain tells. The third one
# also stops INSERT OR REPLACE, which deletes without firing a delete trigger.
_TRIGGERS = (
    """CREATE TRIGGER IF NOT EXISTS ledger_no_update BEFORE UPDATE ON ledger_rows
       BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_no_delete BEFORE DELETE ON ledger_rows
       BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_next_only BEFORE INSERT ON ledger_rows
       WHEN NEW.seq != 1 + (SELECT coalesce(max(seq), 0) FROM ledger_rows)
       BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only'); END""",
)


@final
class Store:
    """Rows in a SQLite file (WAL, ``synchronous=FULL``), or in memory for one process.

    Args:
        url: ``sqlite:///path.db`` or ``sqlite://``.

    Raises:
        LedgerError: another URL, no such folder, a file that is not a ledger or is newer, a read-only place.
        LedgerBusy: another program holds the file.
    """

    def __init__(self, url: str) -> None:
        self.path = _path(url)
        self._pid = os.getpid()
        self._locks: dict[str, threading.Lock] = {}
        self._engine = self._connectable()
        with _translated(self.place):
            self._prepare()

    @property
    def place(self) -> str:
        """Where the ledger is, for messages."""
        return "in memory" if self.path is None else str(self.path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the rows.

        Raises:
            LedgerError, LedgerBusy, LedgerCorrupt: the store fails.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The one write transaction there is at a time; it commits when the block ends and is undone if it raises.

        Raises:
            LedgerError, LedgerBusy, LedgerCorrupt: the store fails; nothing was written.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def after(self, connection: Connection, seq: int) -> Iterator[Row]:
        """Rows with a higher number than `seq`, in order."""
        statement = select(_ROWS).where(_ROWS.c.seq > seq).order_by(_ROWS.c.seq)
        for record in connection.execute(statement):
            yield _row(tuple(record))

    def hash_at(self, connection: Connection, seq: int) -> str | None:
        """The hash that row `seq` carries, None where there is no such row."""
        found: str | None = connection.execute(select(_ROWS.c.hash).where(_ROWS.c.seq == seq)).scalar_one_or_none()
        return found

    def insert(self, connection: Connection, row: Row) -> None:
        """Append one row inside a `write`."""
        connection.execute(_ROWS.insert().values(**asdict(row)))

    def run_lock(self, dataset: str) -> RunLock:
        """A new handle on the dataset's run lock."""
        if self.path is None:
            return MemoryLock(self._locks.setdefault(dataset, threading.Lock()))
        return FileLock(self.path.with_name(f"{self.path.name}.{dataset}.lock"))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        if self.path is None and os.getpid() != self._pid:
            raise LedgerError("a ledger in memory belongs to the process that made it; use a file for several")
        with _translated(self.place), self._engine.connect() as connection:
            connection.exec_driver_sql(begin)
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # What is in doubt is undone; after a COMMIT that went through there is nothing to undo.
                if connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def _connectable(self) -> Engine:
        # One connection a transaction: nothing to carry over a fork, nothing left open. In memory, the one there is.
        pool = StaticPool if self.path is None else NullPool
        engine = create_engine(
            URL.create("sqlite", database=None if self.path is None else str(self.path)),
            poolclass=pool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _pragmas(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA trusted_schema=OFF")

        return engine

    def _prepare(self) -> None:
        """Make the table where there is nothing yet; refuse whatever is not a ledger."""
        with self.read() as connection:
            present = self._present(connection)
        if present:
            return
        with self._engine.connect() as connection:
            _set_wal(connection)
        with self.write() as connection:
            if not self._present(connection):
                _METADATA.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
            for trigger in _TRIGGERS:
                connection.exec_driver_sql(trigger)

    def _present(self, connection: Connection) -> bool:
        """Whether a ledger of ours is there, complete.

        Raises:
            LedgerError: something else is.
        """
        names = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if not names and version == 0:
            return False
        if _ROWS.name not in names:
            raise LedgerError(f"{self.place} is a database but not a ledger; name another file with --ledger")
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {self.place} has layout {version}, this dpsynth reads layout {SCHEMA_VERSION}; "
                "upgrade dpsynth"
            )
        return names >= {"ledger_no_update", "ledger_no_delete", "ledger_next_only"}


def _path(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerError(f"{url!r} is not a ledger address; use sqlite:///path/to/ledger.db") from None
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite") or parsed.query or parsed.host:
        shown = parsed.render_as_string(hide_password=True)
        raise LedgerError(f"ledgers are kept in SQLite, got {shown!r}; use sqlite:///path/to/ledger.db")
    if parsed.database in (None, "", ":memory:"):
        return None
    path = Path(os.path.realpath(str(parsed.database)))  # one name for all links, and so one run lock
    if not path.parent.is_dir():
        raise LedgerError(f"the folder {path.parent} of the ledger does not exist; make it first")
    if path.is_dir():
        raise LedgerError(f"the ledger {path} is a folder; name a file in it")
    return path


def _set_wal(connection: Connection) -> None:
    # Changing the journal mode does not wait for other connections as everything else does.
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
            return
        except DBAPIError as error:
            if _code(error) != "SQLITE_BUSY" or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _row(record: tuple[Any, ...]) -> Row:
    seq, *texts = record
    if not all(isinstance(text, str) for text in texts):
        raise LedgerCorrupt(f"ledger row {seq} cannot be trusted: a field of it is not text; restore it from a backup")
    return Row(seq, *texts)


def _code(error: DBAPIError) -> str:
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into ours: one sentence, no statement, no traceback of the driver."""
    try:
        yield
    except DBAPIError as error:
        raise _meaning(_code(error), place) from None


def _meaning(code: str, place: str) -> LedgerError:
    match code:
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return LedgerBusy(
                f"the ledger {place} is locked by another program for more than {BUSY_SECONDS:g} s; "
                "nothing was charged, try again when it is done"
            )
        case "SQLITE_NOTADB":
            return LedgerError(f"{place} is not a ledger (not an SQLite file); name another file with --ledger")
        case "SQLITE_CORRUPT":
            return LedgerCorrupt(f"the ledger file {place} is damaged; restore it from a backup")
        case "SQLITE_READONLY" | "SQLITE_CANTOPEN" | "SQLITE_PERM" | "SQLITE_AUTH":
            return LedgerError(f"cannot write the ledger {place}; the file and its folder must be writable by you")
        case "SQLITE_FULL" | "SQLITE_IOERR":
            return LedgerError(f"the disk refused to store the ledger {place} ({code}); free some space and try again")
        case "SQLITE_CONSTRAINT":
            return LedgerError(f"the ledger {place} is append-only and refused a change; nothing was written")
    return LedgerError(f"the ledger {place} cannot be used ({code or 'unknown database error'}); nothing was written")

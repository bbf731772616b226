"""SQLite: a file in WAL mode with ``synchronous=FULL``, or memory for one process."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from accountants.errors import LedgerBusy, LedgerCorrupt, LedgerError
from accountants.ledger import database
from accountants.ledger.database import Database, Layout
from accountants.ledger.lock import FileLock, MemoryLock, RunLock

# The third trigger of each also stops INSERT OR REPLACE, which deletes without firing a delete trigger.
_GUARDS = {
    "append": {
        "ledger_no_update": "BEFORE UPDATE ON {table}",
        "ledger_no_delete": "BEFORE DELETE ON {table}",
        "ledger_next_only": "BEFORE INSERT ON {table} WHEN NEW.seq != 1 + (SELECT coalesce(max(seq), 0) FROM {table})",
    },
    "forward": {
        "anchor_forward": "BEFORE UPDATE ON {table} WHEN NEW.seq <= OLD.seq",
        "anchor_no_delete": "BEFORE DELETE ON {table}",
        "anchor_one_row": "BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table})",
    },
}
_SAYS = {"append": "ledger rows are append-only", "forward": "an anchor only moves forward"}


@final
class SQLite(Database):
    """One file for one layout, with one connection a transaction: nothing to carry over a fork, nothing left open.

    Args:
        url: ``sqlite:///path.db`` or ``sqlite://``.
        layout: what it holds.
        make: whether to make what is not there.

    Raises:
        LedgerError: no such folder, a file that holds something else or a newer layout, a read-only place.
        LedgerBusy: another program holds the file.
    """

    def __init__(self, url: URL, layout: Layout, *, make: bool = True) -> None:
        self.layout = layout
        self.path = _path(url, layout, make)
        self.place = "in memory" if self.path is None else str(self.path)
        self._pid = os.getpid()
        self._locks: dict[str, threading.Lock] = {}
        self._engine = self._connectable()
        make = make or self.path is None
        self.present = make or self._there()
        if make:
            self._prepare()

    @property
    def in_memory(self) -> bool:
        """As `Database`."""
        return self.path is None

    @property
    def identity(self) -> str:
        """As `Database`: the file's number, whatever links lead to it."""
        if self.path is None or not self.path.exists():
            return f"nothing yet at {self.place}"
        found = self.path.stat()
        return f"{found.st_dev} {found.st_ino}"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As `Database`."""
        self._own()
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As `Database`."""
        self._own()
        with self._transaction("BEGIN IMMEDIATE", writes=True) as connection:
            yield connection

    def run_lock(self, name: str) -> RunLock:
        """As `Database`: ``flock`` on a file beside the database."""
        if self.path is None:
            return MemoryLock(self._locks.setdefault(name, threading.Lock()))
        return FileLock(self.path.with_name(f"{self.path.name}.{name}.lock"))

    def _own(self) -> None:
        if self.path is None and os.getpid() != self._pid:
            raise LedgerError(
                f"a {self.layout.noun} in memory belongs to the process that made it; use a file for several"
            )

    def _unfinished(self, connection: Connection) -> bool:
        driver: Any = connection.connection.driver_connection
        return bool(driver.in_transaction)

    def _connectable(self) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=None if self.path is None else str(self.path)),
            poolclass=StaticPool if self.path is None else NullPool,  # in memory: the one connection there is
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"timeout": database.BUSY_SECONDS, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _pragmas(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA trusted_schema=OFF")

        return engine

    def _there(self) -> bool:
        """Whether the file is there and holds the table; connecting alone would make it."""
        if self.path is None or not self.path.exists():
            return self.path is None
        with self.read() as connection:
            return self.layout.table.name in self._names(connection)

    def _prepare(self) -> None:
        """Make table and triggers where they are not yet; refuse whatever else is there."""
        layout = self.layout
        with self.read() as connection:
            names = self._names(connection)
        if names >= {layout.table.name, *_GUARDS[layout.rule]}:
            return
        self._set_wal()
        with self.write() as connection:
            if layout.table.name not in self._names(connection):
                layout.table.create(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={layout.version}")
            for name, when in _GUARDS[layout.rule].items():
                connection.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS {name} {when.format(table=layout.table.name)} "
                    f"BEGIN SELECT RAISE(ABORT, '{_SAYS[layout.rule]}'); END"
                )

    def _names(self, connection: Connection) -> set[str]:
        """What the file holds: nothing yet, or our layout.

        Raises:
            LedgerError: something else.
        """
        layout = self.layout
        names = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if not names and version == 0:
            return names
        if layout.table.name not in names:
            raise LedgerError(
                f"{self.place} is a database but no {layout.noun}; name another file with {layout.option}"
            )
        if version != layout.version:
            raise LedgerError(
                f"the {layout.noun} {self.place} has layout {version}, this dpsynth reads layout {layout.version}; "
                "upgrade dpsynth"
            )
        return names

    def _set_wal(self) -> None:
        # Changing the journal mode does not wait for other connections as everything else does.
        until = time.monotonic() + database.BUSY_SECONDS
        while True:
            try:
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
                return
            except DBAPIError as error:
                if _code(error) != "SQLITE_BUSY" or time.monotonic() > until:
                    raise self._meaning(error, committing=False) from None
                time.sleep(0.02)

    def _meaning(self, error: DBAPIError, *, committing: bool) -> LedgerError:
        """As `Database`. A COMMIT that fails is rolled back, so nothing is ever in doubt."""
        noun, place, code = self.layout.noun, self.place, _code(error)
        match code:
            case "SQLITE_BUSY" | "SQLITE_LOCKED":
                return LedgerBusy(
                    f"the {noun} {place} is locked by another program for more than {database.BUSY_SECONDS:g} s; "
                    "nothing was charged, try again when it is done"
                )
            case "SQLITE_NOTADB":
                return LedgerError(
                    f"{place} is no {noun} (not an SQLite file); name another file with {self.layout.option}"
                )
            case "SQLITE_CORRUPT":
                return LedgerCorrupt(f"the {noun} file {place} is damaged; restore it from a backup")
            case "SQLITE_READONLY" | "SQLITE_CANTOPEN" | "SQLITE_PERM" | "SQLITE_AUTH":
                return LedgerError(f"cannot write the {noun} {place}; the file and its folder must be writable by you")
            case "SQLITE_FULL" | "SQLITE_IOERR":
                return LedgerError(
                    f"the disk refused to store the {noun} {place} ({code}); free some space and try again"
                )
            case "SQLITE_CONSTRAINT":
                return LedgerError(
                    f"the {noun} {place} refused a change ({_SAYS[self.layout.rule]}); nothing was written"
                )
        return LedgerError(
            f"the {noun} {place} cannot be used ({code or 'unknown database error'}); nothing was written"
        )


def _path(url: URL, layout: Layout, make: bool) -> Path | None:
    if url.query or url.host:
        raise LedgerError(
            "an SQLite address names a file and nothing else, no host and no options; use sqlite:///path/to/file.db"
        )
    if url.database in (None, "", ":memory:"):
        return None
    path = Path(os.path.realpath(str(url.database)))  # one name for all links, and so one run lock
    if make and not path.parent.is_dir():
        raise LedgerError(f"the folder {path.parent} of the {layout.noun} does not exist; make it first")
    if path.is_dir():
        raise LedgerError(f"the {layout.noun} {path} is a folder; name a file in it")
    return path


def _code(error: DBAPIError) -> str:
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])

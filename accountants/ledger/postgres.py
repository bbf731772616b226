"""PostgreSQL: one table in a schema, for a team whose sessions run on several machines.

Locks are advisory, so that a role needs no more than SELECT and INSERT: one transaction lock for writing, one
session lock for each running dataset, which the server frees when the connection of its process ends.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, final

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from accountants.errors import LedgerBusy, LedgerCorrupt, LedgerError
from accountants.ledger import database
from accountants.ledger.database import Database, Layout
from accountants.ledger.lock import RunLock

if TYPE_CHECKING:
    import psycopg

_RAISE = "RAISE integrity_constraint_violation USING MESSAGE ="
_APPEND, _FORWARD = f"{_RAISE} 'ledger rows are append-only'", f"{_RAISE} 'an anchor only moves forward'"
# By name: when the trigger fires, and the body of its function.
_GUARDS = {
    "append": {
        "ledger_no_change": (
            "BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT",
            f"BEGIN {_APPEND}; END",
        ),
        "ledger_next_only": (
            "BEFORE INSERT ON {table} FOR EACH ROW",
            f"""DECLARE last bigint; BEGIN
                EXECUTE 'SELECT coalesce(max(seq), 0) FROM ' || TG_RELID::regclass INTO last;
                IF NEW.seq <> last + 1 THEN {_APPEND}; END IF; RETURN NEW; END""",
        ),
    },
    "forward": {
        "anchor_forward": (
            "BEFORE UPDATE ON {table} FOR EACH ROW",
            f"BEGIN IF NEW.seq <= OLD.seq THEN {_FORWARD}; END IF; RETURN NEW; END",
        ),
        "anchor_no_delete": ("BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT", f"BEGIN {_FORWARD}; END"),
        "anchor_one_row": (
            "BEFORE INSERT ON {table} FOR EACH ROW",
            f"""DECLARE standing boolean; BEGIN
                EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || TG_RELID::regclass || ')' INTO standing;
                IF standing THEN {_FORWARD}; END IF; RETURN NEW; END""",
        ),
    },
}
_IDENTITY = """SELECT concat(extract(epoch FROM pg_postmaster_start_time()), ' ', oid) FROM pg_database
               WHERE datname = current_database()"""
_SHAPE = """SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
            WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_ENABLED = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgenabled IN ('O', 'A')"
_SCHEMA = """SELECT coalesce((SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                              WHERE pg_class.oid = to_regclass(%s)), current_schema())"""


@final
class PostgreSQL(Database):
    """One schema of a database, with one connection a transaction: nothing to carry over a fork.

    The table is looked for, and made, along the role's ``search_path``; other tables there are nobody's business.

    Args:
        url: ``postgresql://user@host/database``; a password is better kept in ``~/.pgpass``.
        layout: what it holds.
        make: whether to make what is not there.

    Raises:
        LedgerError: no psycopg, no server, no right to the table, a table of that name with another layout.
        LedgerBusy: another program holds the write lock.
    """

    def __init__(self, url: URL, layout: Layout, *, make: bool = True) -> None:
        self.layout = layout
        self.place = URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()
        try:
            self._engine: Engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                connect_args={"connect_timeout": 10, "client_encoding": "utf8"},
            )
        except ModuleNotFoundError:
            raise LedgerError(
                f"a {layout.noun} in PostgreSQL needs psycopg; run `pip install 'dpsynth[postgres]'`"
            ) from None
        self._url = self._engine.url
        self._schema = self._find_schema()
        self._engine = self._engine.execution_options(schema_translate_map={None: self._schema})
        if make:
            self._prepare()
            self.present = True
        else:
            with self.read() as connection:
                self.present = self._present(connection)

    @property
    def in_memory(self) -> bool:
        """As `Database`."""
        return False

    @property
    def identity(self) -> str:
        """As `Database`: when its server started, to the microsecond, and the database's number there."""
        with self._transaction("BEGIN READ ONLY") as connection:
            return str(connection.exec_driver_sql(_IDENTITY).scalar_one())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As `Database`."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As `Database`. Under the lock, every statement sees all that was committed before it."""
        begin = (
            "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
            f"SET LOCAL lock_timeout = {round(1000 * database.BUSY_SECONDS)}",
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
            f"SELECT pg_advisory_xact_lock({self._lock_key('write')})",
        )
        with self._transaction(*begin, writes=True) as connection:
            yield connection
            if _status(connection) == "INERROR":  # a COMMIT would then roll back, and say so to nobody
                raise LedgerError(f"the {self.layout.noun} {self.place} refused a statement; nothing was written")

    def run_lock(self, name: str) -> RunLock:
        """As `Database`: an advisory lock on a connection of its own."""
        return ServerLock(self._connect, self._lock_key(f"run {name}"), self._told)

    def _lock_key(self, what: str) -> int:
        """The same in every process and after a restore; 64 bits of a digest, so that no two meet by chance."""
        text = f"dpsynth {self._schema}.{self.layout.table.name} {what}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection outside any pool: the driver, unlike a pool, knows not to close it in a forked child."""
        dialect = self._engine.dialect
        positional, named = dialect.create_connect_args(self._url)
        made: Any = dialect.connect(*positional, **{"connect_timeout": 10, **named})
        made.autocommit = True
        return made  # type: ignore[no-any-return]

    def _unfinished(self, connection: Connection) -> bool:
        return _status(connection) in ("INTRANS", "INERROR")

    def _find_schema(self) -> str:
        with self.read() as connection:
            schema = connection.exec_driver_sql(_SCHEMA, (self.layout.table.name,)).scalar_one()
        if schema is None:
            raise LedgerError(
                f"{self.place} has no schema for the {self.layout.noun}: none on the role's search_path exists; "
                "make one"
            )
        return str(schema)

    @property
    def _table(self) -> str:
        """The table's name as SQL, schema and all."""
        quote = self._engine.dialect.identifier_preparer.quote
        return f"{quote(self._schema)}.{quote(self.layout.table.name)}"

    def _prepare(self) -> None:
        """Make table and triggers where they are not yet; refuse a table of another layout."""
        with self.read() as connection:
            if self._present(connection) and self._guarded(connection):
                return
        with self.write() as connection:
            if not self._present(connection):
                self.layout.table.create(connection)
                connection.exec_driver_sql(f"COMMENT ON TABLE {self._table} IS '{self._mark(self.layout.version)}'")
            if not self._guarded(connection):
                self._guard(connection)

    def _mark(self, version: object) -> str:
        return f"dpsynth {self.layout.noun}, layout {version}"

    def _present(self, connection: Connection) -> bool:
        """Whether the table is there.

        Raises:
            LedgerError: a table of that name is, with another layout.
        """
        noun, table = self.layout.noun, self.layout.table
        shape = [tuple(column) for column in connection.exec_driver_sql(_SHAPE, (self._table,))]
        if not shape:
            return False
        mark = connection.exec_driver_sql(
            "SELECT obj_description(to_regclass(%s), 'pg_class')", (self._table,)
        ).scalar_one()
        if mark == self._mark(self.layout.version) and shape == [
            (column.name, str(column.type).lower(), True) for column in table.columns
        ]:
            return True
        version = str(mark).removeprefix(self._mark(""))
        if version.isdecimal() and mark != self._mark(self.layout.version):
            raise LedgerError(
                f"the {noun} {self.place} has layout {version}, this dpsynth reads layout {self.layout.version}; "
                "upgrade dpsynth"
            )
        raise LedgerError(
            f"{self.place} has a table {table.name} that is no {noun} of ours (its columns or its comment differ); "
            f"name another database or schema with {self.layout.option}"
        )

    def _guarded(self, connection: Connection) -> bool:
        enabled = set(connection.exec_driver_sql(_ENABLED, (self._table,)).scalars())
        return enabled >= set(_GUARDS[self.layout.rule])

    def _guard(self, connection: Connection) -> None:
        quote = self._engine.dialect.identifier_preparer.quote
        for name, (when, body) in _GUARDS[self.layout.rule].items():
            function = f"{quote(self._schema)}.{name}()"
            for statement in (
                f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $guard$ {body} $guard$",
                f"DROP TRIGGER IF EXISTS {name} ON {self._table}",
                f"CREATE TRIGGER {name} {when.format(table=self._table)} EXECUTE FUNCTION {function}",
                f"ALTER TABLE {self._table} ENABLE ALWAYS TRIGGER {name}",
            ):
                connection.exec_driver_sql(statement)

    def _meaning(self, error: DBAPIError, *, committing: bool) -> LedgerError:
        return self._told(error.orig, committing=committing)

    def _told(self, error: Any, *, committing: bool = False) -> LedgerError:
        """One sentence for a psycopg error; its own text may quote a statement, a host or a row."""
        noun, place, code = self.layout.noun, self.place, getattr(error, "sqlstate", None) or ""
        if committing:
            return LedgerError(
                f"the connection to the {noun} {place} broke while it was committing: what was being written may or "
                "may not stand, and nothing was run on it; see `dpsynth ledger show`, and void what you do not use"
            )
        match code:
            case "55P03" | "57014" | "40P01" | "40001":
                return LedgerBusy(
                    f"the {noun} {place} is locked by another program for more than {database.BUSY_SECONDS:g} s; "
                    "nothing was charged, try again when it is done"
                )
            case "53300" | "57P03":
                return LedgerBusy(
                    f"the server of the {noun} {place} takes no connection now; nothing was charged, try again"
                )
            case "42501":
                return LedgerError(
                    f"the role may not do this on the {noun} {place} (it needs SELECT and INSERT on the rows, UPDATE "
                    "on an anchor, and the schema's owner makes the table by opening it once); nothing was written"
                )
            case "25006":
                return LedgerError(f"the server of the {noun} {place} is read only (a standby?); nothing was written")
            case "53100" | "53200" | "58030":
                return LedgerError(
                    f"the server refused to store the {noun} {place} ({code}); free some space and try again"
                )
            case "XX001" | "XX002":
                return LedgerCorrupt(f"the {noun} {place} is damaged on the server ({code}); restore it from a backup")
        match code[:2]:
            case "23":
                return LedgerError(f"the {noun} {place} refused a change (rows are append-only); nothing was written")
            case "3D":
                return _no_database(noun, place)
            case "28":
                return _no_login(noun, place)
            case "" | "08" | "57":
                return _unconnected(error, noun, place)
        return LedgerError(f"the {noun} {place} cannot be used ({code}); nothing was written")


def _unconnected(error: Any, noun: str, place: str) -> LedgerError:
    """A connection that was not made has no code; where the server answered, its words (in English) tell why."""
    said = str(error)
    if re.search(r'FATAL:  database ".*" does not exist', said):
        return _no_database(noun, place)
    if re.search(r'FATAL:  (password authentication failed|role ".*" does not exist|no pg_hba.conf entry)', said):
        return _no_login(noun, place)
    if "no password supplied" in said:
        return _no_login(noun, place)
    return LedgerError(
        f"the server of the {noun} {place} cannot be reached, refuses the login, or broke the connection; "
        "nothing was written, check the address, the password and the server"
    )


def _no_database(noun: str, place: str) -> LedgerError:
    return LedgerError(
        f"the server of the {noun} {place} is there, that database is not; make it first (`createdb`), or correct its "
        "name in the address; nothing was written"
    )


def _no_login(noun: str, place: str) -> LedgerError:
    return LedgerError(
        f"the server of the {noun} {place} refuses the login; check user and password (best kept in ~/.pgpass); "
        "nothing was written"
    )


def _status(connection: Connection) -> str:
    if connection.invalidated:
        return "UNKNOWN"
    driver: Any = connection.connection.driver_connection
    return str(driver.info.transaction_status.name)


_INHERITED: list[Any] = []
"""Connections of a parent process. They are kept, not closed: closing would say goodbye on the parent's socket."""


@final
class ServerLock:
    """A session-level advisory lock. The server frees it when the connection ends, however that comes."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], key: int, told: Callable[[Any], LedgerError]
    ) -> None:
        self._connect, self._key, self._told = connect, key, told
        self._pid = os.getpid()
        self._connection: psycopg.Connection[Any] | None = None

    def acquire(self, wait: float = 0.0) -> bool:
        """As `RunLock`.

        Raises:
            LedgerError: the server cannot be asked.
        """
        connection = None
        until = time.monotonic() + wait
        try:
            connection = self._connect()
            # The server ends no idle session of ours by itself, but notices within a minute that a machine is gone.
            connection.execute(
                "SELECT set_config(name, value, false) FROM (VALUES ('idle_session_timeout', '0'), "
                "('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3')) "
                "AS wanted(name, value) WHERE current_setting(name, true) IS NOT NULL"
            )
            while not self._try(connection):
                if time.monotonic() >= until:
                    connection.close()
                    return False
                time.sleep(0.02)
        except Exception as error:
            if connection is not None:
                connection.close()
            if not hasattr(error, "sqlstate"):
                raise
            raise self._told(error) from None
        self._connection = connection
        return True

    def _try(self, connection: psycopg.Connection[Any]) -> bool:
        found = connection.execute("SELECT pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        return bool(found and found[0])

    def release(self) -> None:
        """As `RunLock`."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if os.getpid() != self._pid:
            _INHERITED.append(connection)
            return
        try:
            connection.execute("SELECT pg_advisory_unlock(%s)", (self._key,))  # closing alone frees it a little later
        except Exception as error:
            if not hasattr(error, "sqlstate"):
                raise
        finally:
            connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.release()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run lock is not pickled or copied")

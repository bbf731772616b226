"""Where a test keeps a ledger or an anchor: SQLite or PostgreSQL behind one face, and an attacker's hand on either."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.postgres import SUPERUSER, Server

LEDGERS, ANCHORS = "ledgers", "anchors"
_numbers = itertools.count()


class Raw:
    """Another program on the database: statements with ``?``, each committed at once."""

    def __init__(self, connection: Any, mark: str) -> None:
        self._connection, self._mark = connection, mark

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        return self._connection.execute(statement.replace("?", self._mark), parameters)

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self._connection.cursor().executemany(statement.replace("?", self._mark), rows)


class Place:
    """A database of one test.

    Attributes:
        kind: ``sqlite`` or ``postgresql``.
        url: its address.
        refused: what the driver raises where a trigger refuses.
    """

    kind: str
    url: str
    refused: type[Exception]

    def raw(self) -> contextlib.AbstractContextManager[Raw]:
        raise NotImplementedError

    def drop_guards(self, raw: Raw) -> None:
        raise NotImplementedError

    def rows(self) -> list[tuple[Any, ...]]:
        """A backup of the ledger."""
        with self.raw() as raw:
            return [tuple(row) for row in raw.execute("SELECT * FROM ledger_rows ORDER BY seq").fetchall()]

    def load(self, rows: list[tuple[Any, ...]]) -> None:
        """Put a backup in the place of what is there."""
        with self.raw() as raw:
            self.drop_guards(raw)
            raw.execute("DELETE FROM ledger_rows")
            raw.executemany("INSERT INTO ledger_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


class SQLitePlace(Place):
    kind = "sqlite"
    refused = sqlite3.IntegrityError

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    @contextlib.contextmanager
    def raw(self) -> Iterator[Raw]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            yield Raw(connection, "?")

    def drop_guards(self, raw: Raw) -> None:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")


class PostgresPlace(Place):
    """A schema, since it is made a hundred times as fast as a database."""

    kind = "postgresql"

    def __init__(self, server: Server, database: str = LEDGERS) -> None:
        import psycopg

        self.refused = psycopg.errors.IntegrityError
        self.server, self.database, self.schema = server, database, f"place_{next(_numbers)}"
        self.url = self.url_of(SUPERUSER)
        with self.raw() as raw:
            raw.execute(f"CREATE SCHEMA {self.schema}")

    def url_of(self, user: str, port: int | None = None) -> str:
        address = self.server.url(self.database, user)
        if port is not None:
            address = address.replace(str(self.server.port), str(port))
        return f"{address}?options=-csearch_path%3D{self.schema}"

    @contextlib.contextmanager
    def raw(self) -> Iterator[Raw]:
        with contextlib.closing(self.server.connect(self.database)) as connection:
            connection.execute(f"SET search_path = {self.schema}")
            yield Raw(connection, "%s")

    def drop_guards(self, raw: Raw) -> None:
        found = raw.execute(
            "SELECT tgname, tgrelid::regclass::text FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
            f"WHERE relnamespace = '{self.schema}'::regnamespace AND NOT tgisinternal"
        ).fetchall()
        for name, table in found:
            raw.execute(f"DROP TRIGGER {name} ON {table}")


class AnchorPlace:
    """An anchor of one test.

    Attributes:
        where: what `Ledger(anchor=...)` takes.
    """

    def __init__(self, where: str | Path, place: Place | None = None) -> None:
        self.where = where
        self._place = place

    def head(self) -> tuple[int, str] | None:
        if self._place is None:
            body = json.loads(Path(self.where).read_text())
            assert set(body) == {"version", "seq", "hash"}
            return body["seq"], body["hash"]
        with self._place.raw() as raw:
            found = raw.execute("SELECT seq, hash FROM ledger_anchor").fetchone()
        return None if found is None else (found[0], found[1])

    def remove(self) -> None:
        if self._place is None:
            Path(self.where).unlink()
            return
        with self._place.raw() as raw:
            self._place.drop_guards(raw)
            raw.execute("DELETE FROM ledger_anchor")

    def swap(self, head: tuple[int, str]) -> None:
        """Another ledger's head in its place."""
        if self._place is None:
            Path(self.where).write_text(json.dumps({"version": 1, "seq": head[0], "hash": head[1]}))
            return
        with self._place.raw() as raw:
            self._place.drop_guards(raw)
            raw.execute("UPDATE ledger_anchor SET seq = ?, hash = ?", head)

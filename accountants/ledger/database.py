"""What a ledger or an anchor asks of a database: one table, transactions, and a lock that dies with its process.

`Database` is the contract, `accountants.ledger.sqlite` and `accountants.ledger.postgres` keep it. Neither knows
what the rows mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, final

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from accountants.errors import LedgerError
from accountants.ledger.lock import RunLock

BUSY_SECONDS = 5.0
"""How long to wait for a lock of another program before `LedgerBusy`."""


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """What a database is to hold.

    Attributes:
        noun: what messages call it: ``ledger`` or ``anchor``.
        table: the one table of ours.
        version: of the table's layout. Another one is refused.
        rule: what the table's triggers let through. ``append``: only the row with the next number. ``forward``: one
            row, whose number grows. Against mistakes with other tools; whoever means harm drops the triggers first.
    """

    noun: Literal["ledger", "anchor"]
    table: Table
    version: int
    rule: Literal["append", "forward"]

    @property
    def option(self) -> str:
        """The command line's option that names another place."""
        return f"--{self.noun}"


class Database(ABC):
    """A database that holds one layout, made where there is none yet.

    Attributes:
        layout: what it holds.
        place: where it is, for messages; no password in it.
        present: whether the layout is there. Always, but where it was opened without making it.
    """

    layout: Layout
    place: str
    present: bool
    _engine: Engine

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether it ends with this process."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """The same for every way to address this database, and for no other.

        Raises:
            LedgerError, LedgerBusy: the database fails.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """One consistent view, taken at the first query.

        Raises:
            LedgerError, LedgerBusy, LedgerCorrupt: the database fails.
        """

    @abstractmethod
    def write(self) -> AbstractContextManager[Connection]:
        """The one write transaction there is at a time; it commits when the block ends and is undone if it raises.

        Raises:
            LedgerError, LedgerBusy, LedgerCorrupt: the database fails; nothing was written, or the message says
                that it may have been.
        """

    @abstractmethod
    def run_lock(self, name: str) -> RunLock:
        """A new handle on the lock of that name."""

    @abstractmethod
    def _meaning(self, error: DBAPIError, *, committing: bool) -> LedgerError:
        """The driver's error as ours: one sentence, no statement, no parameters."""

    @abstractmethod
    def _unfinished(self, connection: Connection) -> bool:
        """Whether a transaction is open that can be rolled back."""

    @contextmanager
    def _transaction(self, *begin: str, writes: bool = False) -> Iterator[Connection]:
        committing = False
        try:
            with self._engine.connect() as connection:
                try:
                    for statement in begin:
                        connection.exec_driver_sql(statement)
                    yield connection
                    committing = writes
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    # What is in doubt is undone; after a COMMIT that went through there is nothing to undo.
                    if self._unfinished(connection):
                        connection.exec_driver_sql("ROLLBACK")
                    raise
        except DBAPIError as error:
            raise self._meaning(error, committing=committing) from None

"""The anchor: the ledger's last (seq, hash) kept elsewhere, against rollback, fork and copied ledgers.

Order of writing: the ledger commits first, the anchor follows. A process killed in between leaves an anchor
that is behind, which every reader accepts (the anchored row is in the chain) and brings forward. The other
order would leave an anchor ahead of its ledger, which is what a rolled-back ledger looks like. For the same
reason a reader reads the anchor before the rows: the rows it then sees are at least as new.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import final

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, select

from accountants.errors import LedgerCorrupt, LedgerError
from accountants.keys import write_private
from accountants.ledger.address import open_database
from accountants.ledger.database import Database, Layout

VERSION = 1
Head = tuple[int, str]

_HEAD = Table(
    "ledger_anchor",
    MetaData(),
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
LAYOUT = Layout("anchor", _HEAD, version=VERSION, rule="forward")


class Anchor(ABC):
    """A head on record outside the ledger's store. It is never moved backwards.

    Attributes:
        place: where it is, for messages.
    """

    place: str

    @abstractmethod
    def read(self) -> Head | None:
        """The anchored head, or None where none was planted.

        Raises:
            LedgerCorrupt: what is there is no anchor.
            LedgerError: it cannot be read.
        """

    @abstractmethod
    def advance(self, head: Head) -> None:
        """Write `head`, unless a later row is named already.

        Raises:
            LedgerCorrupt: what is there is no anchor.
            LedgerError: it cannot be written.
        """

    @abstractmethod
    def check_writable(self) -> None:
        """Find out before a row is written whether the anchor can follow it.

        Raises:
            LedgerError: it cannot; nothing was charged.
        """


def open_anchor(where: str | Path, ledger: Database, *, make: bool = True) -> Anchor:
    """The anchor at a path, or in a second database where `where` is an address (``postgresql://...``).

    Where `make` is not set, nothing is made there: an anchor that is missing reads as None.

    Raises:
        LedgerError: it is no place for an anchor of `ledger`, or cannot be used.
    """
    if "://" not in str(where):
        return FileAnchor(Path(where))
    anchor = TableAnchor(str(where), make=make)
    if anchor.database.in_memory or anchor.database.identity == ledger.identity:
        raise LedgerError(
            f"the anchor must outlive the ledger's own database, and {anchor.place} does not; "
            "give a file elsewhere or a database on another server"
        )
    return anchor


@final
class FileAnchor(Anchor):
    """One file, ``{"version": 1, "seq": ..., "hash": ...}``, replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)

    def read(self) -> Head | None:
        """As `Anchor`."""
        try:
            body = json.loads(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(f"cannot read the anchor {self.path} ({error.strerror})") from None
        except ValueError:
            body = None
        match body:
            case {"version": 1, "seq": int(seq), "hash": str(digest)} if seq >= 0:
                return seq, digest
        raise LedgerCorrupt(f"{self.path} is not an anchor of a ledger (version {VERSION}); restore it from a backup")

    def advance(self, head: Head) -> None:
        """As `Anchor`."""
        partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            with self._locked():
                standing = self.read()
                if standing is not None and standing[0] >= head[0]:
                    return
                body = json.dumps({"version": VERSION, "seq": head[0], "hash": head[1]})
                write_private(partial, body.encode("ascii"))
                partial.replace(self.path)
                _sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise _behind(head, self.place, f"{error.strerror}; make its folder writable") from None

    def check_writable(self) -> None:
        """As `Anchor`."""
        try:
            with self._locked():
                pass
        except OSError as error:
            raise LedgerError(
                f"cannot write the anchor {self.path} ({error.strerror}); nothing was charged, make its folder writable"
            ) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@final
class TableAnchor(Anchor):
    """One row of a table in a second database."""

    def __init__(self, url: str, *, make: bool = True) -> None:
        self.database = open_database(url, LAYOUT, make=make)
        self.place = self.database.place

    def read(self) -> Head | None:
        """As `Anchor`."""
        if not self.database.present:
            return None
        with self.database.read() as connection:
            found = connection.execute(select(_HEAD.c.seq, _HEAD.c.hash)).first()
        match None if found is None else tuple(found):
            case None:
                return None
            case (int(seq), str(digest)) if seq >= 0:
                return seq, digest
        raise LedgerCorrupt(f"{self.place} holds no anchor of a ledger; restore it from a backup")

    def advance(self, head: Head) -> None:
        """As `Anchor`."""
        seq, digest = head
        try:
            with self.database.write() as connection:
                standing = connection.execute(select(_HEAD.c.seq)).scalar_one_or_none()
                if standing is None:
                    connection.execute(_HEAD.insert().values(id=1, seq=seq, hash=digest))
                elif standing < seq:
                    connection.execute(_HEAD.update().values(seq=seq, hash=digest))
        except LedgerCorrupt:
            raise
        except LedgerError as error:
            raise _behind(head, self.place, str(error)) from None

    def check_writable(self) -> None:
        """As `Anchor`."""
        try:
            with self.database.write() as connection:
                connection.execute(_HEAD.update().where(_HEAD.c.id == 0).values(seq=_HEAD.c.seq))  # no row, all rights
        except LedgerCorrupt:
            raise
        except LedgerError as error:
            raise LedgerError(f"cannot write the anchor ({error}); nothing was charged") from None


def _behind(head: Head, place: str, why: str) -> LedgerError:
    return LedgerError(
        f"the ledger's row {head[0]} is on record but the anchor {place} could not be written ({why}); "
        "the next session brings it forward"
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

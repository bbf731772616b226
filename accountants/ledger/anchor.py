"""The anchor: the ledger's last (seq, hash) in a file kept elsewhere, against rollback, fork and copied ledgers.

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
from collections.abc import Iterator
from pathlib import Path

from accountants.errors import LedgerCorrupt, LedgerError
from accountants.keys import write_private

VERSION = 1
Head = tuple[int, str]


class Anchor:
    """One file, ``{"version": 1, "seq": ..., "hash": ...}``; replaced whole, and never moved backwards."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Head | None:
        """The anchored head, or None where there is no file.

        Raises:
            LedgerCorrupt: the file is there but is no anchor.
            LedgerError: it cannot be read.
        """
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
        """Write `head`, unless the file already names a later row.

        Raises:
            LedgerCorrupt: the file is there but is no anchor.
            LedgerError: it cannot be written.
        """
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
            raise LedgerError(
                f"the ledger's row {head[0]} is on record but the anchor {self.path} could not be written "
                f"({error.strerror}); make its folder writable, the next session brings it forward"
            ) from None

    def check_writable(self) -> None:
        """Find out before a row is written whether the anchor can follow it.

        Raises:
            LedgerError: it cannot; nothing was charged.
        """
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

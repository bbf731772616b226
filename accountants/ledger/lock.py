"""The run lock: one running session per dataset, freed by the operating system when its process dies."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import NoReturn, Protocol

from accountants.errors import LedgerError


class RunLock(Protocol):
    """Held from `start` to commit or forfeit. A `running` row whose lock is free belongs to a dead process."""

    def acquire(self, wait: float = 0.0) -> bool:
        """Whether the lock was got within `wait` seconds."""
        ...

    def release(self) -> None:
        """Let go; nothing happens where it is not held."""
        ...


class FileLock:
    """``flock`` on a file beside the ledger. The file stays; only the lock on it means anything."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, wait: float = 0.0) -> bool:
        """As `RunLock`.

        Raises:
            LedgerError: the lock file cannot be made.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(
                f"cannot make the lock {self._path} ({error.strerror}); the ledger's folder must be writable"
            ) from None
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= until:
                    os.close(descriptor)
                    return False
                time.sleep(0.02)
            else:
                self._descriptor = descriptor
                return True

    def release(self) -> None:
        """As `RunLock`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def __del__(self) -> None:
        # Closed, not unlocked: in a forked child this is a copy, and the parent still holds the lock.
        descriptor, self._descriptor = getattr(self, "_descriptor", None), None
        if descriptor is not None:
            os.close(descriptor)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run lock is not pickled or copied")


class MemoryLock:
    """The same for a ledger in memory, where the only sessions are in this process."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def acquire(self, wait: float = 0.0) -> bool:
        """As `RunLock`."""
        self._held = self._lock.acquire(timeout=wait) if wait > 0 else self._lock.acquire(blocking=False)
        return self._held

    def release(self) -> None:
        """As `RunLock`."""
        held, self._held = self._held, False
        if held:
            self._lock.release()

    def __del__(self) -> None:
        self.release()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run lock is not pickled or copied")

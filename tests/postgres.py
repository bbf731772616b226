"""A PostgreSQL of the tests' own: made from the installed binaries, on a loopback port, gone when they are done.

fsync is off: what dies in these tests is clients, never the machine.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SUPERUSER = "tests"
_TRUST = """\
local all all trust
host all locked 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def binaries() -> Path | None:
    """The folder with initdb and postgres: from PATH, else the newest that a distribution installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: -float(each.parent.name))
    return next((each for each in found if (each / "initdb").exists() and (each / "postgres").exists()), None)


class Server:
    """A running server.

    Attributes:
        port: on 127.0.0.1. `SUPERUSER` needs no password there.
    """

    def __init__(self, bin_folder: Path, settings: dict[str, str] | None = None) -> None:
        self._bin, self._settings = bin_folder, settings or {}
        self.folder = Path(tempfile.mkdtemp(prefix="dpsynth-pg-"))
        # postgres refuses to run as root.
        self._as: dict[str, Any] = {"user": _unprivileged(), "extra_groups": []} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self.folder, self._as["user"])
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            self._run("initdb", "--auth=trust", f"--username={SUPERUSER}", "--no-sync", "--locale=C", "--encoding=UTF8")
            (self.folder / "data" / "pg_hba.conf").write_text(_TRUST)
            self._start()
        except BaseException:
            self.stop()
            raise

    def url(self, database: str, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> Any:
        """A psycopg connection in autocommit mode."""
        import psycopg

        return psycopg.connect(host="127.0.0.1", port=self.port, user=SUPERUSER, dbname=database, autocommit=True)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: there is nothing to keep
            self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self._as)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-2000:]}")

    def _start(self) -> None:
        for _ in range(5):  # another process may take the free port first
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": self.port,
                "unix_socket_directories": self.folder,
                "fsync": "off",
                "full_page_writes": "off",
                "max_connections": 100,
                "shared_buffers": "32MB",
                **self._settings,
            }
            command = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
            for name, value in settings.items():
                command += ["-c", f"{name}={value}"]
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as)
            until = time.monotonic() + 30
            while self._process.poll() is None and time.monotonic() < until:
                try:
                    self.connect().close()
                    return
                except Exception:
                    time.sleep(0.05)
        raise RuntimeError(f"postgres does not start: {(self.folder / 'log').read_text()[-2000:]}")


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)

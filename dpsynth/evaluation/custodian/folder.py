"""Private folders: written whole or not at all, for their owner's eyes, stamped, their digests remembered."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dpsynth import private
from dpsynth.errors import BundleError
from dpsynth.release.bundle import CERTIFICATE, check_target, put_in_place
from dpsynth.release.store import sync_folder

README = "PRIVATE-README.txt"
_SAYS = f"""{private.STAMP}

This folder holds real rows, or figures computed from real rows without noise. Whoever sees them can learn about the
people behind them, and no privacy guarantee covers that. Keep the folder where the source data are kept, and delete
it when it has served. dpsynth refuses to release its files. On this machine, under the DPSYNTH_HOME that wrote them, it
also knows copies in another format or without this mark: the whole table, with or without the unit column, and columns
of it with all their rows. It does not know a selection of rows, and a column of few values only in its order of rows.
"""


def check_private_target(folder: Path | str) -> Path:
    """The absolute path of a folder that private files can be written to.

    Raises:
        BundleError: it exists and is not empty, cannot be made, or lies in a release folder.
    """
    target = check_target(folder)
    if any((parent / CERTIFICATE).exists() for parent in target.parents):
        raise BundleError(f"{target} lies in a release folder, which is handed out; name a folder outside it")
    return target


def write_private(folder: Path | str, files: Mapping[str, pa.Table | bytes], unit: str | None = None) -> Path:
    """Write a folder (mode 0700) of files (0600), whole or not at all, and remember their digests.

    Args:
        folder: must not exist or be empty, and lie outside any release folder.
        files: Arrow tables, written as Parquet; or bytes. All carry the stamp.
        unit: a column that tables are known without too.

    Raises:
        BundleError: the folder is not to be had; nothing was written.
    """

    def write(partial: Path) -> None:
        digests: list[str] = []
        partial.mkdir(mode=0o700)
        for name, held in {**files, README: _SAYS.encode()}.items():
            raw = held if isinstance(held, bytes) else _parquet(held)
            if private.STAMP.encode() not in raw:
                raise ValueError(f"{name} is not stamped as private")
            digests.append(hashlib.sha256(raw).hexdigest())
            if not isinstance(held, bytes):
                digests.extend(private.table_digests(held, unit))
            _write(partial / name, raw)
        sync_folder(partial)
        private.remember(*digests)

    return put_in_place(check_private_target(folder), write)


def _write(path: Path, raw: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


__all__ = ["README", "check_private_target", "write_private"]

"""The release folder: eight flat files that appear together or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from dpsynth.errors import BundleError
from dpsynth.release.store import sync_folder, write_folder

TABLE = "synthetic.parquet"
CERTIFICATE = "certificate.json"
PAGE = "certificate.html"
REPORT = "report.html"
REPORT_JSON = "report.json"
MEASUREMENTS = "measurements.json"
SCHEMA = "schema.yaml"
README = "README.txt"
FILES = (TABLE, CERTIFICATE, PAGE, REPORT, REPORT_JSON, MEASUREMENTS, SCHEMA, README)
SUBJECTS = tuple(name for name in FILES if name != CERTIFICATE)
"""The files whose digests the certificate signs: all but itself."""
LATER = (REPORT_JSON, MEASUREMENTS)
"""What releases of 0.1.0 lack: their reports were pages only, and their measurements stayed with the custodian."""
BEFORE = tuple(name for name in SUBJECTS if name not in LATER)
"""What certificates of 0.1.0 sign."""


def check_target(folder: Path | str) -> Path:
    """The absolute path of a folder that a release can be written to. Call it before anything is spent.

    Raises:
        BundleError: it exists and is not empty, or it cannot be made where it is wanted.
    """
    target = Path(os.path.abspath(folder))
    reason = _obstacle(target)
    if reason is not None:
        raise BundleError(f"cannot write to {target}: {reason}")
    return target


def write_bundle(folder: Path | str, files: Mapping[str, bytes]) -> Path:
    """Write the files of a release, whole or not at all.

    Args:
        folder: must not exist, or be empty.
        files: one entry for each of `FILES`.

    Raises:
        BundleError: the folder is not to be had; nothing was written.
    """
    if sorted(files) != sorted(FILES):
        raise ValueError(f"a bundle has the files {sorted(FILES)}, got {sorted(files)}")
    return put_in_place(check_target(folder), lambda partial: write_folder(partial, files))


def put_in_place(target: Path, write: Callable[[Path], None]) -> Path:
    """Have `write` make a folder beside the target, and name it as the target once it is whole.

    Raises:
        BundleError: the folder is not to be had; nothing was written.
    """
    partial = _beside(target)
    reason = None
    try:
        write(partial)
        if target.is_dir():
            target.rmdir()
        os.rename(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if reason is not None:
        raise BundleError(f"cannot write to {target} ({reason}); choose another folder")
    return target


def _obstacle(target: Path) -> str | None:
    try:
        if target.is_symlink():
            return "it is a link; name the folder itself"
        if target.exists() and not target.is_dir():
            return "it is a file; name a folder that does not exist yet"
        if target.is_dir() and any(target.iterdir()):
            return "it is not empty, and nothing is ever overwritten; name a folder that does not exist yet"
        if not target.parent.is_dir():
            return f"the folder {target.parent} does not exist; make it first"
    except OSError as error:
        return f"{error.strerror}; choose another folder"
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return f"the folder {target.parent} is read-only; choose one you may write to"
    probe = _beside(target)
    try:  # some places are writable by their mode alone
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"{error.strerror}; choose another folder"
    return None


def _beside(target: Path) -> Path:
    """A hidden name beside the target that nobody else has."""
    return target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}")


__all__ = [
    "BEFORE",
    "CERTIFICATE",
    "FILES",
    "LATER",
    "MEASUREMENTS",
    "PAGE",
    "README",
    "REPORT",
    "REPORT_JSON",
    "SCHEMA",
    "SUBJECTS",
    "TABLE",
    "check_target",
    "put_in_place",
    "write_bundle",
]

"""Reading the certificate in a release folder: as text, or as a page of its own. It is shown as it is, not checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpsynth.errors import BundleError
from dpsynth.release.certificate.page import certificate_page
from dpsynth.release.certificate.text import certificate_text
from dpsynth.release.verification import read_predicate


def read_certificate(folder: Path | str) -> str:
    """What the certificate of a release folder says, as text for a terminal.

    Raises:
        BundleError: there is no certificate that says anything.
    """
    return _made(certificate_text, folder)


def write_page(folder: Path | str, page: Path | str) -> Path:
    """What the certificate of a release folder says, as an HTML page in a new file.

    Returns:
        The file's absolute path.

    Raises:
        BundleError: there is no certificate that says anything, or the file exists or cannot be written.
    """
    target, html = Path(page).absolute(), _made(certificate_page, folder)
    try:
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(html)
    except OSError as error:
        raise BundleError(f"cannot write the page to {target} ({error.strerror}); name a new file") from None
    return target


def _made(make: Callable[[Mapping[str, Any]], str], folder: Path | str) -> str:
    predicate = read_predicate(folder)
    try:
        return make(predicate)
    except (RecursionError, MemoryError, ValueError):
        pass
    raise BundleError(f"the certificate in {folder} is damaged: it cannot be shown")


__all__ = ["read_certificate", "write_page"]

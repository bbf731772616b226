"""Arrays in an ``.npz`` file whose bytes are a function of the arrays: no timestamps, no compression, no pickles."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file; `numpy.load` reads it.

    Raises:
        ValueError: an array of Python objects, which could only be pickled.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue())
    return out.getvalue()


def unpack(raw: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `pack` made. Nothing in it is ever unpickled.

    Raises:
        ValueError: not such a file.
    """
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        raise ValueError("not a file of plain arrays") from None


__all__ = ["pack", "unpack"]

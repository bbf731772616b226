"""Arrays as a safetensors file: a JSON header of names, types and places, and the plain numbers after it.

Its bytes are a function of the arrays. Reading one runs no code of the file's and unpacks nothing: what it can ask for
is bounded by its own length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

_WHOLE = (f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
_KINDS = frozenset({"bool", "float32", "float64", *_WHOLE})


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file; any reader of safetensors reads it.

    Raises:
        ValueError: an array of anything but numbers and truth values.
    """
    held = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    for name, array in held.items():
        if array.dtype.name not in _KINDS:
            raise ValueError(f"array {name!r} is of {array.dtype.name}; allowed are numbers and truth values")
    return save({name: np.asarray(array, array.dtype.newbyteorder("<")) for name, array in held.items()})


def unpack(raw: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `pack` made.

    Raises:
        ValueError: not such a file.
    """
    try:
        found = load(raw)
    except (SafetensorError, ValueError, LookupError, TypeError, OverflowError, AttributeError):
        found = {"": np.empty(0, dtype=object)}
    if any(array.dtype.name not in _KINDS for array in found.values()):
        raise ValueError("not a file of plain arrays")
    return found


__all__ = ["pack", "unpack"]

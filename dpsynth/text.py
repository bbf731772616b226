"""The text of a cell: one spelling for every way a value may be stored.

A category, a flag or a unit may reach us as text, an integer, a float (because a neighbour was missing), a
decimal, bytes or a numpy scalar. `cell_text` writes any Python object down as a CSV file would, `canonical`
then folds the spellings of one value together. Neither ever raises, whatever it is given.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from unicodedata import normalize
from uuid import UUID

import numpy as np
import pandas as pd

UNREADABLE = "\x00"
"""How a cell without text begins: no schema can declare it. Bytes that are not UTF-8 follow it, as Latin-1."""

_INTEGRAL = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_HUGE = re.compile(r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{1,3}")
_FLAGS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def canonical(text: str) -> str | None:
    """The one spelling of `text`, None if it is empty (a null).

    Surrounding white space goes, Unicode is composed (NFC), an integral decimal loses its zeros (``5.0`` and
    ``5.`` read ``5``, ``1e+16`` reads as the integer), ``True`` and ``TRUE`` read ``true``. Case, inner
    spaces and leading zeros count: ``007`` is not ``7``.
    """
    text = text.strip()
    if not text:
        return None
    if text[-1] in "0." and (match := _INTEGRAL.fullmatch(text)):
        text = match[1]
    elif "+" in text and _HUGE.fullmatch(text):
        number = float(text)
        text = (number_text(number) or text) if isfinite(number) else text
    if text == "-0":
        return "0"
    if text.isascii():
        return _FLAGS.get(text, text)
    return normalize("NFC", text)


def number_text(number: float) -> str | None:
    """The canonical text of a float: integral ones as integers, None for NaN."""
    if number != number:
        return None
    return str(int(number)) if number.is_integer() else repr(number)


def bytes_text(raw: bytes) -> str:
    """UTF-8 bytes as text; other bytes as `UNREADABLE` followed by their Latin-1 reading."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return UNREADABLE + raw.decode("latin-1")


def clean_text(text: str) -> str:
    """`text` itself, or its `UNREADABLE` form if it holds lone surrogates (and so has no UTF-8)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raw = text.encode("utf-8", "surrogatepass")
        return UNREADABLE + raw.decode("latin-1")
    return text


def cell_text(cell: object) -> str | None:
    """Any Python object as a CSV file would hold it: None for a null, `UNREADABLE` for what has no text.

    Only the methods of built-in types are called, never the cell's own ``__str__`` or ``__eq__``.
    """
    try:
        return _cell_text(cell)
    except Exception:
        return UNREADABLE


def _cell_text(cell: object) -> str | None:
    kind = type(cell)
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if issubclass(kind, str):
        return clean_text(str.strip(cell))  # type: ignore[arg-type]
    if kind is bool or kind is np.bool_:
        return "True" if cell else "False"
    if issubclass(kind, int):
        return _integer_text(int.__add__(cell, 0))  # type: ignore[operator]
    if issubclass(kind, np.floating):
        return None if np.isnan(cell) else str(cell)  # type: ignore[call-overload]
    if issubclass(kind, float):
        number = float.__add__(cell, 0.0)  # type: ignore[operator]
        return None if number != number else repr(number)
    if issubclass(kind, (bytes, bytearray)):
        return bytes_text(bytes.strip(bytes(cell)))  # type: ignore[call-overload]
    if issubclass(kind, np.integer):
        return str(int(cell))  # type: ignore[call-overload]
    if issubclass(kind, np.datetime64):
        return None if np.isnat(cell) else _moment_text(pd.Timestamp(cell))  # type: ignore[call-overload,arg-type]
    if issubclass(kind, datetime):
        return _moment_text(cell)  # type: ignore[arg-type]
    if issubclass(kind, date):
        return date.isoformat(cell)  # type: ignore[arg-type]
    if kind is Decimal:
        return None if cell.is_nan() else str(cell)  # type: ignore[attr-defined]
    if kind is UUID or kind is pd.Period:
        return str(cell)
    return UNREADABLE


def _integer_text(number: int) -> str:
    if number.bit_length() > 4096:
        return "-1e9999" if number < 0 else "1e9999"
    return str(number)


def _moment_text(moment: datetime) -> str:
    """Wall-clock time in ISO form, the date alone at midnight."""
    text = moment.replace(tzinfo=None).isoformat(sep=" ")
    return text.removesuffix(" 00:00:00")


__all__ = ["UNREADABLE", "bytes_text", "canonical", "cell_text", "clean_text", "number_text"]

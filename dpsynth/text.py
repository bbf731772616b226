"""The text of a cell: one spelling for every way a value may be stored.

A category, a flag or a unit may reach us as text, an integer, a float (because a neighbour was missing), a
decimal, bytes or a numpy scalar. `cell_text` writes any Python object down as a CSV file would, `canonical`
then folds the spellings of one value together. `unit_text` is the coarser fold of privacy units. None of them
raises, whatever it is given.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from struct import pack, unpack
from typing import Any
from unicodedata import decimal, normalize
from uuid import UUID

import numpy as np
import pandas as pd

UNREADABLE = "\x00"
"""How a cell without text begins: no schema can declare it. Bytes that are not UTF-8 follow it, as Latin-1."""

_MOST_BITS, _MOST_DIGITS = 4096, 1233
"""Whole numbers beyond this are written as one huge number: 2**4096 has 1,234 digits."""

_LONG = 1024
"""Texts of more characters are not normalised: Unicode's reordering of marks takes time quadratic in their number."""

_INTEGRAL = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_HUGE = re.compile(r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{1,3}")
_FLAGS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
"""Controls, and what Unicode calls default ignorable: zero-width and format characters, byte order marks."""
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:e([+-]?)([0-9]+))?")
_UNIT_MOMENT = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?:$|[t ])|(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])t)"
    r"(?:([01][0-9]|2[0-3]):?([0-5][0-9])(?::?([0-5][0-9])(?:[.,][0-9]+)?)?\s?(?:z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_UNIT_WORDS = (
    {"true": "1", "false": "0"} | dict.fromkeys(("infinity", "+infinity", "+inf"), "inf") | {"-infinity": "-inf"}
)


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
    return normalize("NFC", text) if len(text) <= _LONG else text


def unit_text(text: str) -> str | None:
    """What `text` names as a privacy unit, None if it is blank. It errs towards merging.

    Unicode compatibility, case, white space and invisible characters do not count, nor how a number, a flag or a
    moment is written: ``7``, ``07``, ``+7.0`` and ``7e0`` are one unit, and so are ``1.50`` and ``1.5``.
    Moments count to the second, a midnight is its date, a zone is dropped. Bytes that are not UTF-8 count as
    Latin-1. Text in, text out: a value stored in any type is folded by its text.
    """
    if not text.isascii():
        text = _folded(text)
    elif not text.isprintable():
        text = _INVISIBLE.sub("", text)
    text = " ".join(text.lower().split())
    if not text:
        return None
    if text[0] in "+-.0123456789":
        return _unit_number(text) or _unit_moment(text) or _UNIT_WORDS.get(text, text)
    return _UNIT_WORDS.get(text, text)


def _folded(text: str) -> str:
    """Unicode folded by compatibility and case, invisible characters dropped, every decimal digit in ASCII."""
    if len(text) > _LONG:
        return _INVISIBLE.sub("", text.casefold())
    for _ in range(4):  # each step may open the way for another; two rounds do for all but contrived text
        before = text
        text = _INVISIBLE.sub("", normalize("NFKC", normalize("NFKC", text).casefold()))
        if text == before:
            break
    return "".join(str(decimal(c)) if c.isdecimal() else c for c in text)


def _unit_number(text: str) -> str | None:
    """The one spelling of a finite decimal number, None for other text."""
    if text.isdigit() and len(text) <= 15:
        return text.lstrip("0") or "0"
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    sign, fraction = "-" if match[1] == "-" else "", match[3] or ""
    digits = (match[2] + fraction).lstrip("0")
    if match[5] is None and len(digits) - len(fraction) > _MOST_DIGITS:
        return f"{sign}1e9999"  # as `cell_text` writes a whole number of that size
    power = int(f"{match[4] or ''}{match[5].lstrip('0')[:15] or '0'}") if match[5] is not None else 0
    exponent = power - len(fraction) + len(digits)
    digits = digits.rstrip("0")
    exponent -= len(digits)
    if not digits:
        return "0"
    size = exponent + len(digits)  # digits before the point
    if not -320 < size <= (400 if exponent >= 0 else 300):  # beyond doubles: hostile exponents cost nothing
        return f"{sign}{digits}e{exponent}"
    return sign + (_unit_whole(digits + "0" * exponent) if exponent >= 0 else _unit_fraction(digits, exponent))


def _unit_whole(digits: str) -> str:
    """A whole number, exactly. The shortest text of a double names the double's own value."""
    if len(digits) <= 15 or len(digits) > 309:
        return digits
    nearest = float(digits)
    return str(int(nearest)) if Decimal(repr(nearest)) == Decimal(digits) else digits


def _unit_fraction(digits: str, exponent: int) -> str:
    """A number with decimals, as the nearest double; a single-precision value as its shortest text."""
    nearest = float(f"{digits[:40]}e{exponent + max(len(digits) - 40, 0)}")
    if nearest.is_integer():
        return _unit_whole(str(int(nearest)))
    if len(digits) <= 6 or unpack("f", pack("f", nearest))[0] != nearest:
        return repr(nearest)
    return repr(float(str(np.float32(nearest))))


def _unit_moment(text: str) -> str | None:
    match = _UNIT_MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day = match[1], match[2] or match[4], match[3] or match[5]
    hour, minute, second = match[6] or "00", match[7] or "00", match[8] or "00"
    if hour == minute == second == "00":
        return f"{year}{month}{day}".lstrip("0")
    return f"{year}-{month}-{day} {hour}:{minute}:{second}"


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
        return None if np.isnan(cell) else _floating_text(cell)  # type: ignore[call-overload,arg-type]
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
    if number.bit_length() > _MOST_BITS:
        return "-1e9999" if number < 0 else "1e9999"
    return str(number)


def _floating_text(cell: np.floating[Any]) -> str:
    """The shortest text that means the number in its own precision; a whole number exactly."""
    if isinstance(cell, (np.float16, np.float32)) and float(cell).is_integer():
        return repr(float(cell))
    return str(cell)


def _moment_text(moment: datetime) -> str:
    """Wall-clock time in ISO form to the second, the date alone at midnight."""
    text = moment.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
    return text.removesuffix(" 00:00:00") if 1 <= moment.year <= 9999 else UNREADABLE


__all__ = ["UNREADABLE", "bytes_text", "canonical", "cell_text", "clean_text", "number_text", "unit_text"]

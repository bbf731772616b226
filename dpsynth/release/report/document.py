"""The report as JSON: field by field what `ReleaseReport` holds, under a version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from dpsynth.release.report.report import ReleaseReport

KIND = "dpsynth release report"
VERSION = 1
DIGITS = 9
"""Significant digits of a number: beyond them platforms differ."""


def document(report: ReleaseReport) -> bytes:
    """The file. Equal reports give equal bytes."""
    body = {"kind": KIND, "version": VERSION, "synthetic": True, **_values(report)}
    return (json.dumps(body, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _values(value: Any) -> Any:
    match value:
        case None | bool() | int() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
        case float():
            return float(f"{value:.{DIGITS}g}")
        case Decimal():
            return f"{value.normalize():f}" if abs(value.adjusted()) < 7 else f"{value.normalize():e}"
        case Mapping():
            return {str(key): _values(each) for key, each in value.items()}
        case tuple() | list():
            return [_values(each) for each in value]
    if not is_dataclass(value):
        raise TypeError(f"a report holds no {type(value).__name__}")
    return {each.name: _values(getattr(value, each.name)) for each in fields(value)}


__all__ = ["KIND", "VERSION", "document"]

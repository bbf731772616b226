"""Name and version of this software, as certificates state them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software() -> str:
    """``dpsynth 1.2.3``."""
    try:
        return f"dpsynth {version('dpsynth')}"
    except PackageNotFoundError:
        return "dpsynth"


__all__ = ["software"]

"""The folder for ledger, keys, models and digests of private files: ``$DPSYNTH_HOME``, or the platform's own."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path


def home() -> Path:
    """The folder, which need not exist yet."""
    chosen = os.environ.get("DPSYNTH_HOME")
    return Path(chosen) if chosen else user_data_path("dpsynth")

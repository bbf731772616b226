"""Where ledger, keys and models live: ``$DPSYNTH_HOME``, or the platform's folder for user data."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from accountants import Keyring, Ledger
from dpsynth.release import ModelStore


def home() -> Path:
    """The folder, which need not exist yet."""
    chosen = os.environ.get("DPSYNTH_HOME")
    return Path(chosen) if chosen else user_data_path("dpsynth")


def keyring() -> Keyring:
    """The signing key and the trusted keys."""
    return Keyring(home() / "keys")


def model_store() -> ModelStore:
    """Fitted models, by digest."""
    return ModelStore(home() / "models")


def open_ledger(url: str | None = None, *, anchor: str | Path | None = None) -> Ledger:
    """The ledger at `url`, signed with this home's key (made on first need).

    Args:
        url: an SQLAlchemy address; default ``$DPSYNTH_LEDGER``, else ``ledger.db`` in the home folder.
        anchor: a file outside the ledger that notes its head; default ``$DPSYNTH_ANCHOR``, else none
            (a restored backup is then not detectable, and certificates say so).

    Raises:
        LedgerError: it cannot be opened, or does not verify.
    """
    keys = keyring()
    key = keys.signing_key(create=True)
    chosen = url or os.environ.get("DPSYNTH_LEDGER") or f"sqlite:///{home() / 'ledger.db'}"
    where = anchor or os.environ.get("DPSYNTH_ANCHOR")
    # Publishers whose certificates are trusted may not write here: rows are believed of this home's key alone.
    return Ledger(chosen, key, anchor=Path(where) if where else None)

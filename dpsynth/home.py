"""Where ledger, keys and models live: ``$DPSYNTH_HOME``, or the platform's folder for user data."""

from __future__ import annotations

import os
from pathlib import Path

from accountants import Keyring, Ledger, LedgerError
from dpsynth.place import home as home
from dpsynth.release import ModelStore


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
        anchor: a file outside the ledger, or the address of a second database, that notes its head; default
            ``$DPSYNTH_ANCHOR``, else none (a restored backup is then not detectable, and certificates say so).

    Raises:
        LedgerError: it cannot be opened, or does not verify.
    """
    return _ledger(url, _anchor(anchor))


def read_ledger(url: str | None = None, *, anchor: str | Path | None = None) -> Ledger:
    """The ledger at `url` to read: nothing is made, neither home nor key nor ledger. Arguments as for `open_ledger`.

    Raises:
        LedgerError: there is none, it cannot be opened, or does not verify.
    """
    return Ledger(_address(url), None, keyring().writers(), _anchor(anchor))


def adopt_anchor(url: str | None = None, *, anchor: str | Path | None = None) -> Ledger:
    """Verify the whole ledger at `url`, then plant its anchor; arguments as for `open_ledger`.

    Raises:
        LedgerError: the ledger does not verify, no anchor was named, or one that disagrees stands there.
    """
    where = _anchor(anchor)
    if where is None:
        raise LedgerError(
            "no anchor was named; `dpsynth --anchor WHERE ledger anchor` takes a file or a second database's address, "
            "and so does $DPSYNTH_ANCHOR"
        )
    ledger = _ledger(url, None)
    ledger.adopt_anchor(where)
    return ledger


def _anchor(given: str | Path | None) -> str | Path | None:
    return given or os.environ.get("DPSYNTH_ANCHOR") or None


def _address(url: str | None) -> str:
    return url or os.environ.get("DPSYNTH_LEDGER") or f"sqlite:///{home() / 'ledger.db'}"


def _ledger(url: str | None, anchor: str | Path | None) -> Ledger:
    keys = keyring()
    key = keys.signing_key(create=True)
    # Publishers whose certificates are trusted may not write here: rows are believed of writers alone.
    return Ledger(_address(url), key, keys.writers(), anchor)

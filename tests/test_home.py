"""Where things live, and whose rows are believed there."""

from pathlib import Path

import pytest

from accountants import Budget, Ledger, LedgerCorrupt, SigningKey
from dpsynth.home import home as home_folder
from dpsynth.home import keyring, open_ledger


def test_home_follows_the_environment(home, monkeypatch):
    assert home_folder() == home
    monkeypatch.delenv("DPSYNTH_HOME")
    assert "dpsynth" in str(home_folder())


def test_ledger_and_anchor_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DPSYNTH_LEDGER", f"sqlite:///{tmp_path / 'books.db'}")
    monkeypatch.setenv("DPSYNTH_ANCHOR", str(tmp_path / "head"))
    book = open_ledger()
    book.open("visits", Budget(1))
    assert book.rollback_detectable
    assert (tmp_path / "books.db").exists()
    assert (tmp_path / "head").exists()


def test_the_key_is_readable_by_its_owner_alone(home):
    open_ledger()
    assert (Path(home) / "keys" / "signing.pem").stat().st_mode & 0o077 == 0


def test_a_publisher_who_is_trusted_may_not_write_to_the_ledger(home):
    stranger = SigningKey.generate()
    keyring().trust(stranger.public.pem())
    ours = open_ledger()
    ours.open("visits", Budget(1))
    theirs = Ledger(f"sqlite:///{home / 'ledger.db'}", stranger, trusted={ours.key.public.key_id: ours.key.public})
    theirs.open("other", Budget(1))
    with pytest.raises(LedgerCorrupt):
        open_ledger().verify()

"""The ledger and its keys at the command line, and whose rows a home believes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from accountants import Budget, LedgerCorrupt
from dpsynth.cli import main
from dpsynth.home import keyring, open_ledger


@pytest.fixture
def say(place, monkeypatch, tmp_path):
    """Run a command on the test's ledger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPSYNTH_LEDGER", place.url)

    def run(command, code=0):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_opened_shown_amended(say):
    Path("policy.yaml").write_text("max_epsilon: 0.5\n")
    assert "lifetime epsilon 1 at delta 1e-8" in say("ledger open hie --epsilon 1 --delta 1e-8 --delta0 1e-9")
    shown = say("ledger show")
    assert "delta0: 0 of 1e-9 is charged" in shown
    assert "amended" not in shown
    assert "policy" not in shown
    assert "lifetime epsilon 2 at delta 1e-8, policy replaced" in say(
        "ledger amend hie --epsilon 2 --policy policy.yaml"
    )
    assert "lifetime epsilon 2 at delta 1.1e-8" in say("ledger amend hie --delta0 2e-9")
    shown = say("ledger show hie")
    assert "amended 2 times since it was opened" in shown
    assert "policy of its own" in shown
    assert "may only widen" in say("ledger amend hie --epsilon 1.5", 1)
    assert "nothing" in say("ledger amend hie", 1)
    assert "intact: 3 rows" in say("ledger verify")
    assert str(open_ledger().account("hie").state.policy.max_epsilon) == "0.5"


def test_opened_with_a_policy(say):
    Path("policy.yaml").write_text("generators: [aim]\n")
    say("ledger open hie --epsilon 1 --policy policy.yaml")
    assert open_ledger().account("hie").state.policy.generators == {"aim"}
    assert "cannot read" in say("ledger open other --epsilon 1 --policy missing.yaml", 1)
    assert open_ledger().datasets() == ("hie",)


def test_an_anchor_adopted_later(say, anchor, monkeypatch):
    say("ledger open hie --epsilon 1")
    assert "no anchor was named" in say("ledger anchor", 1)
    assert "is missing" in say(f"--anchor {anchor.where} ledger show", 1)
    assert "anchored at row 1" in say(f"--anchor {anchor.where} ledger anchor")
    monkeypatch.setenv("DPSYNTH_ANCHOR", str(anchor.where))
    say("ledger amend hie --epsilon 2")
    assert anchor.head()[0] == 2
    assert "anchored at row 2" in say("ledger anchor")
    assert "restored backup" not in say("ledger show")
    anchor.swap((2, "f" * 64))
    assert "rolled back, forked or replaced" in say("ledger anchor", 1)


def test_keys_are_made_once(say, home):
    made = say("keys new")
    public = keyring().signing_key().public
    assert public.key_id in made
    assert str(home / "keys" / "signing.pem") in made
    assert "never overwritten" in say("keys new", 1)
    assert keyring().signing_key().public == public


def test_a_colleague_may_write_where_a_publisher_may_not(say, home, tmp_path, monkeypatch):
    """Two homes, one ledger: each believes the other's rows once it trusts the other as a writer."""
    say("ledger open ours --epsilon 1")
    Path("ours.pem").write_text(keyring().signing_key().public.pem())
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "theirs"))
    assert "not trusted" in say("ledger show", 1)
    assert "publisher" in say("keys trust ours.pem")
    assert "keys trust --writer" in say("ledger show", 1)
    assert "writer of the ledger" in say("keys trust --writer ours.pem")
    say("ledger open theirs --epsilon 1")
    Path("theirs.pem").write_text(keyring().signing_key().public.pem())
    monkeypatch.setenv("DPSYNTH_HOME", str(home))
    with pytest.raises(LedgerCorrupt, match="not trusted"):
        open_ledger().verify()
    say("keys trust --writer theirs.pem")
    say("ledger open again --epsilon 1")
    assert "intact: 3 rows" in say("ledger verify")
    assert open_ledger().account("theirs").state.budget == Budget(1)

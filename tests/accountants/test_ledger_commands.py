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
    told = say("ledger amend hie --delta0 2e-9", code=2)
    assert "from 1e-8 to 1.1e-8" in told
    assert "--delta0 2e-9 --delta 1.1e-8" in told
    amended = say("ledger amend hie --delta0 2e-9 --delta 1.1e-8")
    assert "lifetime epsilon 2 at delta 1.1e-8, delta0 2e-9" in amended
    shown = say("ledger show hie")
    assert "amended 2 times since it was opened" in shown
    assert "policy of its own" in shown
    assert "opened for epsilon 1 at delta 1e-8, delta0 1e-9, filter gdp" in shown
    assert "epsilon 1 at delta 1e-8 → epsilon 2 at delta 1e-8; a policy was given" in shown
    assert "delta0 1e-9 → 2e-9" in shown
    assert "max_epsilon: 0.5" in shown
    assert "would fit; its policy admits at most epsilon 0.5 per release" in shown
    assert "up to epsilon 0.5 at that delta" in shown
    assert "may only widen" in say("ledger amend hie --epsilon 1.5", 1)
    assert "nothing" in say("ledger amend hie", 1)
    assert "intact: 3 rows" in say("ledger verify")
    assert str(open_ledger().account("hie").state.policy.max_epsilon) == "0.5"


def test_opened_with_a_policy(say):
    Path("policy.yaml").write_text("generators: [aim]\n")
    say("ledger open hie --epsilon 1 --policy policy.yaml")
    assert "generators: aim" in say("ledger show hie")
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


def test_reading_commands_write_nothing(tmp_path, home, monkeypatch):
    """A misspelt home stays a home that is not there."""
    for where in (tmp_path / "nowhere", tmp_path / "deep" / "down"):
        monkeypatch.setenv("DPSYNTH_HOME", str(where))
        for command in ("ledger show", "ledger show hie", "ledger verify", f"--anchor {tmp_path / 'a'} ledger show"):
            done = CliRunner().invoke(main, command)
            assert done.exit_code == 1
            assert f"there is no ledger at {where}/ledger.db; open an account with" in done.output
        done = CliRunner().invoke(main, "keys show")
        assert done.exit_code == 1
        assert "dpsynth keys new" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_an_unmade_ledger_makes_none(say, place, home, anchor):
    """Of PostgreSQL too: no table, no key. A reader of a ledger that stands plants and moves no anchor."""
    assert "there is no ledger at" in say("ledger show", 1)
    with place.raw() as raw, pytest.raises(Exception, match="ledger_rows"):
        raw.execute("SELECT * FROM ledger_rows")
    assert not (home / "keys").exists()
    say("ledger open hie --epsilon 1")
    assert "is missing" in say(f"--anchor {anchor.where} ledger verify", 1)
    say(f"--anchor {anchor.where} ledger anchor")
    say("ledger amend hie --epsilon 2")
    say(f"--anchor {anchor.where} ledger verify")
    assert anchor.head()[0] == 1
    say(f"--anchor {anchor.where} ledger amend hie --epsilon 3")
    assert anchor.head()[0] == 3


def test_a_policy_tighter_than_the_budget_is_told(say):
    Path("policy.yaml").write_text("max_epsilon: 0.5\nmax_lifetime_epsilon: 1\nmax_lifetime_delta: 1e-9\n")
    opened = say("ledger open hie --epsilon 3 --delta 1e-8 --policy policy.yaml")
    assert "stops all releases together at epsilon 1, and the lifetime budget is epsilon 3" in opened
    assert "no release from an account whose delta is above 1e-9" in opened
    assert "at most epsilon 0.5 per release" in opened
    assert "no further release at that delta fits" in say("ledger show")
    Path("policy.yaml").write_text("max_epsilon: 3\n")
    assert "Note" not in say("ledger amend hie --policy policy.yaml")
    assert "Note" in say("ledger amend hie --epsilon 4")


def test_a_misspelt_dataset_is_met_with_its_neighbour(say):
    say("ledger open hie-2026 --epsilon 1")
    near = say("ledger show hie-2025", 1)
    assert "did you mean 'hie-2026'?" in near
    assert "ledger open" not in near
    assert "dpsynth ledger open visits" in say("ledger show visits", 1)
    assert "there is no release abc on dataset 'hie-2026'; see `dpsynth ledger show hie-2026`" in say(
        "ledger void hie-2026 abc", 1
    )

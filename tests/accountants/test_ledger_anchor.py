"""What the anchor catches, in a file and in a second database: rollback, forks, copies, swapped anchors."""

import json
import shutil
import stat

import pytest

from accountants import Budget, Ledger, LedgerCorrupt, LedgerError, SigningKey
from accountants.ledger.anchor import FileAnchor, TableAnchor, open_anchor
from tests.accountants.places import ANCHORS, LEDGERS


@pytest.fixture
def anchored(url, key, anchor, make_claim, place):
    """A ledger with an anchor, and its rows from before its last release."""
    account = Ledger(url, key, anchor=anchor.where).open("hie-2026", Budget(1, 1e-8))
    account.reserve(make_claim("0.2"))
    place.older = place.rows()
    account.reserve(make_claim("0.7"))
    return account


@pytest.fixture
def elsewhere(place, new_place):
    """Another ledger of the same kind."""
    return new_place(place.kind, "fork.db", LEDGERS)


def test_the_anchor_holds_the_head(anchored, anchor):
    assert anchored.ledger.rollback_detectable
    assert anchored.ledger.head == anchor.head()


def test_a_file_anchor_is_one_private_file(url, key, tmp_path):
    path = tmp_path / "elsewhere" / "anchor.json"
    path.parent.mkdir()
    ledger = Ledger(url, key, anchor=path)
    assert json.loads(path.read_text()) == {"version": 1, "seq": 0, "hash": "0" * 64}
    ledger.open("hie-2026", Budget(1))
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["anchor.json", "anchor.json.lock"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restored_backup_is_caught(anchored, place, anchor, url, key, make_claim):
    place.load(place.older)
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(url, key, anchor=anchor.where).account("hie-2026")
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        anchored.reserve(make_claim("0.1"))
    # Without the anchor nobody can tell, and the ledger says so.
    blind = Ledger(url, key)
    assert not blind.rollback_detectable
    blind.account("hie-2026").reserve(make_claim("0.7"))


def test_a_copied_file_is_caught(tmp_path, key, make_claim):
    """The file itself, as a backup program would."""
    path, anchor = tmp_path / "ledger.db", tmp_path / "anchor.json"
    account = Ledger(f"sqlite:///{path}", key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))
    shutil.copy(path, tmp_path / "older.db")
    account.reserve(make_claim("0.7"))
    shutil.copy(tmp_path / "older.db", path)
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(f"sqlite:///{path}", key, anchor=anchor).head


def test_a_fork_is_caught(anchored, place, anchor, elsewhere, key, make_claim):
    """A copy that went its own way to the same length."""
    fork = Ledger(elsewhere.url, key)
    elsewhere.load(place.older)
    fork = Ledger(elsewhere.url, key)
    fork.account("hie-2026").reserve(make_claim("0.6"))
    assert fork.head[0] == anchored.ledger.head[0]
    with pytest.raises(LedgerCorrupt, match="forked"):
        Ledger(elsewhere.url, key, anchor=anchor.where).head


def test_a_swapped_anchor_is_caught(anchored, anchor, elsewhere, url, key):
    """The anchor of another ledger, as long as ours or shorter."""
    other = Ledger(elsewhere.url, key)
    for dataset in "abcd":
        other.open(dataset, Budget(1, 1e-8))
        anchor.swap(other.head)
        with pytest.raises(LedgerCorrupt, match="replaced"):
            Ledger(url, key, anchor=anchor.where).head


def test_a_new_empty_ledger_in_its_place_is_caught(anchored, anchor, elsewhere, key):
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(elsewhere.url, key, anchor=anchor.where).open("hie-2026", Budget(1, 1e-8))


def test_rows_cut_off_the_end_are_caught_by_anchor_or_by_a_running_process(anchored, place, anchor, url, key):
    blind = Ledger(url, key)
    assert blind.head[0] == 3
    place.load(place.older)
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        blind.head
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(url, key, anchor=anchor.where).head
    assert Ledger(url, key).head[0] == 2


def test_a_missing_anchor_is_a_reason_to_stop(anchored, anchor, url, key):
    anchor.remove()
    with pytest.raises(LedgerCorrupt, match=r"anchor .* is missing"):
        Ledger(url, key, anchor=anchor.where).head


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version": 2, "seq": 1, "hash": "a"}', "é", '{"version":1,"seq":-1,"hash":""}']
)
def test_a_file_that_is_no_anchor(tmp_path, text):
    (tmp_path / "anchor.json").write_text(text)
    with pytest.raises(LedgerCorrupt, match="not an anchor"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", SigningKey.generate(), anchor=tmp_path / "anchor.json")


def test_an_anchor_that_cannot_be_written_stops_before_the_charge(tmp_path, url, key, make_claim):
    with pytest.raises(LedgerError, match=r"cannot|could not"):
        Ledger(url, key, anchor=tmp_path / "no" / "anchor.json")
    account = Ledger(url, key, anchor=tmp_path / "anchor.json").open("hie-2026", Budget(1, 1e-8))
    (tmp_path / "anchor.json.lock").unlink()
    (tmp_path / "anchor.json.lock").mkdir()
    with pytest.raises(LedgerError, match="nothing was charged"):
        account.reserve(make_claim("0.2"))
    assert account.state.releases == {}


def test_an_anchor_database_that_refuses_stops_before_the_charge(url, key, place, new_place, make_claim):
    second = new_place(place.kind, "anchor.db", ANCHORS)
    account = Ledger(url, key, anchor=second.url).open("hie-2026", Budget(1, 1e-8))
    with second.raw() as raw:
        raw.execute("ALTER TABLE ledger_anchor RENAME TO gone")
    with pytest.raises(LedgerError):
        account.reserve(make_claim("0.2"))
    assert Ledger(url, key).account("hie-2026").state.releases == {}


def test_an_anchor_left_behind_is_brought_forward(anchored, anchor, url, key, monkeypatch, make_claim):
    """A process that dies between its commit and its anchor, without the dying."""
    with monkeypatch.context() as patch:
        for kind in (FileAnchor, TableAnchor):
            patch.setattr(kind, "advance", lambda *_: None)
        run = anchored.reserve(make_claim("0.01"))
    assert anchor.head()[0] == 3
    ledger = Ledger(url, key, anchor=anchor.where)
    assert ledger.account("hie-2026").state.releases[run.id].costs
    assert anchor.head()[0] == 4


def test_an_anchor_never_moves_backwards(anchor, url, key):
    made = open_anchor(anchor.where, Ledger(url, key)._store.database)
    assert made.read() is None
    made.advance((5, "a" * 64))
    made.advance((4, "b" * 64))
    made.advance((5, "c" * 64))
    assert made.read() == anchor.head() == (5, "a" * 64)
    made.advance((6, "d" * 64))
    assert made.read() == (6, "d" * 64)


def test_other_tools_do_not_move_an_anchor_back(place, new_place):
    second = new_place(place.kind, "anchor.db", ANCHORS)
    TableAnchor(second.url).advance((5, "a" * 64))
    for statement in (
        "UPDATE ledger_anchor SET seq = 4",
        "UPDATE ledger_anchor SET hash = 'b'",
        "DELETE FROM ledger_anchor",
        "INSERT INTO ledger_anchor VALUES (2, 9, 'b')",
        *(["INSERT OR REPLACE INTO ledger_anchor VALUES (1, 3, 'b')"] if place.kind == "sqlite" else []),
    ):
        with second.raw() as raw, pytest.raises(second.refused):
            raw.execute(statement)
    assert TableAnchor(second.url).read() == (5, "a" * 64)


def test_an_anchor_in_the_ledgers_own_database_is_none(url, key, tmp_path, place):
    Ledger(url, key)
    with pytest.raises(LedgerError, match=r"outlive|no anchor"):
        Ledger(url, key, anchor=url)
    with pytest.raises(LedgerError, match="outlive"):
        Ledger(url, key, anchor="sqlite://")


def test_an_anchor_in_the_ledgers_own_database_under_another_name_is_none(url, key, tmp_path, place):
    if place.kind == "sqlite":
        pytest.skip("a file that is a ledger is no anchor, under any name")
    Ledger(url, key)
    assert "127.0.0.1" in url
    assert "options=" in url
    for other in (url.replace("127.0.0.1", "localhost"), f"{url}%20-c%20timezone%3DAsia/Tokyo"):
        with pytest.raises(LedgerError, match="outlive"):
            Ledger(url, key, anchor=other)


# Adopting one later ---------------------------------------------------------------------------------------------------


def test_a_ledger_with_rows_adopts_an_anchor(url, key, anchor, make_claim, place):
    ledger = Ledger(url, key)
    account = ledger.open("hie-2026", Budget(1, 1e-8))
    account.reserve(make_claim("0.2"))
    with pytest.raises(LedgerCorrupt, match=r"missing.*dpsynth --anchor WHERE ledger anchor"):
        Ledger(url, key, anchor=anchor.where).head
    older = place.rows()
    assert ledger.adopt_anchor(anchor.where) == ledger.head == anchor.head()
    assert ledger.rollback_detectable
    account.reserve(make_claim("0.1"))
    assert anchor.head() == ledger.head
    Ledger(url, key).adopt_anchor(anchor.where)
    place.load(older)
    for standing in (Ledger(url, key, anchor=anchor.where).verify, lambda: Ledger(url, key).adopt_anchor(anchor.where)):
        with pytest.raises(LedgerCorrupt, match="rolled back"):
            standing()


def test_an_anchor_behind_is_brought_forward_by_adopting_it(anchored, anchor, url, key, make_claim):
    Ledger(url, key).account("hie-2026").reserve(make_claim("0.01"))
    assert anchor.head()[0] == 3
    Ledger(url, key).adopt_anchor(anchor.where)
    assert anchor.head()[0] == 4


def test_no_anchor_is_planted_on_a_ledger_that_does_not_verify(url, key, anchor, place, make_claim):
    Ledger(url, key).open("hie-2026", Budget(1, 1e-8))
    with place.raw() as raw:
        place.drop_guards(raw)
        raw.execute("UPDATE ledger_rows SET account = 'b'")
    with pytest.raises(LedgerCorrupt, match="row 1 "):
        Ledger(url, key).adopt_anchor(anchor.where)
    with pytest.raises((TypeError, FileNotFoundError)):
        assert anchor.head()[0] == 0

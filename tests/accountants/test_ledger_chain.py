"""What the chain, the signatures and the anchor catch; and, as plainly, what they do not."""

import dataclasses
import json
import shutil
import sqlite3
import time

import pytest

from accountants import Budget, Keyring, Ledger, LedgerCorrupt, LedgerError, Refused, SigningKey
from accountants.ledger.anchor import Anchor
from accountants.ledger.rows import GENESIS, Row, row_hash

MODEL = "a" * 64
COLUMNS = ("account", "kind", "text", "prev", "hash", "signature", "key_id")


@pytest.fixture(scope="session")
def eight_rows(tmp_path_factory, key, make_claim):
    """A ledger file, made once and copied by each test."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    account = Ledger(f"sqlite:///{path}", key).open("hie-2026", Budget(1, 1e-8))
    for epsilon in ("0.2", "0.3"):
        run = account.reserve(make_claim(epsilon))
        run.start()
        run.commit(MODEL)
    account.draw(run.id, MODEL, "b" * 64, 10)
    return path


@pytest.fixture
def busy(eight_rows, tmp_path, url, key):
    """An account with eight rows, seen by this process."""
    shutil.copy(eight_rows, tmp_path / "ledger.db")
    account = Ledger(url, key).account("hie-2026")
    assert account.ledger.head[0] == 8
    return account


def drop_triggers(connection):
    for trigger in ("ledger_no_update", "ledger_no_delete", "ledger_next_only"):
        connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")


@pytest.fixture
def raw(tmp_path, busy):
    """The file through another program, triggers dropped."""
    connection = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    drop_triggers(connection)
    yield connection
    connection.close()


def caught(url, key, says):
    """Every way to read or write notices."""
    for attempt in (
        lambda ledger: ledger.head,
        lambda ledger: ledger.account("hie-2026"),
        lambda ledger: ledger.verify(),
        lambda ledger: ledger.open("other", Budget(1)),
    ):
        with pytest.raises(LedgerCorrupt, match=says):
            attempt(Ledger(url, key))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_rows SET text = replace(text, '0.2', '0.1')",
        "DELETE FROM ledger_rows WHERE seq = 8",
        "INSERT OR REPLACE INTO ledger_rows SELECT * FROM ledger_rows WHERE seq = 8",
        "INSERT OR REPLACE INTO ledger_rows SELECT 20, account, kind, text, prev, hash, signature, key_id "
        "FROM ledger_rows WHERE seq = 8",
    ],
)
def test_other_tools_are_refused(tmp_path, busy, statement):
    connection = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    busy.ledger.verify()


@pytest.mark.parametrize("column", COLUMNS)
def test_any_edit_of_any_row(url, key, raw, column):
    for seq in range(1, 9):
        (value,) = raw.execute(f"SELECT {column} FROM ledger_rows WHERE seq = ?", (seq,)).fetchone()
        edited = value[:-2] + ("0" if value[-2] != "0" else "1") + value[-1]
        drop_triggers(raw)
        raw.execute(f"UPDATE ledger_rows SET {column} = ? WHERE seq = ?", (edited, seq))
        with pytest.raises(LedgerCorrupt, match=f"row {seq} "):
            Ledger(url, key).verify()
        drop_triggers(raw)
        raw.execute(f"UPDATE ledger_rows SET {column} = ? WHERE seq = ?", (value, seq))
    assert Ledger(url, key).verify()[0] == 8


def test_an_edited_charge(url, key, raw):
    raw.execute('UPDATE ledger_rows SET text = replace(text, \'"epsilon":"0.2"\', \'"epsilon":"0.1"\') WHERE seq = 2')
    caught(url, key, "row 2 .*edited")


@pytest.mark.parametrize("seq", range(1, 8))
def test_a_deleted_row(url, key, raw, seq):
    raw.execute("DELETE FROM ledger_rows WHERE seq = ?", (seq,))
    caught(url, key, f"row {seq + 1} .*removed")


def test_deleted_and_renumbered(url, key, raw):
    raw.execute("DELETE FROM ledger_rows WHERE seq = 3")
    raw.execute("UPDATE ledger_rows SET seq = seq - 1 WHERE seq > 3")
    caught(url, key, "row 3 ")


def test_an_inserted_copy(url, key, raw):
    raw.execute(f"INSERT INTO ledger_rows SELECT 9, {', '.join(COLUMNS)} FROM ledger_rows WHERE seq = 8")
    caught(url, key, "row 9 ")


def test_swapped_rows(url, key, raw):
    for old, new in ((4, 99), (5, 4), (99, 5)):
        raw.execute("UPDATE ledger_rows SET seq = ? WHERE seq = ?", (new, old))
    caught(url, key, "row 4 ")


def test_a_field_that_is_not_text(url, key, raw):
    raw.execute("UPDATE ledger_rows SET signature = x'00ff' WHERE seq = 4")
    caught(url, key, "row 4 .*not text")


def resign(raw, rows, key, edit):
    """The best forgery without the key: edit, then chain and sign everything afresh."""
    drop_triggers(raw)  # a session that opened the ledger in between has made them again
    raw.execute("DELETE FROM ledger_rows")
    prev = GENESIS
    for old in rows:
        body = {name: value for name, value in old.body.items() if name != "version"}
        row = Row.signed(old.seq, old.account, old.kind, edit(old.kind, body), prev, key)
        values = [getattr(row, name) for name in ("seq", *COLUMNS)]
        raw.execute("INSERT INTO ledger_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        prev = row.hash


def cheaper(kind, body):
    if kind == "reserve":
        body["charge"]["mu_squared"] = "1e-9"
    return body


def test_signed_again_with_a_fresh_key(url, key, raw, busy):
    rows = busy.ledger.rows()
    resign(raw, rows, SigningKey.generate(), lambda kind, body: body)
    caught(url, key, "row 1 .*not trusted")
    with pytest.raises(LedgerCorrupt, match="this process has read another row"):
        busy.ledger.head
    decision = busy.decide_release("b" * 64, MODEL)
    assert isinstance(decision, Refused)
    assert decision.rule == "chain"


def test_a_spoilt_signature_in_the_middle(url, key, raw):
    """It vouches for nothing that a later one does not; the full verify names it all the same."""
    raw.execute("UPDATE ledger_rows SET signature = replace(signature, '0', '1') WHERE seq = 3")
    assert Ledger(url, key).head[0] == 8
    with pytest.raises(LedgerCorrupt, match=r"row 3 .*signature"):
        Ledger(url, key).verify()


@pytest.mark.parametrize("signature", ["00" * 64, "nothex", ""])
def test_a_forged_row_at_the_end(url, key, raw, busy, signature):
    """Chained as it should be, with a trusted key's name on it, but signed by nobody."""
    head = busy.ledger.rows()[-1]
    text = head.text.replace('"rows":10', '"rows":99')
    digest = row_hash(9, head.account, "draw", text, head.hash, head.key_id)
    forged = (9, head.account, "draw", text, head.hash, digest, signature, head.key_id)
    raw.execute("INSERT INTO ledger_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", forged)
    caught(url, key, "row 9 .*signature")
    with pytest.raises(LedgerCorrupt, match=r"row 9 .*signature"):
        busy.state


def test_a_stolen_key_still_has_to_add_up(url, key, raw, busy):
    """With the key anything can be signed; a full verify still sees a charge below its claim, a fold a bad order."""
    rows = busy.ledger.rows()
    resign(raw, rows, key, cheaper)
    assert Ledger(url, key).account("hie-2026").state.spent_mu_squared < 1e-6
    with pytest.raises(LedgerCorrupt, match=r"row 2 .*below its claim"):
        Ledger(url, key).verify()
    resign(raw, [row for row in rows if row.kind != "open"], key, lambda kind, body: body)
    with pytest.raises(LedgerCorrupt):
        Ledger(url, key).verify()


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("reserve", {"charge": {"mu_squared": "9", "delta0": "0", "epsilon": "1", "delta": "1e-9"}}, "exceeds"),
        ("reserve", {"charge": {"mu_squared": "-1", "delta0": "0", "epsilon": "1", "delta": "1e-9"}}, "describe"),
        ("reserve", {"charge": {"mu_squared": "NaN", "delta0": "0", "epsilon": "1", "delta": "1e-9"}}, "describe"),
        ("reserve", {"charge": {}}, "describe"),
        ("commit", {"release": "f" * 32}, "never reserved"),
        ("start", {"release": None}, "never reserved"),
        ("draw", {"model": "c" * 64}, "did not commit"),
        ("open", {"lifetime": {"budget": {"epsilon": "1", "delta": "1"}, "filter": "gdp", "cap": None}}, "describe"),
    ],
)
def test_signed_rows_that_cannot_follow(url, key, raw, busy, kind, change, says):
    resign(raw, busy.ledger.rows(), key, lambda k, body: {**body, **change} if k == kind else body)
    caught(url, key, says)


def test_a_newer_version_of_a_row(url, key, raw, busy, monkeypatch):
    rows = busy.ledger.rows()
    monkeypatch.setattr("accountants.ledger.rows.VERSION", 2)
    resign(raw, rows, key, lambda kind, body: body)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match=r"version 2.*upgrade") as error:
        Ledger(url, key).head
    assert not isinstance(error.value, LedgerCorrupt)


def test_keys_can_follow_one_another(url, key, busy, make_claim, tmp_path):
    ring = Keyring(tmp_path / "keys")
    ring.trust(key.public.pem())
    later = ring.signing_key(create=True)
    ledger = Ledger(url, later, trusted=ring.trusted())
    ledger.account("hie-2026").reserve(make_claim("0.1"))
    assert {row.key_id for row in ledger.rows()} == {key.public.key_id, later.public.key_id}
    with pytest.raises(LedgerCorrupt, match=r"row 9 .*not trusted"):
        Ledger(url, key).verify()


# The anchor -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def anchored(url, key, tmp_path, make_claim):
    """A ledger with an anchor, and a copy of it from before its last release."""
    anchor = tmp_path / "elsewhere" / "anchor.json"
    anchor.parent.mkdir()
    account = Ledger(url, key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))
    account.reserve(make_claim("0.2"))
    shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
    account.reserve(make_claim("0.7"))
    return account


def test_the_anchor_holds_the_head(anchored, tmp_path):
    assert anchored.ledger.rollback_detectable
    seq, digest = anchored.ledger.head
    assert json.loads((tmp_path / "elsewhere" / "anchor.json").read_text()) == {
        "version": 1,
        "seq": seq,
        "hash": digest,
    }
    assert sorted(entry.name for entry in (tmp_path / "elsewhere").iterdir()) == ["anchor.json", "anchor.json.lock"]


def test_a_restored_older_copy_is_caught(anchored, url, key, tmp_path, make_claim):
    shutil.copy(tmp_path / "older.db", tmp_path / "ledger.db")
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(url, key, anchor=tmp_path / "elsewhere" / "anchor.json").account("hie-2026")
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        anchored.reserve(make_claim("0.1"))
    # Without the anchor nobody can tell, and the ledger says so.
    blind = Ledger(url, key)
    assert not blind.rollback_detectable
    blind.account("hie-2026").reserve(make_claim("0.7"))


def test_a_fork_is_caught(anchored, key, tmp_path, make_claim):
    """A copy that went its own way to the same length."""
    fork = Ledger(f"sqlite:///{tmp_path / 'older.db'}", key)
    fork.account("hie-2026").reserve(make_claim("0.6"))
    assert fork.head[0] == anchored.ledger.head[0]
    with pytest.raises(LedgerCorrupt, match="forked"):
        Ledger(f"sqlite:///{tmp_path / 'older.db'}", key, anchor=tmp_path / "elsewhere" / "anchor.json").head


def test_a_new_empty_ledger_in_its_place_is_caught(anchored, tmp_path, key):
    anchor = tmp_path / "elsewhere" / "anchor.json"
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(f"sqlite:///{tmp_path / 'new.db'}", key, anchor=anchor).open("hie-2026", Budget(1, 1e-8))


def test_rows_cut_off_the_end_are_caught_by_anchor_or_by_a_running_process(anchored, tmp_path, url, key):
    blind = Ledger(url, key)
    assert blind.head[0] == 3
    connection = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    connection.execute("DROP TRIGGER ledger_no_delete")
    connection.execute("DELETE FROM ledger_rows WHERE seq = 3")
    connection.close()
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        blind.head
    with pytest.raises(LedgerCorrupt, match="rolled back"):
        Ledger(url, key, anchor=tmp_path / "elsewhere" / "anchor.json").head
    assert Ledger(url, key).head[0] == 2


def test_a_missing_anchor_is_a_reason_to_stop(anchored, tmp_path, url, key):
    anchor = tmp_path / "elsewhere" / "anchor.json"
    anchor.unlink()
    with pytest.raises(LedgerCorrupt, match=r"anchor .* is missing"):
        Ledger(url, key, anchor=anchor).head


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version": 2, "seq": 1, "hash": "a"}', "é", '{"version":1,"seq":-1,"hash":""}']
)
def test_a_file_that_is_no_anchor(anchored, tmp_path, url, key, text):
    anchor = tmp_path / "elsewhere" / "anchor.json"
    anchor.write_text(text)
    with pytest.raises(LedgerCorrupt, match="not an anchor"):
        Ledger(url, key, anchor=anchor).head


def test_an_anchor_that_cannot_be_written_stops_before_the_charge(tmp_path, url, key, make_claim):
    with pytest.raises(LedgerError, match=r"cannot|could not"):
        Ledger(url, key, anchor=tmp_path / "no" / "anchor.json")
    account = Ledger(url, key, anchor=tmp_path / "anchor.json").open("hie-2026", Budget(1, 1e-8))
    (tmp_path / "anchor.json.lock").unlink()
    (tmp_path / "anchor.json.lock").mkdir()
    with pytest.raises(LedgerError, match="nothing was charged"):
        account.reserve(make_claim("0.2"))
    assert account.state.releases == {}


def test_an_anchor_left_behind_is_brought_forward(anchored, tmp_path, url, key, monkeypatch, make_claim):
    """A process that dies between its commit and its anchor, without the dying."""
    path = tmp_path / "elsewhere" / "anchor.json"
    with monkeypatch.context() as patch:
        patch.setattr(Anchor, "advance", lambda *_: None)
        run = anchored.reserve(make_claim("0.01"))
    assert json.loads(path.read_text())["seq"] == 3
    ledger = Ledger(url, key, anchor=path)
    assert ledger.account("hie-2026").state.releases[run.id].costs
    assert json.loads(path.read_text())["seq"] == 4


def test_an_anchor_never_moves_backwards(tmp_path):
    anchor = Anchor(tmp_path / "anchor.json")
    assert anchor.read() is None
    anchor.advance((5, "a" * 64))
    anchor.advance((4, "b" * 64))
    assert anchor.read() == (5, "a" * 64)


def test_verifying_a_thousand_rows_is_quick(raw, busy, url, key):
    """A void and a reservation over and over, signed directly."""
    opening, reserve = busy.ledger.rows()[:2]
    rows, prev = [opening], opening.hash
    for number in range(500):
        body = {name: value for name, value in reserve.body.items() if name != "version"}
        body["release"] = f"{number:032x}"
        for kind, fields in (("reserve", body), ("void", {"release": body["release"]})):
            rows.append(Row.signed(len(rows) + 1, "hie-2026", kind, fields, prev, key))
            prev = rows[-1].hash
    raw.execute("DELETE FROM ledger_rows")
    raw.executemany(
        "INSERT INTO ledger_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [dataclasses.astuple(row) for row in rows]
    )
    begun = time.process_time()
    assert Ledger(url, key).head[0] == 1001
    assert time.process_time() - begun < 3.0, "about 0.1 s on an idle core"

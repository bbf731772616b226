"""What the chain, the signatures and the anchor catch; and, as plainly, what they do not."""

import dataclasses
import json
import time

import pytest

from accountants import Budget, Keyring, Ledger, LedgerCorrupt, LedgerError, Refused, SigningKey
from accountants.ledger import fold
from accountants.ledger.rows import GENESIS, Row, row_hash
from tests.accountants.places import SQLitePlace

MODEL = "a" * 64
COLUMNS = ("account", "kind", "text", "prev", "hash", "signature", "key_id")


@pytest.fixture(scope="session")
def eight_rows(tmp_path_factory, key, make_claim):
    """A ledger's rows, made once and loaded by each test."""
    made = SQLitePlace(tmp_path_factory.mktemp("ledger") / "ledger.db")
    account = Ledger(made.url, key).open("hie-2026", Budget(1, 1e-8))
    for epsilon in ("0.2", "0.3"):
        run = account.reserve(make_claim(epsilon))
        run.start()
        run.commit(MODEL)
    account.draw(run.id, MODEL, "b" * 64, 10)
    return made.rows()


@pytest.fixture
def busy(eight_rows, place, url, key):
    """An account with eight rows, seen by this process."""
    ledger = Ledger(url, key)
    place.load(eight_rows)
    account = Ledger(url, key).account("hie-2026")
    assert account.ledger.head[0] == 8
    del ledger
    return account


@pytest.fixture
def raw(place, busy):
    """The rows through another program, triggers dropped."""
    with place.raw() as connection:
        place.drop_guards(connection)
        yield connection


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


ATTACKS = {
    "sqlite": (
        "UPDATE ledger_rows SET text = replace(text, '0.2', '0.1')",
        "DELETE FROM ledger_rows WHERE seq = 8",
        "INSERT OR REPLACE INTO ledger_rows SELECT * FROM ledger_rows WHERE seq = 8",
        "INSERT OR REPLACE INTO ledger_rows SELECT 20, account, kind, text, prev, hash, signature, key_id "
        "FROM ledger_rows WHERE seq = 8",
    ),
    "postgresql": (
        "UPDATE ledger_rows SET text = replace(text, '0.2', '0.1')",
        "DELETE FROM ledger_rows WHERE seq = 8",
        "TRUNCATE ledger_rows",
        "INSERT INTO ledger_rows SELECT * FROM ledger_rows WHERE seq = 8 ON CONFLICT (seq) DO UPDATE SET kind = 'void'",
        "INSERT INTO ledger_rows SELECT 20, account, kind, text, prev, hash, signature, key_id "
        "FROM ledger_rows WHERE seq = 8",
        "SET session_replication_role = replica; DELETE FROM ledger_rows",
    ),
}


def test_other_tools_are_refused(place, busy):
    for statement in ATTACKS[place.kind]:
        with place.raw() as connection, pytest.raises(place.refused, match="append-only"):
            connection.execute(statement)
    assert busy.ledger.verify()[0] == 8


def test_dropped_triggers_are_made_again(place, busy, url, key):
    with place.raw() as connection:
        place.drop_guards(connection)
    Ledger(url, key)
    test_other_tools_are_refused(place, busy)


@pytest.mark.parametrize("column", COLUMNS)
def test_any_edit_of_any_row(place, url, key, raw, column):
    for seq in range(1, 9):
        (value,) = raw.execute(f"SELECT {column} FROM ledger_rows WHERE seq = ?", (seq,)).fetchone()
        edited = value[:-2] + ("0" if value[-2] != "0" else "1") + value[-1]
        place.drop_guards(raw)
        raw.execute(f"UPDATE ledger_rows SET {column} = ? WHERE seq = ?", (edited, seq))
        with pytest.raises(LedgerCorrupt, match=f"row {seq} "):
            Ledger(url, key).verify()
        place.drop_guards(raw)
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


def test_a_field_that_is_not_text(place, url, key, raw):
    if place.kind != "sqlite":
        pytest.skip("PostgreSQL keeps a column's type")
    raw.execute("UPDATE ledger_rows SET signature = x'00ff' WHERE seq = 4")
    caught(url, key, "row 4 .*not text")


def resign(place, rows, key, edit):
    """The best forgery without the key: edit, then chain and sign everything afresh."""
    forged, prev = [], GENESIS
    for old in rows:
        body = {name: value for name, value in old.body.items() if name != "version"}
        row = Row.signed(old.seq, old.account, old.kind, edit(old.kind, body), prev, key)
        forged.append(dataclasses.astuple(row))
        prev = row.hash
    place.load(forged)


def cheaper(kind, body):
    if kind == "reserve":
        body["charge"]["mu_squared"] = "1e-9"
    return body


def wider(kind, body):
    if kind == "open":
        body["lifetime"]["cap"]["mu_squared"] = "9"
    return body


def test_signed_again_with_a_fresh_key(place, url, key, busy):
    rows = busy.ledger.rows()
    resign(place, rows, SigningKey.generate(), lambda kind, body: body)
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


def test_a_stolen_key_still_has_to_add_up(place, url, key, busy):
    """With the key anything can be signed; a full verify still sees a charge below its claim, a fold a bad order."""
    rows = busy.ledger.rows()
    resign(place, rows, key, cheaper)
    assert Ledger(url, key).account("hie-2026").state.spent_mu_squared < 1e-6
    with pytest.raises(LedgerCorrupt, match=r"row 2 .*below its claim"):
        Ledger(url, key).verify()
    resign(place, rows, key, wider)
    assert Ledger(url, key).account("hie-2026").state.cap_mu_squared == 9
    with pytest.raises(LedgerCorrupt, match=r"row 1 .*cap is above what its budget allows"):
        Ledger(url, key).verify()
    resign(place, [row for row in rows if row.kind != "open"], key, lambda kind, body: body)
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
def test_signed_rows_that_cannot_follow(place, url, key, busy, kind, change, says):
    resign(place, busy.ledger.rows(), key, lambda k, body: {**body, **change} if k == kind else body)
    caught(url, key, says)


def test_a_newer_version_of_a_row(place, url, key, busy, monkeypatch):
    rows = busy.ledger.rows()
    monkeypatch.setattr("accountants.ledger.rows.version_of", lambda *_: 4)
    resign(place, rows, key, lambda kind, body: body)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match=r"version 4.*upgrade") as error:
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


def test_rows_of_two_forks_do_not_mix(place, url, key, busy, make_claim):
    """Both halves are genuine and numbered as they should be; the second follows another row than the first."""
    older = place.rows()
    busy.reserve(make_claim("0.1"))
    busy.reserve(make_claim("0.1"))
    one = place.rows()
    place.load(older)
    fork = Ledger(url, key).account("hie-2026")
    fork.reserve(make_claim("0.05"))
    place.load([*place.rows(), one[9]])
    caught(url, key, "row 10 .*does not follow")


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ("open open", "second time"),
        ("open reserve reserve", "second time"),
        ("reserve", "never opened"),
        ("open start", "never reserved"),
        ("open reserve commit", "running; this one is reserved"),
        ("open reserve forfeit", "running; this one is reserved"),
        ("open reserve draw", "committed; this one is reserved"),
        ("open reserve start commit read", "not drawn from its release"),
        ("open reserve read", "committed; this one is reserved"),
        ("open reserve start start", "reserved; this one is running"),
        ("open reserve start void", "reserved; this one is running"),
        ("open reserve start commit void", "reserved; this one is committed"),
        ("open reserve start forfeit commit", "running; this one is forfeited"),
        ("open reserve void start", "reserved; this one is voided"),
        ("open reserve start reserve2 start2", "is running"),
    ],
)
def test_no_order_of_signed_rows_that_a_session_would_not_write(eight_rows, key, kinds, says):
    bodies = {kind: json.loads(text) for _, _, kind, text, *_ in eight_rows}
    bodies |= {"void": {"release": 0}, "forfeit": {"release": 0, "reason": "failed"}}
    bodies["read"] = {"on": "2026-01-01", "release": 0, "table": "b" * 64}
    rows, prev = [], GENESIS
    for seq, name in enumerate(kinds.split(), 1):
        kind = name.rstrip("2")
        body = {field: value for field, value in bodies[kind].items() if field != "version"}
        if kind != "open":
            body["release"] = "f" * 32 if name == kind else "e" * 32
        rows.append(Row.signed(seq, "hie-2026", kind, body, prev, key))
        prev = rows[-1].hash
    fold(rows[:-1])
    with pytest.raises(LedgerCorrupt, match=f"row {len(rows)} .*{says}"):
        fold(rows)


def test_verifying_a_thousand_rows_is_quick(place, busy, url, key):
    """A void and a reservation over and over, signed directly."""
    opening, reserve = busy.ledger.rows()[:2]
    rows, prev = [opening], opening.hash
    for number in range(500):
        body = {name: value for name, value in reserve.body.items() if name != "version"}
        body["release"] = f"{number:032x}"
        for kind, fields in (("reserve", body), ("void", {"release": body["release"]})):
            rows.append(Row.signed(len(rows) + 1, "hie-2026", kind, fields, prev, key))
            prev = rows[-1].hash
    place.load([dataclasses.astuple(row) for row in rows])
    begun = time.process_time()
    assert Ledger(url, key).head[0] == 1001
    assert time.process_time() - begun < 3.0, "about 0.1 s on an idle core"

"""What a ledger's place may be, and what each store says when it cannot be used: one sentence, and no secrets."""

import os
import socket
import sqlite3
import threading
from contextlib import suppress

import pytest
from sqlalchemy.exc import DBAPIError

from accountants import Budget, Ledger, LedgerBusy, LedgerError, Lifetime, Status
from accountants.ledger import database
from accountants.ledger.store import Store
from tests.accountants.places import LEDGERS, PostgresPlace


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "not a ledger address"),
        ("mysql://user:secret@host/db", "SQLite or PostgreSQL, got 'mysql'"),
        ("user:secret@host", "not a ledger address"),
        ("postgresql://user:secret@host:port/db", "not a ledger address"),
        ("sqlite:///ledger.db?mode=secret", "names a file and nothing else"),
        ("sqlite:////no/such/folder/ledger.db", "does not exist"),
        ("sqlite:////", "is a folder"),
        ("sqlite:////proc/ledger.db", "cannot write the ledger"),
    ],
)
def test_addresses(address, says, key):
    with pytest.raises(LedgerError, match=says) as caught:
        Ledger(address, key)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_not_a_database(tmp_path, key):
    (tmp_path / "ledger.db").write_bytes(b"age,sex\n41,F\n" * 400)
    with pytest.raises(LedgerError, match="not an SQLite file") as caught:
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", key)
    assert "41" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_another_database(place, url, key):
    """SQLite files are ledgers or not; a PostgreSQL may hold what it likes beside one."""
    with place.raw() as raw:
        raw.execute("CREATE TABLE patients (x int)")
    if place.kind == "sqlite":
        with pytest.raises(LedgerError, match="no ledger"):
            Ledger(url, key)
        return
    Ledger(url, key).open("a", Budget(1))
    with place.raw() as raw:
        assert raw.execute("SELECT count(*) FROM patients").fetchone() == (0,)


def test_a_table_of_that_name_with_another_layout(place, url, key):
    with place.raw() as raw:
        raw.execute("CREATE TABLE ledger_rows (seq int PRIMARY KEY, patient text)")
    with pytest.raises(LedgerError, match=r"no ledger of ours|layout 0"):
        Ledger(url, key)


def test_a_newer_layout(place, account, url, key):
    with place.raw() as raw:
        if place.kind == "sqlite":
            raw.execute("PRAGMA user_version=2")
        else:
            raw.execute("COMMENT ON TABLE ledger_rows IS 'dpsynth ledger, layout 2'")
    with pytest.raises(LedgerError, match=r"layout 2.*upgrade"):
        Ledger(url, key)


def test_a_damaged_file(tmp_path, key, make_claim):
    path = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{path}", key).open("hie-2026", Budget(1, 1e-8)).reserve(make_claim())
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(LedgerError):
        Ledger(f"sqlite:///{path}", key).verify()


def test_a_locked_store_is_busy(place, url, key, account, make_claim, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    patient, holder = Ledger(url, key).account("hie-2026"), Ledger(url, key)
    with holder._store.write():
        assert patient.state == account.state, "reading goes on"
        with pytest.raises(LedgerBusy, match="nothing was charged"):
            patient.reserve(make_claim())
    patient.reserve(make_claim())


def test_one_ledger_by_any_name(tmp_path, key, make_claim):
    path = tmp_path / "ledger.db"
    account = Ledger(f"sqlite:///{path}", key).open("hie-2026", Budget(1, 1e-8))
    (tmp_path / "link.db").symlink_to(path)
    other = Ledger(f"sqlite:///{tmp_path / 'link.db'}", key).account("hie-2026")
    run = account.reserve(make_claim("0.2"))
    run.start()
    with pytest.raises(LedgerBusy):
        other.reserve(make_claim("0.2"))


def test_pages_do_not_show(account, url, key, make_claim, monkeypatch):
    monkeypatch.setattr("accountants.ledger.store._PAGE", 2)
    for _ in range(3):
        account.reserve(make_claim("0.1")).void()
        assert Ledger(url, key).rows() == account.ledger.rows()
    assert Ledger(url, key).verify()[0] == 7


def test_a_lifetime_keeps_the_text_of_its_own_budget():
    """Equal decimals may be written differently: one account's "3.0" must not appear in another's certificate."""
    assert [str(Lifetime.of(Budget(text)).budget.epsilon) for text in ("3.0", "3", "3.00")] == ["3.0", "3", "3.00"]


# PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def schema(postgres) -> PostgresPlace:
    """A schema of the tests' server."""
    return PostgresPlace(postgres, LEDGERS)


@pytest.fixture
def ours(schema, key):
    """An account there."""
    return Ledger(schema.url, key).open("hie-2026", Budget(1, 1e-8))


def role(schema, name, *grants):
    """A role that may log in, made once on the server."""
    with schema.raw() as raw:
        if not raw.execute("SELECT 1 FROM pg_roles WHERE rolname = ?", (name,)).fetchone():
            raw.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
        for grant in grants:
            raw.execute(f"GRANT {grant} TO {name}")
    return schema.url_of(name)


def test_without_psycopg_the_message_says_what_to_install(monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr("accountants.ledger.postgres.create_engine", missing)
    with pytest.raises(LedgerError, match=r"pip install 'dpsynth\[postgres\]'"):
        Ledger("postgresql://user:secret@host/db")


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgres"])
def test_no_server(driver):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LedgerError, match="cannot be reached") as caught:
        Ledger(f"{driver}://user:secret@127.0.0.1:{port}/db?application_name=secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_the_server_refuses(schema, key):
    locked = role(schema, "locked").replace("locked@", "locked:secret@")
    for address, says in (
        (locked, r"locked@127\.0\.0\.1:\d+/ledgers refuses the login"),
        (schema.url.replace(LEDGERS, "nowhere"), "that database is not; make it first"),
        (schema.url.replace(schema.schema, "nowhere"), "no schema"),
        (role(schema, "nobody", f"USAGE ON SCHEMA {schema.schema}"), "may not"),
    ):
        with pytest.raises(LedgerError, match=says) as caught:
            Ledger(address, key)
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_role_needs_select_and_insert_only(schema, ours, key, make_claim):
    address = role(
        schema, "clerk", f"USAGE ON SCHEMA {schema.schema}", f"SELECT, INSERT ON {schema.schema}.ledger_rows"
    )
    account = Ledger(address, key).account("hie-2026")
    run = account.reserve(make_claim("0.3"))
    run.start()
    run.commit("a" * 64)
    assert ours.state == account.state
    with schema.raw() as raw:
        schema.drop_guards(raw)
    with pytest.raises(LedgerError, match="may not"):
        Ledger(address, key)  # the owner's next opening makes the triggers again


def test_the_short_address_is_the_same_place(schema, ours, key):
    other = Ledger(schema.url.replace("postgresql://", "postgres://"), key)
    assert other.place == ours.ledger.place
    assert other.datasets() == ("hie-2026",)


def test_a_reader_needs_select_only(schema, ours, key, make_claim):
    address = role(schema, "reader", f"USAGE ON SCHEMA {schema.schema}", f"SELECT ON {schema.schema}.ledger_rows")
    reader = Ledger(address, key).account("hie-2026")
    assert reader.state == ours.state
    with pytest.raises(LedgerError, match="may not"):
        reader.reserve(make_claim())
    assert ours.state.releases == {}


def test_schemas_are_ledgers_of_their_own(postgres, schema, ours, key, make_claim):
    """Rows and locks: a run here keeps nobody from running there."""
    other = Ledger(PostgresPlace(postgres, LEDGERS).url, key).open("hie-2026", Budget(1, 1e-8))
    run = ours.reserve(make_claim("0.3"))
    run.start()
    second = other.reserve(make_claim("0.3"))
    second.start()
    run.commit("a" * 64)
    second.commit("a" * 64)


def test_a_statement_that_failed_is_never_committed_in_silence(ours):
    """PostgreSQL answers the COMMIT of a failed transaction with a rollback, not with an error."""
    writing = ours.ledger._store.write()
    with pytest.raises(LedgerError, match="nothing was written"), writing as connection, suppress(DBAPIError):
        connection.exec_driver_sql("SELECT 1/0")


def terminate(schema, where):
    with schema.raw() as raw:
        raw.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where} AND pid != pg_backend_pid() "
            f"AND datname = '{LEDGERS}'"
        )


def test_a_connection_lost_before_the_commit_writes_nothing(schema, ours, make_claim, monkeypatch):
    insert = Store.insert

    def lose(self, connection, row):
        insert(self, connection, row)
        terminate(schema, "state = 'idle in transaction'")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "insert", lose)
        with pytest.raises(LedgerError, match="may or may not stand"):
            ours.reserve(make_claim("0.9"))
    assert ours.state.releases == {}
    ours.reserve(make_claim("0.9"))


def test_a_run_whose_lock_connection_is_lost_stays_charged(schema, ours, key, make_claim):
    """Another session may then take it for dead; it is charged whole, and its commit is refused."""
    run = ours.reserve(make_claim("0.3"))
    run.start()
    terminate(schema, "state = 'idle'")
    while True:
        try:
            second = Ledger(schema.url, key).account("hie-2026").reserve(make_claim("0.1"))
            break
        except LedgerBusy:
            continue
    with pytest.raises(LedgerError, match="is forfeited, and must be running"):
        run.commit("a" * 64)
    assert ours.state.spent.epsilon == run.claim.budget.epsilon + second.claim.budget.epsilon
    assert run.forfeit("failed")


class Proxy:
    """Between client and server; once armed, it lets a COMMIT through and loses the answer."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed = False
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self._pumps: list[threading.Thread] = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            for pump in (self._upstream, self._downstream):
                self._pumps.append(threading.Thread(target=pump, args=(client, server)))
                self._pumps[-1].start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        try:
            inserted = False
            while data := client.recv(65536):
                inserted = inserted or b"INSERT INTO" in data
                if self.armed and inserted and b"COMMIT\0" in data:
                    self.armed = False
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(data)
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _downstream(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            while server.recv(65536):
                pass
        client.close()
        server.close()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._pumps):
            thread.join(10)


@pytest.fixture
def lossy(schema, ours, key):
    """The same account through a proxy."""
    proxy = Proxy(schema.server.port)
    address = schema.url.replace(str(schema.server.port), str(proxy.port))
    yield proxy, Ledger(address, key).account("hie-2026")
    proxy.stop()


def settled(account, rows):
    """The account once the server has done what it was told last."""
    while len(account.ledger.rows()) < rows:
        pass
    return account.state


def test_a_reservation_whose_answer_is_lost_is_charged_once_and_can_be_voided(lossy, ours, make_claim):
    proxy, account = lossy
    proxy.armed = True
    with pytest.raises(LedgerError, match=r"may or may not stand.*ledger show"):
        account.reserve(make_claim("0.9"))
    state = settled(ours, 2)
    (release,) = state.releases.values()
    assert release.status is Status.RESERVED
    assert state.spent_mu_squared == release.claim.capacity
    account.void(release.id)
    account.reserve(make_claim("0.9"))


def test_a_start_whose_answer_is_lost_gives_no_meter(lossy, ours, make_claim):
    proxy, account = lossy
    run = account.reserve(make_claim("0.3"))
    proxy.armed = True
    with pytest.raises(LedgerError, match="may or may not stand"):
        run.start()
    assert run._meter is None
    assert settled(ours, 3).releases[run.id].status is Status.RUNNING
    with pytest.raises(LedgerError):
        run.start()
    second = ours.reserve(make_claim("0.1"))
    assert ours.state.releases[run.id].reason == "crashed"
    assert ours.state.spent_mu_squared >= run.claim.capacity
    assert second.status is Status.RESERVED


def test_a_commit_whose_answer_is_lost_stands_once(lossy, ours, make_claim):
    proxy, account = lossy
    run = account.reserve(make_claim("0.3"))
    run.start()
    proxy.armed = True
    with pytest.raises(LedgerError, match="may or may not stand"):
        run.commit("a" * 64)
    assert settled(ours, 4).releases[run.id].status is Status.COMMITTED
    assert run.forfeit("failed"), "an ended run is left alone"
    assert ours.state.releases[run.id].status is Status.COMMITTED
    assert ours.state.spent_mu_squared == run.claim.capacity
    assert len(ours.ledger.rows()) == 4


def test_a_forked_child_leaves_its_parents_lock_alone(schema, ours, key, make_claim):
    """Closing a connection says goodbye on a socket that the parent still uses."""
    run = ours.reserve(make_claim("0.3"))
    run.start()
    child = os.fork()
    if child == 0:
        run._lock.release()
        run._lock.__del__()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(LedgerBusy):
        Ledger(schema.url, key).account("hie-2026").reserve(make_claim("0.1"))
    run.commit("a" * 64)


def test_sqlite_pragmas(tmp_path, key):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", key)
    with ledger._store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    assert sqlite3.connect(tmp_path / "ledger.db").close() is None

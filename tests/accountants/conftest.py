"""Claims and ledgers for the tests of the record."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pytest

from accountants import (
    AdaptivePlan,
    Budget,
    Claim,
    FixedPlan,
    Gaussian,
    Ledger,
    PrivacyUnit,
    SigningKey,
    mu_squared_cap,
)
from tests.accountants.places import ANCHORS, LEDGERS, AnchorPlace, Place, PostgresPlace, SQLitePlace
from tests.postgres import Server, binaries

SCHEMA = "5c" * 32


def pytest_generate_tests(metafunc) -> None:
    """Whatever is about a ledger's store runs on every store there is."""
    if "place" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2].startswith(
        ("test_ledger", "test_store")
    ):
        metafunc.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@lru_cache
def _plan(budget: Budget, share: Decimal) -> AdaptivePlan:
    return AdaptivePlan(float((mu_squared_cap(budget) * share).sqrt()) * (1 - 1e-12))


def _claim(epsilon: Any = "0.5", delta: Any = "1e-9", *, share: Any = 1, **fields: Any) -> Claim:
    budget = Budget(epsilon, delta)
    defaults = {
        "budget": budget,
        "unit": PrivacyUnit("person", 3),
        "plan": fields.pop("plan", None) or _plan(budget, Decimal(share)),
        "generator": "aim",
        "schema_digest": SCHEMA,
    }
    return Claim(**{**defaults, **fields})


@pytest.fixture(scope="session")
def make_claim() -> Callable[..., Claim]:
    """A claim whose plan fills `share` of its budget."""
    return _claim


@pytest.fixture(scope="session")
def fixed_plan() -> FixedPlan:
    """Three looks, cheap enough for epsilon 0.5."""
    return FixedPlan([Gaussian(40.0), Gaussian(40.0), Gaussian(50.0)])


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of this test process's own."""
    installed = binaries()
    if installed is None:
        pytest.skip("no PostgreSQL server binaries on PATH or in /usr/lib/postgresql")
    server = Server(installed)
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {LEDGERS}")
        connection.execute(f"CREATE DATABASE {ANCHORS}")
    yield server
    server.stop()


@pytest.fixture
def new_place(request, tmp_path) -> Callable[..., Place]:
    """Makes places of a kind."""

    def make(kind: str, name: str = "ledger.db", database: str = LEDGERS) -> Place:
        if kind == "sqlite":
            return SQLitePlace(tmp_path / name)
        return PostgresPlace(request.getfixturevalue("postgres"), database)

    return make


@pytest.fixture
def place(request, new_place) -> Place:
    """Where the test's ledger is: SQLite, and in the ledger's own tests PostgreSQL too."""
    return new_place(getattr(request, "param", "sqlite"))


@pytest.fixture
def url(place) -> str:
    return place.url


@pytest.fixture(params=["file", "database"])
def anchor(request, place, new_place, tmp_path) -> AnchorPlace:
    """Where the test's anchor is: a file, or a second database of the same kind as the ledger's."""
    if request.param == "database":
        second = new_place(place.kind, "anchor.db", ANCHORS)
        return AnchorPlace(second.url, second)
    (tmp_path / "elsewhere").mkdir()
    return AnchorPlace(tmp_path / "elsewhere" / "anchor.json")


@pytest.fixture
def account(url, key):
    """An account of (1, 1e-8)."""
    return Ledger(url, key).open("hie-2026", Budget(1, 1e-8))

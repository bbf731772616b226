"""From an address to a database: SQLite for one machine, PostgreSQL for a team."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from accountants.errors import LedgerError
from accountants.ledger.database import Database, Layout

_EXAMPLES = "use sqlite:///path/to/ledger.db or postgresql://user@host/database"


def open_database(url: str, layout: Layout, *, make: bool = True) -> Database:
    """The database at `url`, with `layout` made in it where there is none.

    Args:
        url: ``sqlite:///path.db``, ``sqlite://`` (in memory) or ``postgresql://user@host/database``, which
            may also be written ``postgres://``.
        layout: what it is to hold.
        make: False makes nothing, neither file nor table; `Database.present` says whether it is there.

    Raises:
        LedgerError: another address, a place that cannot be used, something else there, or a newer layout.
        LedgerBusy: another program holds it.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # not quoted back: what is no address may still hold a password
        raise LedgerError(f"the text given is not a {layout.noun} address; {_EXAMPLES}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            from accountants.ledger.sqlite import SQLite

            return SQLite(parsed, layout, make=make)
        case "postgresql" | "postgresql+psycopg" | "postgres":
            from accountants.ledger.postgres import PostgreSQL

            return PostgreSQL(parsed, layout, make=make)
    raise LedgerError(f"the {layout.noun} is kept in SQLite or PostgreSQL, got {parsed.drivername!r}; {_EXAMPLES}")

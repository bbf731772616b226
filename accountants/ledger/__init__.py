"""The record of every privacy cost: signed, chained, append-only rows; an account's state is a fold of them.

See docs/ledger.md for row kinds, the lifecycle of a release, and what chain and anchor catch and do not.
"""

from accountants.ledger.account import Account
from accountants.ledger.fold import fold
from accountants.ledger.ledger import Ledger
from accountants.ledger.reservation import Reservation
from accountants.ledger.rows import FIELDS, GENESIS, Row
from accountants.ledger.state import AccountState, ReasonCode, ReleaseState, Status

__all__ = [
    "FIELDS",
    "GENESIS",
    "Account",
    "AccountState",
    "Ledger",
    "ReasonCode",
    "ReleaseState",
    "Reservation",
    "Row",
    "Status",
    "fold",
]

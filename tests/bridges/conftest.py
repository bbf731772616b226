"""Accounts for other people's mechanisms, in memory."""

from collections.abc import Callable
from typing import Any

import pytest

from accountants import Account, Budget, Ledger, SigningKey


@pytest.fixture
def open_account() -> Callable[..., Account]:
    """An account of its own ledger: `sum` of epsilon 3 and delta 1e-8 unless told otherwise."""

    def opened(epsilon: Any = 3, delta: Any = "1e-8", filter: str = "sum", **options: Any) -> Account:
        return Ledger("sqlite://", SigningKey.generate()).open("cohort", Budget(epsilon, delta), filter, **options)

    return opened

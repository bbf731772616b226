"""Claims and ledgers for the tests of the record."""

from collections.abc import Callable
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

SCHEMA = "5c" * 32


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


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def account(url, key):
    """An account of (1, 1e-8) in a file."""
    return Ledger(url, key).open("hie-2026", Budget(1, 1e-8))

"""Composition of events whose number and parameters are fixed, and of filters at their capacity."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from accountants.events import Event
from accountants.exact import UP
from accountants.profile import Profile


def mu_squared_of(events: Iterable[Event]) -> Decimal:
    """Sum of mu^2 over the events, rounded up (Dong, Roth, Su 2022, Corollary 2)."""
    total = Decimal(0)
    for event in events:
        total = UP.add(total, event.mu_squared)
    return total


def compose(events: Iterable[Event]) -> Profile:
    """The profile of all `events` run one after another, each free to use the answers of those before.

    >>> from accountants import Gaussian
    >>> f"{compose([Gaussian(1.0)]).epsilon(delta=1e-5):.4f}"
    '4.3772'
    """
    return Profile(mu_squared_of(events))

"""The guarantee in plain words and figures that need no epsilon to be understood."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from accountants import Claim, numerical_slack
from accountants.certificate import (
    describes,
    given_assumptions,
    guarantee_in_words,
    lifetime_in_words,
    not_protected,
    protected,
)
from accountants.exact import UP
from accountants.lifetime import Lifetime
from accountants.reading import best_true_positives, read

ACCUSED = tuple(Decimal(rate) for rate in ("0.001", "0.01", "0.05", "0.1", "0.25", "0.5"))
"""Shares of outsiders wrongly accused at which the privacy curve is told."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one (epsilon, delta) means. All figures are rounded up.

    Attributes:
        epsilon, delta: as declared.
        odds: the most that odds on a unit's presence are multiplied or divided by.
        found: the best true-positive rate of a test that accuses one outsider in a hundred.
        curve: ``(share of outsiders accused, share of members found at most)``; guessing finds as many as it accuses.
    """

    epsilon: Decimal
    delta: Decimal
    odds: Decimal
    found: Decimal
    curve: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What was promised, to whom, and what was not.

    Attributes:
        guarantee, whole: of this release, and of all releases of the dataset together, in a sentence each.
        release, lifetime: the same in figures.
        unit: the column that names who is protected; None where each row is somebody.
        relation: the neighbours that the lifetime is about.
        describes, protected, unprotected, assumptions: a sentence each.
    """

    guarantee: str
    whole: str
    release: Meaning
    lifetime: Meaning
    unit: str | None
    relation: str
    describes: tuple[str, ...]
    protected: tuple[str, ...]
    unprotected: tuple[str, ...]
    assumptions: tuple[str, ...]

    @classmethod
    def of(cls, claim: Claim, lifetime: Lifetime, relation: str, given: tuple[str, ...]) -> Promise:
        """From declared parameters alone."""
        budget, whole = claim.budget, lifetime.budget
        mu_squared, delta0 = claim.domination
        slack = numerical_slack(budget.epsilon)
        reading, cap = read(budget, mu_squared, slack, delta0), read(whole, lifetime.mu_squared, delta0=lifetime.delta0)
        curve = tuple((a, best_true_positives(budget, a, mu_squared, slack, delta0)) for a in ACCUSED)
        caps = tuple(
            (a, best_true_positives(whole, a, lifetime.mu_squared, Decimal(0), lifetime.delta0)) for a in ACCUSED
        )
        return cls(
            guarantee=guarantee_in_words(budget, claim.unit),
            whole=lifetime_in_words(whole, relation),
            release=Meaning(budget.epsilon, budget.delta, reading.odds, reading.true_positives, curve),
            lifetime=Meaning(whole.epsilon, whole.delta, cap.odds, cap.true_positives, caps),
            unit=claim.unit.column,
            relation=relation,
            describes=tuple(describes(claim.unit)),
            protected=tuple(protected(claim.unit)),
            unprotected=tuple(not_protected(claim.unit, given, claim.public)),
            assumptions=(*claim.assumed, *given_assumptions(given)),
        )


def in_a_hundred(rate: Decimal) -> str:
    """A rate for people: how many of a hundred, rounded up as it is."""
    return f"{UP.multiply(rate, 100).normalize():f}"


__all__ = ["ACCUSED", "Meaning", "Promise", "in_a_hundred"]

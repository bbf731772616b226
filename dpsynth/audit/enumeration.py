"""Selections on every table of a tiny domain, with exact probabilities: nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, FixedPlan, Meter
from dpsynth.audit.draws import K, table
from dpsynth.audit.watched import Chosen, Probe
from dpsynth.domain import Clique
from dpsynth.kernel import PrivateTable

Multiset = tuple[tuple[int, ...], ...]

CANDIDATES: tuple[Clique, ...] = (("a",), ("b",), ("a", "b"))
_ROWS = tuple(product((0, 1), (0, 1), (0,)))
"""Different rows: columns a and b, in the domain."""
_OTHERS = 2
"""Most rows of other units, each one's only row."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A selection to enumerate.

    Attributes:
        noise: the event.
        weights: of the candidates.
        steepness: planted: factor on the rate.
    """

    noise: ExponentialMechanism
    weights: tuple[int, ...]
    steepness: float = 1.0


class _Estimate:
    """Expects more rows of single columns than a table has, and none of pairs: a unit lowers one error as far as it
    raises the other."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    def project(self, clique: Clique) -> NDArray[np.float64]:
        return np.full(self._domain.shape_of(clique), float(_OTHERS + K) if len(clique) == 1 else 0.0)


def widest(asked: Asked) -> tuple[Fraction, int]:
    """The largest spread of log probabilities between neighbours, and how many pairs of tables were compared.

    ``log P(i | D) - log P(i | D')`` is ``rate (s_i - s_i') / (2 sensitivity)`` up to a term without i, so that its
    spread over i is a fraction. For an event of range eta it must be at most eta (Durfee, Rogers 2019).
    """
    known: dict[tuple[Multiset, Multiset], Chosen] = {}

    def chosen(others: Multiset, own: Multiset) -> Chosen:
        if (others, own) not in known:
            known[others, own] = _asked(asked, others, own)
        return known[others, own]

    worst, pairs = Fraction(0), 0
    for others, own in _pairs():
        fewer, more = chosen(others, ()), chosen(others, own)
        assert (fewer.rate, fewer.sensitivity) == (more.rate, more.sensitivity), "the mechanism depends on the rows"
        moved = [x - y for x, y in zip(more.scores, fewer.scores, strict=True)]
        spread = Fraction(fewer.rate) * (max(moved) - min(moved)) / (2 * fewer.sensitivity)
        worst, pairs = max(worst, spread), pairs + 1
    return worst, pairs


def _pairs() -> Iterator[tuple[Multiset, Multiset]]:
    for count in range(_OTHERS + 1):
        for others in combinations_with_replacement(_ROWS, count):
            for more in range(1, K + 1):
                for own in combinations_with_replacement(_ROWS, more):
                    yield others, own


def _asked(asked: Asked, others: Multiset, own: Multiset) -> Chosen:
    """What the kernel asks its sampler for on one table."""
    probe: Any = Probe(asked.steepness)
    units = [[row] for row in others] + ([list(own)] if own else [])
    private = PrivateTable(table(units), Meter(FixedPlan([asked.noise])), probe)
    private.select(CANDIDATES, _Estimate(private.domain), asked.noise, weights=asked.weights)
    chosen: Chosen = probe.chosen[0]
    return chosen


__all__ = ["CANDIDATES", "Asked", "widest"]

"""Many canaries, one run: a lower bound on epsilon from how well their presence is guessed from what was published.

Each of m units is in the table or not, by a fair coin of its own. Whoever sees the output guesses for some of them.
Under an (epsilon, delta)-DP mechanism guesses are hardly better than ``e^epsilon / (1 + e^epsilon)`` right (Steinke,
Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", Theorem 5.2). Coins of several runs may be put
together: each bears on one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

_MOST = 50.0
"""Epsilon that no bound goes beyond."""


def chance(correct: int, guessed: int, canaries: int, epsilon: float, delta: float) -> float:
    """Upper bound on the probability that so many guesses are right, under any (epsilon, delta)-DP mechanism.

    Args:
        correct, guessed: guesses that were right, and all that were made.
        canaries: m, those nobody guessed about included.
        epsilon, delta: claimed for one unit added or removed.
    """
    right = 1.0 / (1.0 + math.exp(-epsilon))
    beyond = float(binom.sf(correct - 1, guessed, right))
    fewer = np.cumsum(binom.pmf(correct - np.arange(1, correct + 1), guessed, right)) / np.arange(1, correct + 1)
    slope = float(fewer.max()) if correct else 0.0
    return min(1.0, beyond + 2.0 * canaries * delta * slope)


def at_least(correct: int, guessed: int, canaries: int, delta: float, alpha: float) -> float:
    """Epsilon is at least this, but for a chance of `alpha`: below it so many right guesses are too unlikely."""
    if chance(correct, guessed, canaries, 0.0, delta) > alpha:
        return 0.0
    low, high = 0.0, _MOST
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if chance(correct, guessed, canaries, middle, delta) > alpha else (middle, high)
    return low


@dataclass(frozen=True, slots=True)
class Guesses:
    """What the best of several numbers of guesses shows.

    Attributes:
        epsilon: at least this.
        correct, guessed: of the number of guesses that showed most.
        canaries: m.
    """

    epsilon: float
    correct: int
    guessed: int
    canaries: int


def guess(
    scores: NDArray[np.float64],
    present: NDArray[np.bool_],
    delta: float,
    alpha: float,
    shares: tuple[float, ...] = (0.01, 0.05, 0.2, 1.0),
) -> Guesses:
    """Guess that the highest scores are present and the lowest absent.

    Args:
        scores: shape (m,), higher where a canary seems present.
        present: shape (m,), the coins.
        delta: of the claim.
        alpha: chance of a false bound, divided among `shares`.
        shares: of the canaries to guess about, fixed beforehand.
    """
    order = np.argsort(scores, kind="stable")
    found = []
    for share in shares:
        half = max(1, round(share * len(scores) / 2))
        correct = int((~present[order[:half]]).sum() + present[order[-half:]].sum())
        bound = at_least(correct, 2 * half, len(scores), delta, alpha / len(shares))
        found.append(Guesses(bound, correct, 2 * half, len(scores)))
    return max(found, key=lambda each: each.epsilon)


__all__ = ["Guesses", "at_least", "chance", "guess"]

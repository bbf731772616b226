"""The looks at pairs that a plan has after its training."""

from __future__ import annotations

import math

from accountants import ExponentialMechanism, Gaussian

SELECT_SHARE = 0.1
"""Share of a round for its choice; the count gets the rest."""


def pairs_of(columns: int, per_column: float) -> int:
    """How many pairs are counted: as many as there are, at most."""
    return min(math.ceil(per_column * columns), columns * (columns - 1) // 2)


def pair_looks(pairs: int, mu_squared: float) -> list[ExponentialMechanism | Gaussian]:
    """A choice and a count for each pair, which cost `mu_squared` together."""
    if not pairs:
        return []
    each = mu_squared / pairs
    choice = ExponentialMechanism.from_mu(math.sqrt(SELECT_SHARE * each))
    return [choice, Gaussian(1.0 / math.sqrt((1.0 - SELECT_SHARE) * each))] * pairs


__all__ = ["SELECT_SHARE", "pair_looks", "pairs_of"]

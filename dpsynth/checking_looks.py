"""The evaluation look: pairs of columns counted after a model was fitted, so that its table can be checked on them.

It is a look of the frame: planned beside the generator's looks, in the same budget, charged to a meter of its own and
asked when the fit is over. Which pairs are asked, and over which groups of values, follows from the schema and from the
fitted model, never from a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from accountants import Budget, Event, Gaussian, mu_squared_cap
from accountants.errors import PlanError
from accountants.exact import DOWN, floor_float, real
from dpsynth.domain import Clique
from dpsynth.generators.base import Model, PrivateTable
from dpsynth.measurement import NoisyCounts
from dpsynth.schema import Schema

MOST_PAIRS = 64
"""Pairs counted in the one event: the noise of each grows with the root of their number."""
GROUPS = 4
"""Groups of a column's values, of about equal size in the model."""
DRAWN = 10_000
"""Rows drawn from the model to find the groups; the model is public, so this costs nothing."""


def evaluation_look(budget: Budget, share: float) -> tuple[Event, ...]:
    """The frame of a plan: one Gaussian event with this share of the mu^2 that the budget allows, or none.

    Raises:
        PlanError: a share outside [0, 0.5].
    """
    exact = real("the evaluation share", share, PlanError)
    if not 0 <= exact <= real("", "0.5", PlanError):
        raise PlanError(f"the evaluation share must be at least 0 and at most 0.5, got {share!r}; 0.05 is common")
    if not exact:
        return ()
    return (Gaussian.from_mu_squared(floor_float(DOWN.multiply(mu_squared_cap(budget), exact))),)


def asked_pairs(schema: Schema) -> tuple[Clique, ...]:
    """The pairs that are counted: all of them or, where they are too many, some that the schema's digest picks.

    A single column is asked by itself.
    """
    names = schema.domain.attributes
    pairs: list[Clique] = list(combinations(names, 2)) or [(name,) for name in names]
    if len(pairs) <= MOST_PAIRS:
        return tuple(pairs)
    rng = np.random.default_rng(list(hashlib.sha256(schema.digest.encode("ascii")).digest()))
    return tuple(pairs[i] for i in sorted(rng.choice(len(pairs), MOST_PAIRS, replace=False)))


def evaluate(private: PrivateTable, look: Gaussian, model: Model, schema: Schema) -> tuple[NoisyCounts, ...]:
    """Count the pairs, columns in groups. `private` is charged to the frame's meter.

    Raises:
        UnplannedEvent: the frame has no such look; nothing was looked at.
    """
    pairs = asked_pairs(schema)
    return private.recoded(_groups(model, schema, {name for pair in pairs for name in pair})).count_all(pairs, look)


def _groups(model: Model, schema: Schema, names: set[str]) -> dict[str, NDArray[np.int64]]:
    """For each column the group of every code: neighbours where it has an order, else the most frequent and the rest.

    A missing cell is a group; the out-of-domain cell belongs to it, or to the last group.
    """
    drawn = model.sample(DRAWN, np.random.default_rng(0))  # fixed: noisy answers decide all
    return {
        column.name: _grouped(
            np.bincount(np.asarray(drawn[column.name]), minlength=column.size)[: column.cells],
            column.size,
            column.missing_code,
            ordered=column.ordered,
        )
        for column in schema.encoded
        if column.name in names
    }


def _grouped(rows: NDArray[np.int64], size: int, missing: int | None, *, ordered: bool) -> NDArray[np.int64]:
    cells = len(rows)
    place = np.empty(cells, dtype=np.int64)
    if ordered:
        below = (np.cumsum(rows) - rows / 2) / max(1, int(rows.sum()))
        place[:] = np.minimum((below * GROUPS).astype(np.int64), GROUPS - 1)
    else:
        place[np.argsort(-rows, kind="stable")] = np.minimum(np.arange(cells), GROUPS - 1)
    place = np.unique(place, return_inverse=True)[1].astype(np.int64)
    last = int(place.max())
    special = last if missing is None else last + 1
    return np.concatenate([place, np.full(size - cells, special, dtype=np.int64)])


def noise_of_a_pair(look: Gaussian, schema: Schema, pairs: Sequence[Clique]) -> float:
    """Standard deviation of a cell of the look, in rows."""
    return look.noise_multiplier * schema.at_most * sqrt(len(pairs))


__all__ = ["asked_pairs", "evaluate", "evaluation_look", "noise_of_a_pair"]

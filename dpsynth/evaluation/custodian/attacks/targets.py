"""Who is attacked: units of the training rows, and as controls units of the holdout that the release never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.attacks.space import Points, Space
from dpsynth.evaluation.custodian.finding import Tables

MOST_UNITS = 2_000
"""Attacked units of each side at most."""
MOST_REFERENCE = 10_000
"""Rows of the reference at most."""
RARE_SHARE = 0.1
"""The share of attacked holdout units that counts as rare."""
RARE_NEIGHBOUR = 5


@final
@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Attacked units of one table, and their rows in order of unit.

    Attributes:
        rows: places of their rows in the table.
        frame: these rows.
        points: the same in the space, shape (rows, width).
        starts: the first row of each unit, shape (units,).
        rarity: distance of each unit's rarest row from its fifth neighbour among the reference, shape (units,).
    """

    rows: NDArray[np.intp]
    frame: pd.DataFrame
    points: Points
    starts: NDArray[np.intp]
    rarity: NDArray[np.float64]

    def most(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """The greatest score among each unit's rows."""
        return np.maximum.reduceat(scores.astype(np.float64), self.starts)

    def mean(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """The mean score of each unit's rows."""
        sizes = np.diff(np.append(self.starts, len(scores)))
        return np.asarray(np.add.reduceat(scores.astype(np.float64), self.starts) / sizes)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Attacked units of both sides, and what the attacker knows of the population.

    Attributes:
        space: where records lie.
        train, holdout: units under attack; the attacker does not know which are which.
        population: rows of other holdout units.
        reference: the same as points, shape (rows, width).
        rare_from: rarity from which a unit is rare: the top tenth of the attacked holdout units.
        train_rows, holdout_rows: rows of equally many units of both tables, as places in them; the attacked training
            units' are among them.
    """

    space: Space
    train: Side
    holdout: Side
    population: pd.DataFrame
    reference: Points
    rare_from: float
    train_rows: NDArray[np.intp]
    holdout_rows: NDArray[np.intp]

    def rare(self, side: Side) -> NDArray[np.bool_]:
        """Which of the side's units are rare."""
        return side.rarity >= self.rare_from


def choose(tables: Tables, space: Space, rng: np.random.Generator) -> Targets | str:
    """Targets at random, or the sentence why there are none."""
    units = {name: np.asarray(tables.units[name]) for name in ("train", "holdout")}
    shuffled = {name: rng.permutation(np.unique(of)) for name, of in units.items()}
    least = min(map(len, shuffled.values()))
    if least < 4:
        return f"There are {least} units on one side; an attack needs at least 4 on both."
    if not space.axes or not len(tables.synthetic):
        return "No column tells records apart." if not space.axes else "The release has no rows."
    attacked = {"train": min(MOST_UNITS, least), "holdout": min(MOST_UNITS, 2 * len(shuffled["holdout"]) // 3)}
    others = _rows(units["holdout"], shuffled["holdout"][attacked["holdout"] :])[:MOST_REFERENCE]
    population = tables.holdout.iloc[others]
    reference = space.embed(population)
    sides = {
        name: _side(frame, units[name], shuffled[name][: attacked[name]], space, reference)
        for name, frame in (("train", tables.train), ("holdout", tables.holdout))
    }
    return Targets(
        space=space,
        train=sides["train"],
        holdout=sides["holdout"],
        population=population,
        reference=reference,
        rare_from=float(np.quantile(sides["holdout"].rarity, 1 - RARE_SHARE)),
        train_rows=_rows(units["train"], shuffled["train"][:least]),
        holdout_rows=_rows(units["holdout"], shuffled["holdout"][:least]),
    )


def _rows(of: NDArray[Any], chosen: NDArray[Any]) -> NDArray[np.intp]:
    """Places of the rows of these units, unit by unit as they are listed."""
    ordered = np.argsort(chosen)
    at = ordered[np.minimum(np.searchsorted(chosen, of, sorter=ordered), len(chosen) - 1)]
    rows = np.flatnonzero(chosen[at] == of)
    return rows[np.argsort(at[rows], kind="stable")]


def _side(frame: pd.DataFrame, of: NDArray[Any], chosen: NDArray[Any], space: Space, reference: Points) -> Side:
    rows = _rows(of, chosen)
    starts = np.flatnonzero(np.append(True, of[rows][1:] != of[rows][:-1]))
    part = frame.iloc[rows]
    points = space.embed(part)
    far = nearest(reference, points, RARE_NEIGHBOUR)[0]
    last = far[:, min(RARE_NEIGHBOUR, len(reference)) - 1]
    return Side(rows, part, points, starts, np.maximum.reduceat(last, starts))


__all__ = ["RARE_SHARE", "Side", "Targets", "choose"]

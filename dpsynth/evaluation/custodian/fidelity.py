"""Fidelity: how near the released rows are to the real ones, beside how near real rows of a holdout are.

Distances between tables of few rows are large by chance alone. So released rows and holdout are cut to equally many
before each is held against the training rows: the holdout's figure is what a perfect release would score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.associations import associations
from dpsynth.evaluation.custodian.cells import Cells, in_cells
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.variables import variable

SECTION = "fidelity"
MOST_TRIPLES = 20_000
"""Counted; of more, that many are drawn."""
LEAST_ROWS = 50
"""Of the holdout, to be a baseline."""
SHOWN = 15
"""Of pairs and triples, the worst are listed by name."""


def fidelity(
    tables: Tables, *, rng: np.random.Generator, deep: bool = False, target: str | None = None
) -> list[Finding]:
    """Total variation distances, correlations, flags per variable, ranges and missingness."""
    del deep, target
    if not len(tables.synthetic) or not len(tables.train):
        which = "the synthetic table" if not len(tables.synthetic) else "the training table"
        return [Finding(SECTION, "total variation distance", note=f"Not computed: {which} has no rows.")]
    synthetic, train, holdout = in_cells(tables)
    enough = holdout.rows >= LEAST_ROWS
    rows = min(synthetic.rows, holdout.rows) if enough else synthetic.rows
    few, held = synthetic.drawn(rows, rng), holdout.drawn(rows if enough else 0, rng)
    found = list(_distances(few, train, held, rng, MOST_TRIPLES))
    found += associations(tables, few, train, held)
    for name in tables.schema.names:
        found += variable(name, tables)
    return found


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Total variation distance between two sets of shares."""
    return 0.5 * float(np.abs(one - other).sum())


def _distances(few: Cells, train: Cells, held: Cells, rng: np.random.Generator, most: int) -> Iterator[Finding]:
    names = list(few.sizes)
    for ways in (1, 2, 3):
        if len(names) < ways:
            continue
        cliques = _cliques(names, ways, most, rng)
        scores = []
        for clique in cliques:
            real = train.counts(clique)
            scores.append((distance(few.counts(clique), real), distance(held.counts(clique), real)))
        ours, theirs = np.array(scores).T
        whole, what = comb(len(names), ways), {1: "columns", 2: "pairs", 3: "triples"}[ways]
        of = f"{len(cliques)} of {whole}" if len(cliques) < whole else f"{whole}"
        note = f"Mean over {of} {what}, {few.rows} released rows against {train.rows} training rows."
        if not held.rows:
            note += f" The holdout has fewer than {LEAST_ROWS} rows, so there is nothing to compare with."
        measure = "total variation distance"
        mean, baseline = float(ours.mean()), float(theirs.mean())
        yield Finding(SECTION, f"{measure}, {ways}-way", "", mean, baseline=baseline, note=note)
        worst = np.argsort(np.nan_to_num(theirs) - ours, kind="stable")
        for i in worst if ways == 1 else worst[:SHOWN]:
            subject = " × ".join(cliques[i])
            yield Finding(SECTION, f"{measure}, {what}", subject, float(ours[i]), baseline=float(theirs[i]))


def _cliques(names: Sequence[str], ways: int, most: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    if comb(len(names), ways) <= most:
        return list(combinations(names, ways))
    chosen: set[tuple[int, ...]] = set()
    while len(chosen) < most:
        chosen.add(tuple(sorted(rng.choice(len(names), ways, replace=False).tolist())))
    return [tuple(names[i] for i in clique) for clique in sorted(chosen)]


__all__ = ["distance", "fidelity"]

"""Is ``readmitted`` of the rare patients of diabetes130 guessed better where MST saw them? Fits that saw them, and not.

The records of custodian.py had three fits of one split and one choice of attacked units, and an excess in some. Here
each line is one choice of attacked units (12,000 of each side, so that 1,200 holdout patients are rare) and three
attackers: one trained on a release of all training rows (``seen``), one on a release of those training rows whose
patients are not attacked (``blind``: it cannot leak), one on real rows of patients of neither side (``population``).
Under ``--splits`` each line has a split and targets of its own; under ``--fits`` all have the same, and only noise and
trees are drawn anew, with as few units as the report attacks.

    python experiments/rare_units.py --splits 40 --fits 20 --out experiments/results/rare_units.tsv

The figures are about real rows: this is for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from attacks import ROOT, fitted
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from dpsynth.evaluation.custodian.attacks import attributes, targets
from dpsynth.evaluation.custodian.attacks.space import Space
from dpsynth.evaluation.custodian.attacks.targets import Targets
from dpsynth.evaluation.custodian.reading import as_released, read_tables
from dpsynth.evaluation.custodian.split import held_out
from dpsynth.schema import Schema

COLUMN = "readmitted"
MANY, FEW = 12_000, targets.MOST_UNITS
COLUMNS = ("kind", "split", "fit", "release", "train", "holdout", "rare_train", "rare_holdout", "rare_units")


def hits(aim: Targets, release: pd.DataFrame, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Success on each attacked unit, training and holdout, of trees trained on a release: the report's own attack."""
    space = aim.space
    at = space.names.index(COLUMN)
    others = np.delete(np.arange(len(space.axes)), at)
    rows = release.iloc[rng.permutation(len(release))[: attributes.MOST_ROWS]]
    model = ExtraTreesClassifier(attributes.TREES, max_features="sqrt", random_state=int(rng.integers(2**31)))
    model.fit(space.features(rows)[:, others], space.classes(rows)[:, at])
    sides = (aim.train, aim.holdout)
    return [
        side.mean(model.predict(space.features(side.frame)[:, others]) == space.axes[at].classes(side.frame[COLUMN]))
        for side in sides
    ]


def lines(schema: Schema, frame: pd.DataFrame, split: int, fits: int, units: int) -> Any:
    """One split and one choice of targets, attacked through that many fits."""
    rng = np.random.default_rng(split)
    held = held_out(pa.Table.from_pandas(frame), schema.unit, 0.25, rng)
    train, holdout = (frame[side].reset_index(drop=True) for side in (~held, held))
    first = fitted(train, schema, "mst", "1", rng)
    tables, _ = read_tables(schema, first, train, holdout, rng)
    targets.MOST_UNITS = units
    aim = targets.choose(tables, Space(tables, rng), rng)
    assert isinstance(aim, Targets)
    # Units are numbered in order of their first row, as `read_tables` does.
    attacked = np.isin(pd.factorize(train[schema.unit])[0], tables.units["train"][aim.train.rows])
    rare = [aim.rare(side) for side in (aim.train, aim.holdout)]
    for fit in range(fits):
        seen = tables.synthetic if fit == 0 else as_released(fitted(train, schema, "mst", "1", rng), schema)
        blind = as_released(fitted(train[~attacked].reset_index(drop=True), schema, "mst", "1", rng), schema)
        for name, release in (("seen", seen), ("blind", blind), ("population", aim.population)):
            found = hits(aim, release, rng)
            figures = [side.mean() for side in found] + [s[r].mean() for s, r in zip(found, rare, strict=True)]
            yield split, fit, name, *(round(float(x), 4) for x in figures), f"{rare[0].sum()}+{rare[1].sum()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splits", type=int, default=40, help="choices of units, one fit of each release")
    parser.add_argument("--fits", type=int, default=20, help="fits of each release, to one choice of units")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    schema = Schema.from_yaml(ROOT / "tests/data/diabetes130.yaml")
    frame = pd.read_parquet(Path(os.environ.get("DPSYNTH_DATA", ROOT / "../shared/data")) / "diabetes130.parquet")
    for split in range(arguments.splits):
        for line in lines(schema, frame, split, 1, MANY):
            show(("splits", *line), arguments.out)
    for split in (1000, 1001, 1002):
        for line in lines(schema, frame, split, arguments.fits, FEW):
            show(("fits", *line), arguments.out)


def show(row: tuple[Any, ...], path: Path | None) -> None:
    """A row on the screen and in the file."""
    print(*row, sep="\t", flush=True)
    if path:
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row)


if __name__ == "__main__":
    main()

"""What constraints do to the error of a table: Adult and Diabetes 130 with what their columns imply.

One model is fitted without knowing the constraints, then drawn from three times, as many rows as the table has: as it
is; with every row made to satisfy them; and told of them first, as a release does. Mean total variation distance over
single columns, over all pairs, and over pairs that share a constraint. The exact error is a figure about the real rows:
it is for public benchmark tables only.

    python experiments/constraints.py --tables adult --generators mst aim --epsilons 1 --seeds 3 --out results.tsv
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accountants import Budget, Meter
from dpsynth.constraints.boxes import possible
from dpsynth.constraints.checking import check
from dpsynth.encoding import Encoder
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.planned import plan
from dpsynth.schema import Schema

ROOT = Path(__file__).resolve().parents[1]
DELTA = "1e-9"

_SCHOOLS = [
    *("Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th", "HS-grad"),
    *("Some-college", "Assoc-voc", "Assoc-acdm", "Bachelors", "Masters", "Prof-school", "Doctorate"),
]
_MARRIED = ["Married-civ-spouse", "Married-AF-spouse"]
_DRUGS = [
    *("metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide"),
    *("glipizide", "glyburide", "tolbutamide", "pioglitazone", "rosiglitazone", "acarbose", "miglitol"),
    *("troglitazone", "tolazamide", "insulin", "glyburide-metformin", "glipizide-metformin"),
    *("glimepiride-pioglitazone", "metformin-rosiglitazone", "metformin-pioglitazone"),
]
CONSTRAINTS: dict[str, list[dict[str, Any]]] = {
    "adult": [
        {"if": {"relationship": "Husband"}, "then": {"sex": "Male", "marital_status": _MARRIED}},
        {"if": {"relationship": "Wife"}, "then": {"sex": "Female", "marital_status": _MARRIED}},
        {"if": {"workclass": None}, "then": {"occupation": None}},
        {"if": {"workclass": "Never-worked"}, "then": {"occupation": None}},
        {"if": {"capital_gain": {"above": 0}}, "then": {"capital_loss": 0}},
        *({"if": {"education": name}, "then": {"education_num": i}} for i, name in enumerate(_SCHOOLS, start=1)),
    ],
    "diabetes130": [
        {"if": {"diabetesMed": "No"}, "then": dict.fromkeys(_DRUGS, "No") | {"change": "No"}},
        {"if": {"change": "No"}, "then": {drug: ["No", "Steady"] for drug in _DRUGS}},
    ],
}


def draws(
    frame: pd.DataFrame, schema: Schema, generator: str, epsilon: str, seed: int
) -> Iterator[tuple[str, Any, float]]:
    """The three ways of drawing from one model: name, codes, seconds of processor time for constraints and rows."""
    free = schema.with_constraints()
    planned = plan(generator, free, Budget(epsilon, DELTA))
    private = PrivateTable(Rows(frame, free), Meter(planned.claim.plan))
    model = planned.generator.fit(private, planned.claim.plan, free.hints)
    for name in ("none", "drawing", "model"):
        started = time.process_time()
        told = constrained(model, schema.rules) if name == "model" else model
        encoder = Encoder(free if name == "none" else schema)
        codes, _, _ = draw_rows(told, encoder, len(frame), np.random.default_rng(seed))
        yield name, codes, time.process_time() - started


class Errors:
    """Distances of a table from the real one."""

    def __init__(self, frame: pd.DataFrame, schema: Schema) -> None:
        self.schema, self.real = schema, Encoder(schema).encode(frame)
        self.pairs = list(combinations(schema.names, 2))
        tied = [set(constraint.columns) for constraint in schema.constraints]
        self.tied = [pair for pair in self.pairs if any(set(pair) <= columns for columns in tied)]

    def shares(self, codes: Any, clique: Sequence[str]) -> Any:
        shape = self.schema.domain.project(clique).shape
        cell = np.ravel_multi_index(tuple(np.asarray(codes[a], dtype=np.int64) for a in clique), shape)
        return np.bincount(cell, minlength=int(np.prod(shape))) / len(cell)

    def mean(self, codes: Any, cliques: Sequence[Sequence[str]]) -> float:
        away = [0.5 * np.abs(self.shares(codes, c) - self.shares(self.real, c)).sum() for c in cliques]
        return round(float(np.mean(away)), 5)


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Error with and without constraints.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tables", nargs="+", default=list(CONSTRAINTS), choices=list(CONSTRAINTS))
    parser.add_argument("--generators", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    for table in arguments.tables:
        if not (arguments.data / f"{table}.parquet").is_file():
            sys.exit(f"no {table}.parquet in {arguments.data}; set DPSYNTH_DATA or --data")
        frame = pd.read_parquet(arguments.data / f"{table}.parquet")
        schema = Schema.from_yaml(ROOT / "tests" / "data" / f"{table}.yaml").with_constraints(*CONSTRAINTS[table])
        odd = sum(found.broken for found in check(schema.columns, schema.constraints, frame))
        print(f"{table}: {len(schema.constraints)} constraints, {odd} real rows break one", flush=True)
        errors = Errors(frame, schema)
        for generator in arguments.generators:
            for epsilon in arguments.epsilons:
                for seed in range(arguments.seeds):
                    for name, codes, seconds in draws(frame, schema, generator, epsilon, seed):
                        whole = [possible(c, codes, {}) for c in schema.rules.components]
                        row = {
                            "table": table,
                            "generator": generator,
                            "epsilon": epsilon,
                            "seed": seed,
                            "constraints": name,
                            "rows_broken": round(1 - float(np.logical_and.reduce(whole).mean()), 5),
                            "one_way": errors.mean(codes, [(a,) for a in schema.names]),
                            "two_way": errors.mean(codes, errors.pairs),
                            "two_way_tied": errors.mean(codes, errors.tied),
                            "seconds": round(seconds, 2),
                        }
                        print(*row.values(), sep="\t", flush=True)
                        if arguments.out:
                            append(arguments.out, row)


def append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()

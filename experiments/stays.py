"""What an `order` of dates and a `total` do to lengths, zeros and empty cells: a generated table of hospital stays.

The table is made up, and public: stays of a few days over five years, two costs of which one is often zero and the
other sometimes unknown, and their total. Each generator is fitted with fresh noise to the schema without constraints
(``none``); with them and all columns encoded as declared (``beside``: ``derive: false``); and as a release does, with
one date encoded by its distance from the other and the total as the sum of its parts (``derived``). As many rows are
drawn as the table has. Its own exact figures stand beside (generator ``real``).

    python experiments/stays.py --epsilons 1 10 --seeds 5 --out experiments/results/stays.tsv
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accountants import Budget, Meter
from dpsynth.encoding import Encoder
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.planned import plan
from dpsynth.schema import Schema

ROWS = 15_000
DELTA = "1e-9"
COLUMNS = """
columns:
  sex: {type: categorical, values: [F, M]}
  ward: {type: categorical, values: [general, surgery, maternity, psychiatry]}
  severity: {type: ordinal, values: [low, middle, high]}
  age: {type: integer, min: 0, max: 110, bins: auto}
  admitted: {type: date, min: 2019-01-01, max: 2023-12-31, bins: auto}
  discharged: {type: date, min: 2019-01-01, max: 2024-12-31, bins: auto, missing: true}
  drugs: {type: float, min: 0, max: 20000, decimals: 2, bins: auto, scale: log, missing: true}
  care: {type: float, min: 0, max: 50000, decimals: 2, bins: auto, scale: log}
  cost: {type: float, min: 0, max: 70000, decimals: 2, bins: auto, scale: log, missing: true}
"""
CONSTRAINTS: list[dict[str, Any]] = [
    {"order": ["admitted", "discharged"]},
    {"total": "cost", "parts": ["drugs", "care"]},
]


def stays(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """The table. Longer stays, higher costs and fewer unknown ones where a case is severe; psychiatry stays long."""
    rng = np.random.default_rng(seed)
    ward = rng.choice(4, rows, p=[0.5, 0.3, 0.12, 0.08])
    sex = np.where(ward == 2, 0, rng.random(rows) < 0.5).astype(int)
    age = np.clip(np.where(ward == 2, rng.normal(31, 5, rows), rng.normal(58, 20, rows)), 0, 110).astype(int)
    severity = np.clip((rng.normal(0, 1, rows) + (age - 55) / 30 > [[0.3], [1.4]]).sum(axis=0), 0, 2)
    admitted = np.datetime64("2019-01-01") + rng.integers(0, 5 * 365, rows)
    stay = np.floor(np.exp(rng.normal(0.8 + 0.5 * severity + 1.2 * (ward == 3), 0.8, rows))).astype(int)
    discharged = (admitted + stay).astype("datetime64[s]").astype(object)
    care = np.round(np.exp(rng.normal(5.5 + 0.4 * severity, 0.6, rows)) * (1 + stay) ** 0.7, 2)
    drugs = np.round(np.exp(rng.normal(3.5 + 0.8 * severity, 1.2, rows)), 2)
    care[rng.random(rows) < 0.18] = 0.0
    drugs[rng.random(rows) < 0.35 - 0.1 * severity] = 0.0
    care, drugs = np.minimum(care, 50_000), np.minimum(drugs, 20_000)
    unknown = rng.random(rows) < 0.08 + 0.06 * (ward == 3)
    cost = np.round(drugs + care, 2)
    cost[unknown & (rng.random(rows) < 0.5)] = np.nan
    drugs[unknown] = np.nan
    discharged = pd.Series(pd.to_datetime(discharged))
    discharged[rng.random(rows) < 0.04] = pd.NaT
    return pd.DataFrame(
        {
            "sex": np.array(["F", "M"])[sex],
            "ward": np.array(["general", "surgery", "maternity", "psychiatry"])[ward],
            "severity": np.array(["low", "middle", "high"])[severity],
            "age": age,
            "admitted": admitted.astype("datetime64[s]"),
            "discharged": discharged,
            "drugs": drugs,
            "care": care,
            "cost": cost,
        }
    )


def figures(frame: pd.DataFrame, real: pd.DataFrame) -> dict[str, float]:
    """What is compared: shares, quantiles and rank correlations of a table; distances of it from the real one."""
    number = {name: frame[name].astype("float64") for name in ("drugs", "care", "cost")}
    rank = frame["severity"].astype(str).map({"low": 0, "middle": 1, "high": 2}).astype("float64")
    stay = (frame["discharged"] - frame["admitted"]).dt.days
    shown = {
        "broken_order": float((stay < 0).mean()),
        "broken_total": float(((number["cost"] - number["drugs"] - number["care"]).abs() > 0.005).mean()),
        "stay_q25": float(stay.quantile(0.25)),
        "stay_median": float(stay.median()),
        "stay_q95": float(stay.quantile(0.95)),
        "stay_severity": float(stay.corr(rank, method="spearman")),
        "cost_severity": float(number["cost"].corr(rank, method="spearman")),
        "cost_stay": float(number["cost"].corr(stay, method="spearman")),
        "part_share": float((number["drugs"] / (number["drugs"] + number["care"])).median()),
    }
    for name, cells in number.items():
        shown[f"{name}_zero"] = float((cells == 0).mean())
        shown[f"{name}_empty"] = float(cells.isna().mean())
        shown[f"{name}_far"] = _distance(cells, real[name])
    shown["discharged_empty"] = float(frame["discharged"].isna().mean())
    for name in ("admitted", "discharged"):
        days = [(t[name] - pd.Timestamp("2019-01-01")).dt.days for t in (frame, real)]
        shown[f"{name}_far"] = _distance(*days)
    shown["stay_far"] = _distance(stay, (real["discharged"] - real["admitted"]).dt.days)
    return {name: round(value, 4) for name, value in shown.items()}


def _distance(cells: pd.Series[Any], real: pd.Series[Any]) -> float:
    """Kolmogorov's distance, an empty cell below all numbers."""
    ours, theirs = (np.sort(c.astype("float64").fillna(-1e9).to_numpy()) for c in (cells, real))
    at = np.unique(np.concatenate([ours, theirs]))
    cumulated = [np.searchsorted(a, at, side="right") / len(a) for a in (ours, theirs)]
    return float(np.abs(cumulated[0] - cumulated[1]).max())


def drawn(frame: pd.DataFrame, schema: Schema, generator: str, epsilon: str, seed: int) -> pd.DataFrame:
    """As many rows from a model fitted with fresh noise; the seed is for drawing alone."""
    planned = plan(generator, schema, Budget(epsilon, DELTA))
    private = PrivateTable(Rows(frame, schema), Meter(planned.claim.plan))
    model = planned.generator.fit(private, planned.claim.plan, schema.hints)
    model = constrained(model, schema.rules)
    return draw_rows(model, Encoder(schema), len(frame), np.random.default_rng(seed))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Lengths, zeros and empty cells under an order and a total.")
    parser.add_argument("--generators", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--epsilons", nargs="+", default=["1", "10"])
    parser.add_argument("--seeds", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    frame, free = stays(), Schema.loads(COLUMNS)
    schemas = {
        "none": free,
        "beside": free.with_constraints(*({**each, "derive": False} for each in CONSTRAINTS)),
        "derived": free.with_constraints(*CONSTRAINTS),
    }
    show({"generator": "real", "epsilon": "", "seed": "", "constraints": "", **figures(frame, frame)}, arguments.out)
    for generator in arguments.generators:
        for epsilon in arguments.epsilons:
            for seed in range(arguments.seeds):
                for name, schema in schemas.items():
                    started = time.process_time()
                    synthetic = drawn(frame, schema, generator, epsilon, seed)
                    cell = {"generator": generator, "epsilon": epsilon, "seed": seed, "constraints": name}
                    row = {**cell, **figures(synthetic, frame), "seconds": round(time.process_time() - started, 1)}
                    show(row, arguments.out)


def show(row: dict[str, Any], path: Path | None) -> None:
    """A row on the screen and in the file."""
    print(*(f"{key}={value}" for key, value in row.items()), flush=True)
    if path:
        row = {**row, "seconds": row.get("seconds", "")}
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()

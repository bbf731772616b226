"""Networks trained under DP-SGD: classifiers trained on the release, and workload error, against marginal methods.

Each cell (table, generator, settings, epsilon, seed) is a process of its own with one thread. On tables with a target
the generator sees the training rows of the protocol (`numeric_columns.split`), delta is 1e-6, numbers are binned
``auto``; on ``adult_coded`` it sees the whole table, delta is 1e-9, and the figures are the benchmark's. Cells on
record are not run again.

    python experiments/deep.py --tables adult adult_coded --generators made vae --seeds 5 --out results/deep.tsv

Every figure but the seconds is about real rows: this is for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
import records  # noqa: E402
from benchmark import workload_error  # noqa: E402
from numeric_columns import TARGETS, auroc, features, schema_of, split  # noqa: E402

KEYS = ("table", "generator", "settings", "epsilon", "seed")
COLUMNS = (
    *KEYS,
    *("plan_seconds", "cpu_seconds", "peak_mb", "sample_rate", "steps", "noise_multiplier", "cells"),
    *("auroc_logistic", "auroc_boosting", "classes_missing", "two_way", "three_way"),
)


def fitted(schema: Any, rows: Any, generator: str, settings: str, budget: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and what it took."""
    from accountants import Allowance, FixedPlan, Meter, SubsampledGaussian
    from dpsynth.generators import generator_from
    from dpsynth.kernel import PrivateTable, Rows

    recipe = generator_from(generator, json.loads(settings))
    started = time.process_time()
    plan = recipe.plan(schema.domain, Allowance(budget), schema.hints)
    planned = time.process_time()
    model = recipe.fit(PrivateTable(Rows(rows, schema), Meter(plan)), plan, schema.hints)
    cost: dict[str, Any] = {
        "plan_seconds": round(planned - started, 1),
        "cpu_seconds": round(time.process_time() - planned, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cells": sum(model.recoding.domain.shape),
    }
    for event in plan.events if isinstance(plan, FixedPlan) else ():
        if isinstance(event, SubsampledGaussian):
            cost |= {"sample_rate": event.sample_rate, "steps": event.steps, "noise_multiplier": event.noise_multiplier}
    return model, cost


def one_fit(table: str, generator: str, settings: str, epsilon: str, seed: int, data: Path) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    from accountants import Budget
    from dpsynth.encoding import Encoder
    from dpsynth.schema import Schema

    rng, cell = np.random.default_rng(seed), dict(zip(KEYS, (table, generator, settings, epsilon, seed), strict=True))
    if table == "adult_coded":
        path, domain = data / "adult_coded.parquet", data / "adult_coded_domain.json"
        frame, sizes = pd.read_parquet(path), json.loads(domain.read_text())
        schema = Schema.from_domain(sizes, about_rows=50_000)
        model, cost = fitted(schema, frame, generator, settings, Budget(epsilon, "1e-9"))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "synthetic.parquet"
            pd.DataFrame(model.sample(len(frame), rng)).to_parquet(out)
            return cell | cost | workload_error(path, domain, out)
    schema, (target, positive) = schema_of(table, "auto"), TARGETS[table]
    train, test = split(table, data, schema)
    held = features(test, schema)
    if generator == "real":
        released, cost = features(train, schema), {}
    else:
        model, cost = fitted(schema, train, generator, settings, Budget(epsilon, "1e-6"))
        released = features(Encoder(schema).decode(model.sample(len(train), rng), rng), schema)
    classes = set(held[target].dropna()) - set(released[target].dropna())
    shown = {"classes_missing": len(classes), "two_way": pairs_error(released, features(train, schema))}
    return cell | cost | auroc(released, held, target, positive) | shown


def pairs_error(released: Any, real: Any) -> float:
    """Mean total variation distance over all pairs of columns, numbers in twenty groups of as many real rows each."""
    import numpy as np

    def codes(frame: Any, column: str) -> tuple[Any, int]:
        if real[column].dtype == float:
            edges = np.unique(np.nanquantile(real[column], np.linspace(0, 1, 21)[1:-1]))
            found = np.searchsorted(edges, frame[column].to_numpy(), side="right")
            found[frame[column].isna().to_numpy()] = len(edges) + 1
            return found, len(edges) + 2
        levels = {level: i for i, level in enumerate(sorted(set(real[column].dropna())))}
        return frame[column].map(levels).fillna(len(levels)).to_numpy(int), len(levels) + 1

    coded = {c: (codes(released, c), codes(real, c)) for c in real}
    errors = []
    for one, two in combinations(coded.values(), 2):
        size = one[0][1] * two[0][1]
        cells = [a[0] * b[1] + b[0] for a, b in zip(one, two, strict=True)]
        shares = [np.bincount(cell, minlength=size) / len(cell) for cell in cells]
        errors.append(0.5 * np.abs(shares[0] - shares[1]).sum())
    return float(np.mean(errors))


def figure(record: Path) -> Path:
    """AUROC on the holdout against epsilon, on Adult, as SVG beside the record."""
    import matplotlib

    matplotlib.use("svg")
    import pandas as pd
    from matplotlib import pyplot

    rows = pd.read_csv(record, sep="\t")
    rows = rows[rows["table"] == "adult"]
    rows["label"] = rows["generator"] + rows["settings"].map(lambda s: ", no pairs" if "pair_share" in s else "")
    drawing, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axis, model in zip(axes, ("logistic", "boosting"), strict=True):
        for label, own in rows.groupby("label"):
            found = own.groupby("epsilon")[f"auroc_{model}"].agg(["mean", "min", "max"])
            axis.plot(found.index, found["mean"], marker="o", label=label)
            axis.fill_between(found.index, found["min"], found["max"], alpha=0.2)
        axis.set(xscale="log", xlabel="epsilon", title=model)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="AUROC on the holdout")
    axes[0].legend()
    path = record.with_name("deep_epsilon.svg")
    drawing.savefig(path, metadata={"Date": None})
    return path


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", HERE.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Networks trained under DP-SGD.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tables", nargs="+", choices=["adult_coded", *TARGETS], default=["adult", "adult_coded"])
    parser.add_argument("--generators", nargs="+", default=["made", "vae", "gan"], help="'real' is the training rows")
    parser.add_argument("--settings", default="{}", help="JSON settings of every generator listed")
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=2, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to; cells it holds are not run again")
    parser.add_argument("--figure", action="store_true", help="draw the record and run nothing")
    parser.add_argument("--one", nargs=5, metavar=KEYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        table, generator, settings, epsilon, seed = asked.one
        print(json.dumps(one_fit(table, generator, settings, epsilon, int(seed), asked.data)))
        return
    if asked.figure:
        print(figure(asked.out or HERE.parent / "results" / "deep.tsv"))
        return
    settings = json.dumps(json.loads(asked.settings), sort_keys=True)
    cells = [
        (table, generator, settings, epsilon, str(seed))
        for seed in range(asked.seeds)
        for table in asked.tables
        for epsilon in asked.epsilons
        for generator in asked.generators
    ]
    records.run(HERE, asked.data, cells, COLUMNS, asked.out, again=False)


if __name__ == "__main__":
    main()

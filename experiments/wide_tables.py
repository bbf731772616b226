"""Wide tables: time, memory and error of the marginal generators as columns grow.

The source tables are drawn from public random Bayesian networks: every column has up to two parents among
the few columns before it and a conditional table of its own, so that dependence is real and mostly local. Each
fit runs in a process of its own with one thread, so that time and peak memory are its own. `mean_2way` is the mean
total variation distance over all pairs of columns between the synthetic table and the source, a figure that only
a public table may have.

    python experiments/wide_tables.py --columns 14 50 250 --out experiments/results/wide_tables.tsv
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DELTA = "1e-9"
WINDOW = 8
"""Parents lie at most this many columns back."""


def network_table(columns: int, rows: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Rows of a random Bayesian network: sizes 2 to 9, up to two parents, rows of conditionals from a Dirichlet."""
    rng = np.random.default_rng([columns, seed])
    sizes = rng.choice([2, 2, 2, 3, 3, 4, 5, 6, 9], columns)
    table: list[NDArray[np.int64]] = []
    for i, size in enumerate(sizes):
        near = np.arange(max(0, i - WINDOW), i)
        parents = rng.choice(near, min(len(near), int(rng.integers(0, 3))), replace=False)
        group = np.zeros(rows, dtype=np.int64)
        for parent in parents:
            group = group * sizes[parent] + table[parent]
        conditional = rng.dirichlet(np.full(size, 0.7), int(group.max(initial=0)) + 1)
        table.append((rng.random((rows, 1)) > np.cumsum(conditional, axis=1)[group]).sum(axis=1).clip(max=size - 1))
    return {f"x{i}": column for i, column in enumerate(table)}


def mean_two_way(one: dict[str, Any], other: dict[str, Any], sizes: dict[str, int]) -> float:
    """Mean total variation distance over all pairs: every two-way table at once, as products of indicators."""

    def indicators(table: dict[str, Any]) -> NDArray[np.float32]:
        blocks = [np.eye(sizes[a], dtype=np.float32)[np.asarray(table[a])] for a in sizes]
        return np.concatenate(blocks, axis=1)

    a, b = indicators(one), indicators(other)
    starts = np.cumsum([0, *list(sizes.values())[:-1]])
    gap = np.abs((a.T @ a).astype(np.float64) / len(a) - (b.T @ b).astype(np.float64) / len(b))
    pairs = 0.5 * np.add.reduceat(np.add.reduceat(gap, starts, axis=0), starts, axis=1)
    return float(pairs[np.triu_indices(len(sizes), 1)].mean())


def one_fit(
    columns: int, rows: int, generator: str, settings: dict[str, Any], epsilon: str, seed: int
) -> dict[str, Any]:
    import pandas as pd

    from accountants import Allowance, Budget, Meter
    from dpsynth.generators import generator_from
    from dpsynth.kernel import PrivateTable, Rows
    from dpsynth.schema import Schema

    table = network_table(columns, rows, seed)
    sizes = {a: int(c.max()) + 1 for a, c in table.items()}
    schema = Schema.from_domain(sizes)
    recipe = generator_from(generator, settings)
    held = Rows(pd.DataFrame(table), schema)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, DELTA)), schema.hints)
    private = PrivateTable(held, Meter(plan))
    model = recipe.fit(private, plan, schema.hints)
    codes = model.sample(rows, np.random.default_rng(seed))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    full = schema.domain.sizes
    return {
        "columns": columns,
        "rows": rows,
        "generator": generator,
        "settings": json.dumps(settings),
        "epsilon": epsilon,
        "seed": seed,
        "looks": len(private.transcript),
        "cpu_seconds": round(cpu, 2),
        "wall_seconds": round(wall, 2),
        "before_mb": round(before),
        "peak_mb": round(peak),
        "cells": model.graphical.tree.cells,
        "mean_2way": round(mean_two_way(codes, table, full), 5),
    }


def main() -> None:
    here = Path(__file__).resolve()
    parser = argparse.ArgumentParser(description="Time, memory and error on tables of many columns.")
    parser.add_argument("--columns", type=int, nargs="+", default=[14, 50, 250])
    parser.add_argument("--rows", type=int, default=3500)
    parser.add_argument("--generators", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON settings for every generator listed")
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=3, help="tables, and fits of each; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_fit(**json.loads(arguments.one))))
        return
    environment = os.environ | dict.fromkeys(THREADS, "1")
    cells = [
        (columns, generator, epsilon, seed)
        for columns in arguments.columns
        for generator in arguments.generators
        for epsilon in arguments.epsilons
        for seed in range(arguments.seeds)
    ]
    for columns, generator, epsilon, seed in cells:
        asked = {"columns": columns, "rows": arguments.rows, "generator": generator, "settings": arguments.settings}
        asked |= {"epsilon": epsilon, "seed": seed}
        command = [sys.executable, "-P", str(here), "--one", json.dumps(asked)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout)
        print(*row.values(), sep="\t", flush=True)
        if arguments.out:
            fresh = not arguments.out.exists()
            with arguments.out.open("a") as file:
                if fresh:
                    file.write("\t".join(row) + "\n")
                file.write("\t".join(map(str, row.values())) + "\n")


if __name__ == "__main__":
    main()

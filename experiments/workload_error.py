"""Workload error of the marginal generators on the coded Adult table: the figures quoted in the documentation.

Protocol: mean total variation distance over all 91 two-way marginals, and over 64 three-way marginals drawn with
``default_rng(0)``; as many synthetic rows as real ones; delta 1e-9. Each fit runs in a process of its own with one
thread, so that time and peak memory are its own; times are of the processor, which a busy machine changes little.
The exact error is a figure about the real rows: it is for public benchmark tables only.

    python experiments/workload_error.py --generators aim mst --epsilons 0.1 1 10 --seeds 3 --out results.tsv
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DELTA = "1e-9"


def one_fit(data: Path, generator: str, settings: dict[str, Any], epsilon: str, seed: int) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    from accountants import Allowance, Budget, Meter
    from dpsynth.generators import generator_from
    from dpsynth.kernel import PrivateTable, Rows
    from dpsynth.schema import Schema

    frame = pd.read_parquet(data / "adult_coded.parquet")
    schema = Schema.from_domain(json.loads((data / "adult_coded_domain.json").read_text()))
    recipe = generator_from(generator, settings)
    started = time.process_time()
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, DELTA)), schema.hints)
    model = recipe.fit(PrivateTable(Rows(frame, schema), Meter(plan)), plan, schema.hints)
    fitted = time.process_time()
    codes = model.sample(len(frame), np.random.default_rng(seed))
    sampled = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def error(clique: tuple[str, ...]) -> float:
        shape = schema.domain.project(clique).shape
        counts = [
            np.bincount(np.ravel_multi_index(tuple(np.asarray(t[a]) for a in clique), shape), minlength=np.prod(shape))
            for t in (codes, frame)
        ]
        return float(0.5 * np.abs(counts[0] - counts[1]).sum() / len(frame))

    threes = list(combinations(frame.columns, 3))
    drawn = np.random.default_rng(0).choice(len(threes), 64, replace=False)
    return {
        "generator": generator,
        "settings": json.dumps(settings),
        "epsilon": epsilon,
        "seed": seed,
        "two_way": round(float(np.mean([error(c) for c in combinations(frame.columns, 2)])), 5),
        "three_way": round(float(np.mean([error(threes[i]) for i in drawn])), 5),
        "fit_seconds": round(fitted - started, 2),
        "sample_seconds": round(sampled - fitted, 2),
        "peak_mb": round(peak),
    }


def main() -> None:
    here = Path(__file__).resolve()
    default = Path(os.environ.get("DPSYNTH_DATA", here.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Workload error on the coded Adult table.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--generators", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON settings for every generator listed")
    parser.add_argument("--epsilons", nargs="+", default=["0.1", "1", "10"])
    parser.add_argument("--seeds", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    parser.add_argument("--one", nargs=3, metavar=("GENERATOR", "EPSILON", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.data / "adult_coded.parquet").is_file():
        sys.exit(f"no adult_coded.parquet in {arguments.data}; set DPSYNTH_DATA or --data")
    if arguments.one:
        generator, epsilon, seed = arguments.one
        print(json.dumps(one_fit(arguments.data, generator, arguments.settings, epsilon, int(seed))))
        return
    environment = os.environ | dict.fromkeys(THREADS, "1")
    for generator in arguments.generators:
        for epsilon in arguments.epsilons:
            for seed in range(arguments.seeds):
                command = [sys.executable, str(here), "--data", str(arguments.data)]
                command += ["--settings", json.dumps(arguments.settings), "--one", generator, epsilon, str(seed)]
                done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
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

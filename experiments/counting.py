"""Counting every pair of columns of a long table: time and memory of reading a Parquet file and of one look at it.

The table is generated (public): 22 columns with the types and sizes of the BRFSS 2015 health survey, written in row
groups, so that writing it takes little memory as well. Reading and counting run in a process of their own with one
thread. `before_mb` is that process with everything imported, `read_mb` its peak once the rows are read, `peak_mb` its
peak at the end; `codes_mb` is what encoded rows take by arithmetic, a byte a cell.

    python experiments/counting.py --rows 500000 5000000 10000000 --out experiments/results/counting.tsv
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS")
FLAGS = 14
"""Columns of yes and no."""
NUMBERS = {
    "BMI": (12, 98, 16),
    "GenHlth": (1, 5, 5),
    "MentHlth": (0, 30, 31),
    "PhysHlth": (0, 30, 31),
    "Age": (1, 13, 13),
    "Education": (1, 6, 6),
    "Income": (1, 8, 8),
    "CholCheck": (0, 1, 2),
}
"""Columns of whole numbers: least and greatest value, number of bins."""
EPSILON, DELTA = "1", "1e-9"


def schema() -> Any:
    from dpsynth.schema import Schema

    flags = "".join(f"  yes{i}: {{type: boolean}}\n" for i in range(FLAGS))
    numbers = "".join(
        f"  {name}: {{type: integer, min: {low}, max: {high}, bins: {bins}}}\n"
        for name, (low, high, bins) in NUMBERS.items()
    )
    return Schema.loads(f"columns:\n{flags}{numbers}")


def write(path: str, rows: int, group: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, group):
        count = min(group, rows - start)
        table = pa.table(
            {f"yes{i}": rng.random(count) < 0.1 + 0.05 * i for i in range(FLAGS)}
            | {name: rng.integers(low, high, count, endpoint=True) for name, (low, high, _) in NUMBERS.items()}
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=group)
    if writer is not None:
        writer.close()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def count(path: str, rows: int, group: int) -> dict[str, Any]:
    from accountants import Allowance, Budget, FixedPlan, Gaussian, Meter
    from dpsynth.kernel import PrivateTable, Rows

    declared = schema()
    pairs = list(combinations(declared.domain.attributes, 2))
    plan = Allowance(Budget(EPSILON, DELTA)).calibrate(lambda s: FixedPlan(events=(Gaussian(noise_multiplier=s),)))
    before, start = peak(), (time.process_time(), time.perf_counter())
    held = Rows(path, declared)
    read, halfway = peak(), (time.process_time(), time.perf_counter())
    answers = PrivateTable(held, Meter(plan)).count_all(pairs, plan.events[0])
    end = time.process_time(), time.perf_counter()
    assert len(answers) == comb(len(declared.columns), 2)
    return {
        "rows": rows,
        "columns": len(declared.columns),
        "pairs": len(answers),
        "row_group": group,
        "file_mb": round(Path(path).stat().st_size / 2**20),
        "read_cpu_seconds": round(halfway[0] - start[0], 2),
        "count_cpu_seconds": round(end[0] - halfway[0], 2),
        "wall_seconds": round(end[1] - start[1], 2),
        "codes_mb": round(rows * len(declared.columns) / 2**20),
        "before_mb": round(before),
        "read_mb": round(read),
        "peak_mb": round(peak()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of counting all pairs of a long table.")
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000_000])
    parser.add_argument("--group", type=int, default=250_000, help="rows in a row group of the file")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    parser.add_argument("--one", nargs=2, metavar=("VERB", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        verb, path = arguments.one
        if verb == "write":
            write(path, arguments.rows[0], arguments.group)
        else:
            print(json.dumps(count(path, arguments.rows[0], arguments.group)))
        return
    environment = os.environ | dict.fromkeys(THREADS, "1")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-P", str(Path(__file__).resolve()), "--rows", str(rows)]
            command += ["--group", str(arguments.group), "--one"]
            path = str(Path(folder) / "table.parquet")
            subprocess.run([*command, "write", path], env=environment, check=True)
            done = subprocess.run([*command, "count", path], env=environment, check=True, stdout=subprocess.PIPE)
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

"""The benchmark: generators, ours and other libraries', on the coded Adult table, side by side.

Every cell of the grid (library, method, settings, epsilon, seed) is one process with one thread, stopped after a cap of
CPU seconds. A library runs in the environment that `--python` names for it, through its script in experiments/fits.
Protocol: mean total variation distance over all 91 two-way marginals, and over 64 three-way marginals drawn with
``default_rng(0)``; as many synthetic rows as real ones; delta 1e-9. Cells on record are not run again; the record is
rewritten whole after each.

    python experiments/benchmark.py --libraries ours --methods independent mst aim --epsilons 0.1 1 10 --seeds 5
    python experiments/benchmark.py --libraries dpmm --methods mst aim --python dpmm=.peers/dpmm/bin/python --jobs 2
    python experiments/benchmark.py --figures          # from the record, runs nothing

The exact error is a figure about the real rows: for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "benchmark.parquet"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
DELTA = "1e-9"
LIBRARIES = {"ours": "dpsynth", "dpmm": "dpmm", "smartnoise": "smartnoise-synth"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One fit. Privacy noise takes no seed: it numbers the fits, and seeds what is drawn from the model."""

    library: str
    method: str
    settings: str
    epsilon: str
    seed: int

    def __str__(self) -> str:
        named = f" {self.settings}" if self.settings != "{}" else ""
        return f"{self.library} {self.method}{named} epsilon {self.epsilon} #{self.seed}"


def run(cell: Cell, python: str, data: Path, cap: int) -> dict[str, Any]:
    """Fit, draw, measure: a row of the record. What fails or takes too long has a note and no error."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        out = Path(folder) / "synthetic.parquet"
        table, domain = data / "adult_coded.parquet", data / "adult_coded_domain.json"
        script = HERE / "fits" / f"{cell.library}.py"
        arguments = (table, domain, cell.method, cell.settings, cell.epsilon, DELTA, cell.seed, out)
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(HERE.parent)}
        with (Path(folder) / "said").open("w+") as said:
            process = subprocess.Popen(
                [python, "-P", str(script), *map(str, arguments)],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment if cell.library == "ours" else environment | {"PYTHONPATH": ""},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cap, cap + 5)),
            )
            started = time.perf_counter()
            _, raw, usage = os.wait4(process.pid, 0)
            process.returncode = status = os.waitstatus_to_exitcode(raw)
            said.seek(0)
            lines = said.read().splitlines()
        row: dict[str, Any] = asdict(cell) | {
            "version": _version(python, LIBRARIES[cell.library]),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load": round(os.getloadavg()[0], 1),
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "peak_mb": round(usage.ru_maxrss / 1024),
            "fit_seconds": None,
            "two_way": None,
            "three_way": None,
            "note": "",
        }
        if status == 0:
            row |= {"fit_seconds": round(json.loads(lines[-1])["fit_seconds"], 2)} | workload_error(table, domain, out)
        elif status == -signal.SIGXCPU or (status == -signal.SIGKILL and row["cpu_seconds"] >= cap):
            row["note"] = f"stopped at the cap of {cap} CPU seconds"
        else:
            row["note"] = f"exit {status}: {lines[-1][:200] if lines else ''}"
        return row


def _version(python: str, package: str) -> str:
    asked = f"from importlib.metadata import version; print(version({package!r}))"
    answer = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return f"{package} {answer.stdout.strip()}"


def workload_error(table: Path, domain: Path, synthetic: Path) -> dict[str, float]:
    """Mean total variation distance of the protocol's two-way and three-way marginals."""
    import numpy as np
    import pandas as pd

    sizes = json.loads(domain.read_text())
    real, drawn = pd.read_parquet(table), pd.read_parquet(synthetic)

    def shares(frame: Any, clique: tuple[str, ...]) -> Any:
        shape = tuple(sizes[name] + 1 for name in clique)  # room for a cell outside the domain
        codes = tuple(np.clip(frame[name].to_numpy(), 0, sizes[name]) for name in clique)
        return np.bincount(np.ravel_multi_index(codes, shape), minlength=int(np.prod(shape))) / len(frame)

    def error(cliques: Iterable[tuple[str, ...]]) -> float:
        return float(np.mean([0.5 * np.abs(shares(drawn, c) - shares(real, c)).sum() for c in cliques]))

    threes = list(combinations(real.columns, 3))
    some = [threes[i] for i in np.random.default_rng(0).choice(len(threes), 64, replace=False)]
    return {"two_way": round(error(combinations(real.columns, 2)), 5), "three_way": round(error(some), 5)}


def figures(record: Path) -> list[Path]:
    """Error against epsilon, and against time at epsilon 1, as SVG beside the record."""
    import matplotlib

    matplotlib.use("svg")
    import pandas as pd
    from matplotlib import pyplot

    rows = pd.read_parquet(record).dropna(subset=["two_way"])
    rows["epsilon"] = rows["epsilon"].astype(float)
    rows["name"] = rows["library"] + " " + rows["method"] + rows["settings"].where(rows["settings"] != "{}", "")
    drawn = []
    for name, x, label in (("epsilon", "epsilon", "epsilon"), ("time", "cpu_seconds", "CPU seconds, epsilon 1")):
        part = rows if name == "epsilon" else rows[rows["epsilon"] == 1]
        figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        for axis, error in zip(axes, ("two_way", "three_way"), strict=True):
            for method, own in part.groupby("name"):
                middle = own.groupby("epsilon")[[x, error]].median() if x != "epsilon" else None
                if middle is None:
                    spread = own.groupby("epsilon")[error].agg(["mean", "min", "max"])
                    axis.plot(spread.index, spread["mean"], marker="o", label=method)
                    axis.fill_between(spread.index, spread["min"], spread["max"], alpha=0.2)
                else:
                    axis.scatter(middle[x], middle[error], label=method)
            axis.set(xscale="log", yscale="log", xlabel=label, ylabel=f"mean {error.replace('_', '-')} error")
            axis.grid(alpha=0.3, which="both")
        axes[1].legend(fontsize=8)
        drawn.append(record.with_name(f"benchmark_{name}.svg"))
        figure.savefig(drawn[-1])
        pyplot.close(figure)
    return drawn


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", HERE.parents[1] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=["ours"])
    parser.add_argument("--methods", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--settings", default="{}", help="JSON settings of every method listed")
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=1, help="fits of each cell")
    parser.add_argument("--cap", type=int, default=900, help="CPU seconds after which a fit is stopped (default 900)")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time; their times then share the machine")
    parser.add_argument("--python", nargs="*", default=[], metavar="LIBRARY=PATH", help="the Python of a library")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--figures", action="store_true", help="draw the record and run nothing")
    asked = parser.parse_args()
    if asked.figures:
        print(*figures(asked.out), sep="\n")
        return

    import pandas as pd

    pythons = {"ours": sys.executable} | dict(pair.split("=", 1) for pair in asked.python)
    lacking = [name for name in asked.libraries if name not in pythons]
    if lacking:
        parser.error(
            f"say which Python has {lacking[0]}: --python {lacking[0]}=PATH; `make peers` makes them in .peers"
        )
    settings = json.dumps(json.loads(asked.settings), sort_keys=True)
    grid = product(asked.libraries, asked.methods, asked.epsilons, range(asked.seeds))
    cells = [Cell(library, method, settings, epsilon, seed) for library, method, epsilon, seed in grid]
    record = pd.read_parquet(asked.out).to_dict("records") if asked.out.exists() else []
    done = {Cell(**{name: row[name] for name in Cell.__dataclass_fields__}) for row in record}
    with ThreadPoolExecutor(asked.jobs) as pool:
        started = {
            pool.submit(run, cell, pythons[cell.library], asked.data, asked.cap): cell
            for cell in cells
            if cell not in done
        }
        for number, future in enumerate(as_completed(started), start=1):
            row = future.result()
            record.append(row)
            partial = asked.out.with_suffix(".partial")
            pd.DataFrame(record).to_parquet(partial, index=False)
            partial.replace(asked.out)
            what = row["note"] or f"2-way {row['two_way']}, 3-way {row['three_way']}, fit {row['fit_seconds']} CPU s"
            print(f"[{number}/{len(started)}] {started[future]}: {what}, {row['peak_mb']} MB", flush=True)


if __name__ == "__main__":
    main()

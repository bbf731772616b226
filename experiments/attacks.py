"""What the attacks find in releases of SUPPORT2: some that leak by construction, some that cannot, and some made by us.

Of the 9,105 patients a quarter is held out. ``copy`` releases the training rows themselves; ``fresh`` releases one
half of them and calls the other half the training rows, so that nothing of these is in it; ``five`` is the same with
five rows of a hundred replaced by copies of the other half; ``independent`` and ``aim`` are fitted to the training rows
at an epsilon, with fresh noise each time. A public table: these are exact figures of real rows.

    python experiments/attacks.py --seeds 3 --out results/attacks.tsv
    python experiments/attacks.py --releases independent:1 aim:1 --seeds 1 --deep --out results/attacks_deep.tsv
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accountants import Budget, Meter
from dpsynth.encoding import Encoder
from dpsynth.evaluation.custodian.attacks import Refit, run_attacks
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.planned import plan
from dpsynth.schema import Schema

ROOT = Path(__file__).parents[1]
DELTA = "1e-9"
SENSITIVE = ("hospdead", "income", "race", "dementia", "totcst")
COLUMNS = ("release", "seed", "seconds", "measure", "subject", "value", "low", "high", "baseline", "control", "note")


def fitted(rows: pd.DataFrame, schema: Schema, generator: str, epsilon: str, rng: np.random.Generator) -> pd.DataFrame:
    """As many rows from a model fitted with fresh noise; the generator is for drawing alone."""
    planned = plan(generator, schema, Budget(epsilon, DELTA))
    model = planned.generator.fit(
        PrivateTable(Rows(rows, schema), Meter(planned.claim.plan)), planned.claim.plan, schema.hints
    )
    return draw_rows(constrained(model, schema.rules), Encoder(schema), len(rows), rng)[1]


def refitted(
    rows: pd.DataFrame,
    units: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    schema: Schema,
    generator: str,
    epsilon: str,
) -> pd.DataFrame:
    """The same as the shadow models need it: rows as the report reads them."""
    released = fitted(rows.reset_index(drop=True), schema, generator, epsilon, rng)
    return read_tables(schema, released, rows, rows.iloc[:0], rng)[0].synthetic


def attacked(schema: Schema, frame: pd.DataFrame, kind: str, rng: np.random.Generator) -> tuple[Tables, Refit | None]:
    """The tables of one release, and how to make it again."""
    order = rng.permutation(len(frame))
    held, rest = order[: len(frame) // 4], order[len(frame) // 4 :]
    name, _, epsilon = kind.partition(":")
    refit = None
    if name in ("fresh", "five"):
        other, rest = np.array_split(rest, 2)
        copied = len(other) // 20 if name == "five" else 0
        released = frame.iloc[np.concatenate([rest[:copied], other[copied:]])]
    elif name == "copy":
        released = frame.iloc[rest]
    else:
        released = fitted(frame.iloc[rest].reset_index(drop=True), schema, name, epsilon, rng)
        refit = partial(refitted, schema=schema, generator=name, epsilon=epsilon)
    real = [frame.iloc[part].reset_index(drop=True) for part in (rest, held)]
    return read_tables(schema, released.reset_index(drop=True), *real, rng)[0], refit


def main() -> None:
    parser = argparse.ArgumentParser(description="What the attacks find in releases of SUPPORT2.")
    parser.add_argument("--releases", nargs="+", default=["copy", "fresh", "five", "independent:1", "aim:1", "aim:10"])
    parser.add_argument("--seeds", type=int, default=3, help="releases of each kind; privacy noise is never seeded")
    parser.add_argument("--deep", action="store_true", help="also shadow models: sixteen fits a release")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    schema = Schema.from_yaml(ROOT / "tests/data/support2.yaml")
    frame = pd.read_parquet(Path(os.environ.get("DPSYNTH_DATA", ROOT / "../shared/data")) / "support2.parquet")
    for kind in arguments.releases:
        for seed in range(arguments.seeds):
            rng = np.random.default_rng(seed)
            tables, refit = attacked(schema, frame, kind, rng)
            started = time.process_time()
            found = run_attacks(tables, rng=rng, deep=arguments.deep, sensitive=SENSITIVE, refit=refit)
            seconds = round(time.process_time() - started, 1)
            for finding in found:
                show([kind, seed, seconds, *map(_plain, astuple(finding)[1:])], arguments.out)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "" if np.isnan(value) else round(value, 4)
    return value


def show(row: list[Any], path: Path | None) -> None:
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

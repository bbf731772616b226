"""What the custodian's report says of releases of public tables, and what it takes to make.

Each table is split by unit (a quarter held out), released from the rest by each generator, and evaluated through the
same functions as ``dpsynth split``, ``release`` and ``evaluate``. A row of results has the figures that lead the page,
each beside its baseline, and the processor's seconds of every stage. ``wide`` is a made-up table of 50 columns and
100,000 rows, for time alone.

    python experiments/custodian.py --tables support2 diabetes130 wide --generators mst --fits 3 \
        --out experiments/results/custodian.tsv

The figures are about real rows: this is for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import tempfile
import time
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accountants import Budget, Keyring, Ledger
from dpsynth.evaluation.custodian.report import CustodianReport, Questions, evaluate
from dpsynth.evaluation.custodian.split import HOLDOUT, TRAIN, split
from dpsynth.planned import plan
from dpsynth.progress import Step, listening
from dpsynth.release import ModelStore, admit
from dpsynth.schema import Schema
from dpsynth.session import fit

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("DPSYNTH_DATA", HERE.parent.parent / "shared" / "data"))
ASKED = {
    "support2": Questions(target="hospdead", sensitive="race", time="d_time", event="death"),
    "diabetes130": Questions(target="readmitted=<30", sensitive="race"),
    "wide": Questions(target="flag_0", sensitive="kind_0"),
}
LEADING = (
    "total variation distance, 1-way",
    "total variation distance, 2-way",
    "total variation distance, 3-way",
    "Pearson correlation, mean absolute difference",
    "Spearman correlation, mean absolute difference",
    "Cramér's V, mean absolute difference",
    "pMSE, ratio to its expectation",
    "area under the ROC curve, released against training rows",
    "area under the ROC curve",
    "confidence-interval overlap, mean over coefficients",
    "Kaplan-Meier divergence",
    "concordance index",
    "demographic parity difference",
    "equalised odds difference",
    "worst-stratum gap",
)


def wide(rows: int = 100_000, seed: int = 0) -> tuple[pd.DataFrame, Schema]:
    """20 listed columns, 20 numbers and 10 flags that share three factors, some cells empty."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 3))
    frame, columns = dict[str, Any](), list[str]()
    for i in range(50):
        latent = factors @ rng.normal(size=3) + rng.normal(size=rows)
        empty = rng.random(rows) < (0.1 if i % 4 == 0 else 0.0)
        missing = ", missing: true" if i % 4 == 0 else ""
        if i < 20:
            levels = int(rng.integers(3, 30))
            code = np.clip(np.searchsorted(np.linspace(-4, 4, levels - 1), latent), 0, levels - 1)
            frame[f"kind_{i}"] = np.where(empty, None, np.char.add("v", code.astype(str)))
            values = ", ".join(f"v{code}" for code in range(levels))
            columns.append(f"  kind_{i}: {{type: categorical, values: [{values}]{missing}}}")
        elif i < 40:
            frame[f"number_{i}"] = np.where(empty, np.nan, np.round(np.clip(latent * 10, -100, 100), 1))
            columns.append(f"  number_{i}: {{type: float, min: -100, max: 100, bins: 32{missing}}}")
        else:
            frame[f"flag_{i - 40}"] = np.where(empty, None, latent > 1)
            columns.append(f"  flag_{i - 40}: {{type: boolean{missing}}}")
    return pd.DataFrame(frame), Schema.loads("\n".join(["columns:", *columns]))


def measured(name: str, generator: str, epsilon: str, deep: bool, number: int) -> list[dict[str, Any]]:
    """One split, release and report: the leading figures, and seconds by stage.

    Every fit has a split and attacked units of its own: the same units again are no second observation.
    """
    if name == "wide":
        table, schema = wide()
    else:
        table, schema = DATA / f"{name}.parquet", Schema.from_yaml(HERE.parent / "tests" / "data" / f"{name}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["DPSYNTH_HOME"] = str(home / "home")
        keys = Keyring(home / "home" / "keys")
        ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", keys.signing_key(create=True))
        parts = split(table, schema, 0.25, home / "split", seed=number)
        account = ledger.open(name, Budget(epsilon, "1e-8"), delta0="1e-9")
        planned = plan(generator, schema, Budget(epsilon, "9e-9"))
        model = fit(planned, parts / TRAIN, account, store=ModelStore(home / "models"))
        released = admit(model.sample(), account).write(home / "release")
        asked = ASKED[name]
        questions = Questions(asked.target, asked.sensitive, asked.time, asked.event, deep)
        clock = _Clock()
        with listening(clock):
            report = evaluate(
                released,
                parts / TRAIN,
                parts / HOLDOUT,
                ledger,
                keys.trusted(),
                questions,
                rng=np.random.default_rng(number),
            )
        started = time.process_time()
        report.write(home / "report")
        clock.seconds["page"] = time.process_time() - started
    cell = {"table": name, "generator": generator, "epsilon": epsilon, "deep": deep}
    shape = "{rows[synthetic]} + {rows[train]} + {rows[holdout]} rows x {columns}".format(**report.about)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rows = [{**cell, "measure": "CPU seconds", "subject": k, "value": round(v, 1)} for k, v in clock.seconds.items()]
    total = round(sum(clock.seconds.values()), 1)
    rows.append({**cell, "measure": "CPU seconds", "subject": f"all, {shape}, peak {peak} MB", "value": total})
    return [*rows, *_figures(report, cell)]


class _Clock:
    """Processor seconds by stage, from the progress a report tells."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"models": 0.0}
        self._before = time.process_time()

    def __call__(self, step: Step) -> None:
        now = time.process_time()
        # What runs before a stage is told is the training of models, which utility and fairness share.
        stage = step.stage if step.done else "models"
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._before
        self._before = now


def _figures(report: CustodianReport, cell: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for each in report.findings:
        if (each.measure in LEADING or each.section == "privacy") and not isnan(each.value):
            known = {n: getattr(each, n) for n in ("value", "low", "high", "baseline", "control")}
            figures = {n: "" if isnan(v) else round(v, 4) for n, v in known.items()}
            rows.append({**cell, "measure": each.measure, "subject": each.subject, **figures})
    return rows


COLUMNS = (
    "table",
    "generator",
    "epsilon",
    "deep",
    "fit",
    "measure",
    "subject",
    "value",
    "low",
    "high",
    "baseline",
    "control",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The custodian's report on releases of public tables.")
    parser.add_argument("--tables", nargs="+", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--generators", nargs="+", default=["mst"])
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--fits", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    for name in arguments.tables:
        for generator in arguments.generators:
            for epsilon in arguments.epsilons:
                for number in range(arguments.fits):
                    for row in measured(name, generator, epsilon, arguments.deep, number):
                        show({**row, "fit": number}, arguments.out)


def show(row: dict[str, Any], path: Path | None) -> None:
    """A row on the screen and in the file."""
    print(*(f"{key}={row[key]}" for key in COLUMNS if row.get(key, "") != ""), flush=True)
    if path:
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({column: row.get(column, "") for column in COLUMNS})


if __name__ == "__main__":
    main()

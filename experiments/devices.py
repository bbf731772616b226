"""Networks trained on each device: seconds of clock and steps, whether numerics are exact, what comes out.

Every fit is a process of its own with one thread, at epsilon 1 and delta 1e-6 on a table of the protocol. On a device
whose arithmetic is not reproducible the fit is made with idealised numerics, and the record says so.

    python experiments/devices.py --tables adult --devices cpu cuda --out results/devices.tsv

Every figure but the seconds is about real rows: this is for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
import records  # noqa: E402
from deep import fitted  # noqa: E402
from numeric_columns import TARGETS, auroc, features, schema_of, split  # noqa: E402

KEYS = ("table", "generator", "device", "seed")
COLUMNS = (*KEYS, "machine", "numerics", "seconds", "steps", "auroc_logistic", "auroc_boosting")


def one_fit(table: str, generator: str, device: str, seed: int, data: Path) -> dict[str, Any]:
    import numpy as np
    import torch

    from accountants import Budget
    from dpsynth.encoding import Encoder
    from dpsynth.training import NotReproducible

    schema, (target, positive) = schema_of(table, "auto"), TARGETS[table]
    train, test = split(table, data, schema)
    if device == "cuda":
        torch.zeros(1, device="cuda")  # the driver's start is no part of a fit
    told = {"target": target} if generator == "gan" else {}
    for numerics in ("exact", "idealised"):
        started = time.perf_counter()
        try:
            settings = json.dumps({"device": device, "numerics": numerics} | told)
            model, cost = fitted(schema, train, generator, settings, Budget("1", "1e-6"))
            break
        except NotReproducible:
            continue
    seconds = time.perf_counter() - started - cost["plan_seconds"]
    rng = np.random.default_rng(seed)
    released = features(Encoder(schema).decode(model.sample(len(train), rng), rng), schema)
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} cores, one used"
    shown = {"machine": machine, "numerics": numerics, "seconds": round(seconds, 1), "steps": cost["steps"]}
    cell = dict(zip(KEYS, (table, generator, device, seed), strict=True))
    return cell | shown | auroc(released, features(test, schema), target, positive)


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", HERE.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Networks trained on each device.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tables", nargs="+", choices=list(TARGETS), default=["adult"])
    parser.add_argument("--generators", nargs="+", default=["made", "vae", "gan"])
    parser.add_argument("--devices", nargs="+", choices=["cpu", "cuda"], default=["cpu", "cuda"])
    parser.add_argument("--seeds", type=int, default=1, help="fits of each; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    parser.add_argument("--one", nargs=4, metavar=KEYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        table, generator, device, seed = asked.one
        print(json.dumps(one_fit(table, generator, device, int(seed), asked.data)))
        return
    cells = [
        (table, generator, device, str(seed))
        for seed in range(asked.seeds)
        for table in asked.tables
        for generator in asked.generators
        for device in asked.devices
    ]
    records.run(HERE, asked.data, cells, COLUMNS, asked.out, again=True)


if __name__ == "__main__":
    main()

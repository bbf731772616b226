"""One fit with dpsynth, for benchmark.py: every fit script has these arguments and leaves a table of codes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from accountants import Allowance, Budget, Meter
from dpsynth.generators import generator_from
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.schema import Schema


def main(table: str, domain: str, method: str, settings: str, epsilon: str, delta: str, seed: str, out: str) -> None:
    frame = pd.read_parquet(table)
    schema = Schema.from_domain(json.loads(Path(domain).read_text()))
    recipe = generator_from(method, json.loads(settings))
    started = time.process_time()
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, delta)), schema.hints)
    model = recipe.fit(PrivateTable(Rows(frame, schema), Meter(plan)), plan, schema.hints)
    seconds = time.process_time() - started
    pd.DataFrame(model.sample(len(frame), np.random.default_rng(int(seed)))).to_parquet(out)
    print(json.dumps({"fit_seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One fit with dpmm 0.1.9 (its model layer on integer codes, the domain public), for benchmark.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from dpmm.models.aim import AIMGM
from dpmm.models.mst import MSTGM
from dpmm.models.priv_bayes import PrivBayesGM

METHODS = {"mst": MSTGM, "aim": AIMGM, "privbayes": PrivBayesGM}


def main(table: str, domain: str, method: str, settings: str, epsilon: str, delta: str, seed: str, out: str) -> None:
    frame = pd.read_parquet(table)
    sizes = json.loads(Path(domain).read_text())
    started = time.process_time()
    model = METHODS[method](
        epsilon=float(epsilon),
        delta=float(delta),
        domain=sizes,
        random_state=np.random.RandomState(int(seed)),
        n_jobs=1,
        **json.loads(settings),
    )
    model.fit(frame)
    seconds = time.process_time() - started
    model.generate(n_records=len(frame))[list(frame.columns)].astype("int64").to_parquet(out)
    print(json.dumps({"fit_seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])

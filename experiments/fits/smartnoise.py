"""One fit with smartnoise-synth 1.0.8 (the domain public: no budget for it), for benchmark.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
from snsynth import Synthesizer
from snsynth.transform import LabelTransformer, TableTransformer


def main(table: str, domain: str, method: str, settings: str, epsilon: str, delta: str, seed: str, out: str) -> None:
    frame = pd.read_parquet(table)
    sizes = json.loads(Path(domain).read_text())
    labels = [LabelTransformer(nullable=False) for _ in frame.columns]
    for label, name in zip(labels, frame.columns, strict=True):
        for code in range(sizes[name]):
            label._fit(code)
        label._fit_finish()
    transformer = TableTransformer(labels)
    started = time.process_time()
    synthesizer = Synthesizer.create(method, epsilon=float(epsilon), delta=float(delta), **json.loads(settings))
    synthesizer.fit(frame, transformer=transformer)
    seconds = time.process_time() - started
    drawn = synthesizer.sample(len(frame))
    drawn.columns = list(frame.columns)
    drawn.astype("int64").to_parquet(out)
    print(json.dumps({"fit_seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])

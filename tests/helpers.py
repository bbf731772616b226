"""What the end-to-end tests share: a small public table, its schema, an account, and a look into every file written."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from accountants import Budget
from dpsynth import Schema, open_ledger

SCHEMA = """
name: visits
unit: patient
at_most: 2
about_rows: 400
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  stage: {type: ordinal, values: [I, II, III]}
  smoker: {type: boolean}
  age: {type: integer, min: 0, max: 100, bins: 5}
  cost: {type: float, min: 0, max: 1000, bins: 4}
"""


def schema() -> Schema:
    return Schema.loads(SCHEMA)


def table(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Visits in which cost follows age and stage follows smoking."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 101, rows)
    smoker = rng.random(rows) < 0.3
    return pd.DataFrame(
        {
            "patient": [f"p{i % max(1, rows // 2)}" for i in range(rows)],
            "sex": rng.choice(["F", "M", None], rows),
            "stage": np.where(smoker, "III", rng.choice(["I", "II"], rows)),
            "smoker": smoker,
            "age": age,
            "cost": np.clip(age * 8 + rng.normal(0, 50, rows), 0, 1000).round(2),
        }
    )


def account(name: str = "visits", epsilon: float = 3.0):
    return open_ledger().open(name, Budget(epsilon))


def texts_of(folder: Path) -> str:
    """Everything under a folder as one text: names, raw bytes, and what is packed inside Parquet and gzip."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path.relative_to(folder)))
        if path.is_file():
            parts.append(_text(path.name, path.read_bytes()))
    return "\n".join(parts)


def _text(name: str, raw: bytes) -> str:
    parts = [raw.decode("latin-1")]
    if name.endswith(".parquet"):
        frame = pq.read_table(io.BytesIO(raw))
        parts += [str(frame.schema.metadata), frame.to_pandas().to_csv()]
    elif name.endswith(".gz"):
        parts.append(gzip.decompress(raw).decode("latin-1"))
    return "\n".join(parts)

"""A table cut in two by privacy unit: rows to release from, and rows that no release ever sees."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dpsynth import private
from dpsynth.encoding import unit_tokens
from dpsynth.errors import BundleError
from dpsynth.evaluation.custodian.doubts import pair_digest
from dpsynth.evaluation.custodian.folder import check_private_target, write_private
from dpsynth.kernel.sources import check_structure, open_source
from dpsynth.schema import Schema

TRAIN, HOLDOUT = "PRIVATE-train.parquet", "PRIVATE-holdout.parquet"


def split(table: Any, schema: Schema, holdout: float, out: Path | str, *, seed: int | None = None) -> Path:
    """Write a folder with two tables that share no privacy unit, whole or not at all, readable by its owner alone.

    All columns are kept, the schema's or not. Rows without a unit go to train, where a release leaves them out.

    Args:
        table: a frame or a path.
        schema: names the unit; without one each row is a unit.
        holdout: the share of units to hold out, above 0 and below 1.
        out: the folder to write; must not exist or be empty.
        seed: makes the choice repeatable; None draws it from the operating system.

    Returns:
        The folder's absolute path.

    Raises:
        BundleError: a share out of bounds, or a folder that cannot be written.
        SourceError: the table cannot be read or lacks a column.
    """
    if not isfinite(holdout) or not 0 < holdout < 1:
        raise BundleError(f"--holdout must lie above 0 and below 1, got {holdout}; .25 holds a quarter of the units")
    target = check_private_target(out)
    source = open_source(table)
    check_structure(source, schema)
    empty = pa.table({name: pa.array([], pa.string()) for name in source.columns})
    batches = [pa.Table.from_batches([batch]) for batch in source.batches(list(source.columns))]
    whole = pa.concat_tables(batches, promote_options="permissive") if batches else empty
    held = held_out(whole, schema.unit, holdout, np.random.default_rng(seed))
    parts = {TRAIN: whole.filter(pa.array(~held)), HOLDOUT: whole.filter(pa.array(held))}
    written = write_private(target, {name: private.stamped(part) for name, part in parts.items()}, schema.unit)
    private.remember(pair_digest((written / TRAIN).read_bytes(), (written / HOLDOUT).read_bytes()))
    return written


def held_out(table: pa.Table, unit: str | None, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows are held out, shape (rows,): all rows of a unit, or none."""
    if unit is None:
        labels = np.arange(table.num_rows)
    else:
        names: dict[bytes, int] = {}
        tokens = unit_tokens(table.column(unit))
        labels = np.array([-1 if t is None else names.setdefault(t, len(names)) for t in tokens], dtype=np.int64)
    count = int(labels.max(initial=-1)) + 1
    chosen = np.zeros(count + 1, dtype=bool)
    chosen[rng.permutation(count)[: round(share * count)]] = True
    return chosen[labels]  # -1, without a unit, is the last entry: never held out


__all__ = ["HOLDOUT", "TRAIN", "held_out", "split"]

"""Real and released rows through the release's schema, side by side and in one set of types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dpsynth.cells import READ, as_arrow, moments, numbers
from dpsynth.columns import ColumnBase, Date, Datetime, Float, Integer
from dpsynth.encoding import Encoder, unit_tokens
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.kernel.sources import Source, check_structure, open_source
from dpsynth.schema import Schema

LEFT_OUT = ("without_unit", "beyond_bound", "in_both")
"""Why real rows are left out: no unit, more rows of a unit than a release uses, a holdout unit that is in train too."""


def read_tables(
    schema: Schema, synthetic: Any, train: Any, holdout: Any, rng: np.random.Generator
) -> tuple[Tables, dict[str, int]]:
    """The three tables, and how many real rows were left out, by reason.

    As a release does, it takes at most `at_most` rows of a unit, here chosen at random, and none without a unit: what
    is compared is what the release could describe. A unit of the holdout that is in train as well is left out of the
    holdout.

    Args:
        schema: of the release.
        synthetic: its table, without a unit column.
        train, holdout: frames or paths of real rows, with the schema's columns and its unit.
        rng: chooses the rows of a unit.

    Raises:
        SourceError: a table cannot be read or lacks a column.
    """
    released = open_source(synthetic)
    check_structure(released, schema.model_copy(update={"unit": None}))
    sources = {"train": open_source(train), "holdout": open_source(holdout)}
    for source in sources.values():
        check_structure(source, schema)
    frames, tokens = {}, {}
    for name, source in sources.items():
        frames[name], tokens[name] = _read(source, schema, schema.unit)
    left_out = dict.fromkeys(LEFT_OUT, 0)
    names: dict[bytes, int] = {}
    units: dict[str, NDArray[Any]] = {}
    for name in ("train", "holdout"):
        own = tokens[name]
        if schema.unit is None:  # each row is a unit of its own
            start = len(units["train"]) if name == "holdout" else 0
            units[name] = np.arange(start, start + len(frames[name]))
            continue
        before = set(names) if name == "holdout" else set[bytes]()
        labels = np.array([-1 if t is None else names.setdefault(t, len(names)) for t in own], dtype=np.int64)
        both = np.array([t is not None and t in before for t in own], dtype=bool)
        left_out["without_unit"] += int((labels < 0).sum())
        left_out["in_both"] += int(both.sum())
        kept = np.flatnonzero((labels >= 0) & ~both)
        bounded = kept[_at_most(labels[kept], schema.at_most, rng)]
        left_out["beyond_bound"] += len(kept) - len(bounded)
        frames[name] = frames[name].iloc[bounded].reset_index(drop=True)
        units[name] = labels[bounded]
    return Tables(schema, _read(released, schema)[0], frames["train"], frames["holdout"], units), left_out


def as_released(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """A drawn table in the types of `Tables`."""
    return _read(open_source(frame), schema)[0]


def _at_most(labels: NDArray[np.int64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of at most `k` rows of each unit, in order."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels, side="left")
    return np.sort(order[np.arange(len(order)) - first < k])


def _read(source: Source, schema: Schema, unit: str | None = None) -> tuple[pd.DataFrame, list[bytes | None]]:
    """The rows, and of each its unit, in one pass."""
    encoder, tokens = Encoder(schema), list[bytes | None]()
    parts = []
    for batch in source.batches([*schema.names, *([] if unit is None else [unit])]):
        parts.append(_part(batch, schema, encoder))
        tokens += [] if unit is None else unit_tokens(batch.column(unit))
    if not parts:
        parts = [_part(pa.table({name: pa.array([], pa.string()) for name in schema.names}), schema, encoder)]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0], tokens


def _part(batch: Any, schema: Schema, encoder: Encoder) -> pd.DataFrame:
    return pd.DataFrame({column.name: _cells(batch.column(column.name), column, encoder) for column in schema.columns})


def _cells(cells: Any, column: ColumnBase, encoder: Encoder) -> Any:
    array = as_arrow(cells)
    if isinstance(column, Integer | Float):
        values, state = numbers(array)
        return np.where((state == READ) & np.isfinite(values), values, np.nan)
    if isinstance(column, Date | Datetime):
        seconds, state = moments(array)
        found = seconds.astype("datetime64[s]")
        found[state != READ] = np.datetime64("NaT")
        return found
    codes = encoder.encode_column(column.name, array).astype(np.int64)
    codes[codes >= column.cells] = -1
    kind = pd.CategoricalDtype(encoder.decode_labels(column.name)[: column.cells], ordered=column.ordered)
    return pd.Categorical.from_codes(codes, dtype=kind)


__all__ = ["as_released", "read_tables"]

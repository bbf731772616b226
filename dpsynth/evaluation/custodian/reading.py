"""Real and released rows through the release's schema, side by side and in one set of types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dpsynth.cells import READ, as_arrow, moments, numbers
from dpsynth.columns import ColumnBase, Date, Datetime, Float, Integer
from dpsynth.encoding import Encoder, unit_tokens
from dpsynth.errors import SourceError
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
    frames = {name: _frame(source, schema) for name, source in sources.items()}
    tokens = {name: _tokens(source, schema, len(frames[name])) for name, source in sources.items()}
    left_out = dict.fromkeys(LEFT_OUT, 0)
    names: dict[bytes, int] = {}
    units: dict[str, NDArray[Any]] = {}
    for name in ("train", "holdout"):
        own = tokens[name]
        if own is None:  # each row is a unit of its own
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
    return Tables(schema, _frame(released, schema), frames["train"], frames["holdout"], units), left_out


def labels_of(column: ColumnBase, encoder: Encoder) -> list[str]:
    """What a listed column's values are called."""
    return encoder.decode_labels(column.name)[: column.cells]


def is_number(column: ColumnBase) -> bool:
    """Whether its cells are read as numbers."""
    return isinstance(column, Integer | Float)


def is_moment(column: ColumnBase) -> bool:
    """Whether its cells are read as dates or moments."""
    return isinstance(column, Date | Datetime)


def _at_most(labels: NDArray[np.int64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of at most `k` rows of each unit, in order."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels, side="left")
    return np.sort(order[np.arange(len(order)) - first < k])


def _frame(source: Source, schema: Schema) -> pd.DataFrame:
    encoder = Encoder(schema)
    parts = [_part(batch, schema, encoder) for batch in source.batches(list(schema.names))]
    if not parts:
        parts = [_part(pa.table({name: pa.array([], pa.string()) for name in schema.names}), schema, encoder)]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _part(batch: Any, schema: Schema, encoder: Encoder) -> pd.DataFrame:
    return pd.DataFrame({column.name: _cells(batch.column(column.name), column, encoder) for column in schema.columns})


def _cells(cells: Any, column: ColumnBase, encoder: Encoder) -> Any:
    array = as_arrow(cells)
    if is_number(column):
        values, state = numbers(array)
        return np.where((state == READ) & np.isfinite(values), values, np.nan)
    if is_moment(column):
        seconds, state = moments(array)
        found = seconds.astype("datetime64[s]")
        found[state != READ] = np.datetime64("NaT")
        return found
    codes = encoder.encode_column(column.name, array).astype(np.int64)
    codes[codes >= column.cells] = -1
    kind = pd.CategoricalDtype(labels_of(column, encoder), ordered=column.ordered)
    return pd.Categorical.from_codes(codes, dtype=kind)


def _tokens(source: Source, schema: Schema, rows: int) -> list[bytes | None] | None:
    if schema.unit is None:
        return None
    found = [token for batch in source.batches([schema.unit]) for token in unit_tokens(batch.column(schema.unit))]
    if len(found) != rows:
        raise SourceError("the table changed while it was read; write it to a file first")
    return found


def read_schema(folder: Path) -> Schema:
    """The schema of a release folder.

    Raises:
        SchemaError: it is none.
    """
    from dpsynth.release.bundle import SCHEMA

    return Schema.from_yaml(folder / SCHEMA)


__all__ = ["is_moment", "is_number", "labels_of", "read_schema", "read_tables"]

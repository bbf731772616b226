"""Rows drawn from a model and turned into values, with the schema's constraints satisfied in every one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.constraints.enforcement import Tally, enforce
from dpsynth.constraints.values import Value
from dpsynth.domain import Codes
from dpsynth.encoding import Encoder
from dpsynth.generators.base import Model
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.schema import Schema


def draw_rows(
    model: Model,
    encoder: Encoder,
    rows: int,
    rng: np.random.Generator,
    given: Codes | None = None,
    points: Mapping[str, NDArray[np.int64]] | None = None,
) -> tuple[Codes, pd.DataFrame, Tally]:
    """`rows` rows as codes and as values, and what it took to satisfy the constraints.

    Args:
        model: samples.
        encoder: of its schema.
        rows: how many.
        rng: drives everything.
        given: columns to keep, one code for each row, each as its column is declared.
        points: for given numbers and dates what each cell stands for, in the column's own grid units.

    Raises:
        dpsynth.constraints.enforcement.Impossible: the given columns leave no row that satisfies the constraints.
    """
    schema, points = encoder.schema, points or {}
    kept, values = _split(schema, given or {}, points)
    codes: Codes = model.sample(rows, rng, kept or None)
    codes = {name: codes[name] for name in encoder.domain.attributes}
    if not schema.rules:
        return codes, encoder.decode(codes, rng), Tally()
    fixed = {name: points.get(name) for name in kept}
    spread = model.recoding.spread_again if isinstance(model, MarginalModel | NetworkModel) else None
    held = enforce(schema.rules, codes, rng, model.sample, spread, fixed, values)
    return held.codes, encoder.decode(held.codes, rng, held.points), held.tally


def _split(
    schema: Schema, given: Codes, points: Mapping[str, NDArray[np.int64]]
) -> tuple[dict[str, NDArray[Any]], dict[str, Value]]:
    """The given codes as they are encoded, and values of derived columns whose base is not given with them."""
    kept = {name: np.asarray(codes) for name, codes in given.items() if name not in schema.derived}
    values: dict[str, Value] = {}
    for name in given:
        if (each := schema.derived.get(name)) is None:
            continue
        own = np.asarray(given[name]).astype(np.int64)
        if any(base not in given for base in each.base):
            values[name] = Value(own, points[name])
            continue
        empty = np.logical_or.reduce([np.asarray(given[base]) >= schema.column(base).cells for base in each.base])
        kept[name] = each.encode(own, empty, each.sign * (points[name] - np.add.reduce([points[b] for b in each.base])))
    return kept, values


__all__ = ["draw_rows"]

"""Rows drawn from a model and turned into values, with the schema's constraints satisfied in every one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.constraints.enforcement import Tally, enforce
from dpsynth.domain import Codes
from dpsynth.encoding import Encoder
from dpsynth.generators.base import Model
from dpsynth.generators.marginal_model import MarginalModel


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
        given: columns to keep, one code for each row.
        points: for given numbers and dates what each cell stands for, in the column's own grid units.

    Raises:
        dpsynth.constraints.enforcement.Impossible: the given columns leave no row that satisfies the constraints.
    """
    codes: Codes = model.sample(rows, rng, given)
    codes = {name: codes[name] for name in encoder.domain.attributes}
    rules = encoder.schema.rules
    if not rules:
        return codes, encoder.decode(codes, rng), Tally()
    fixed = {name: (points or {}).get(name) for name in given or {}}
    spread = model.spread_again if isinstance(model, MarginalModel) else None
    held = enforce(rules, codes, rng, model.sample, spread, fixed)
    return held.codes, encoder.decode(held.codes, rng, held.points), held.tally


__all__ = ["draw_rows"]

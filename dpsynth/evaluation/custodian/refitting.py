"""The release's generator fitted again, for attacks that need models of which they know who was in.

It runs as the session runs it, with fresh noise at the same plan, on a meter that no ledger sees: nothing that comes of
it leaves the custodian's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accountants import Claim, Meter
from dpsynth.encoding import Encoder
from dpsynth.evaluation.custodian.reading import as_released
from dpsynth.generators import generator_from
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.progress import listening
from dpsynth.schema import Schema


@final
@dataclass(frozen=True, slots=True)
class Refitting:
    """Fits and draws.

    Attributes:
        schema: of the release.
        claim: what the release was charged for: its generator, its settings, its plan.
    """

    schema: Schema
    claim: Claim

    def __call__(self, rows: pd.DataFrame, units: NDArray[np.int64], rng: np.random.Generator) -> pd.DataFrame:
        """Synthetic rows, as many as the model estimates there are, in the types of `Tables`.

        Args:
            rows: real rows, in those types.
            units: the privacy unit of each row.
            rng: for the drawing; the noise takes no seed.
        """
        with listening(lambda _: None):  # what a fit tells is noisy answers, and here nobody paid for them
            return self._refitted(rows, units, rng)

    def _refitted(self, rows: pd.DataFrame, units: NDArray[np.int64], rng: np.random.Generator) -> pd.DataFrame:
        frame = rows.reset_index(drop=True)
        if self.schema.unit is not None:
            frame = frame.assign(**{self.schema.unit: np.asarray(units)})
        private = PrivateTable(Rows(frame, self.schema), Meter(self.claim.plan))
        recipe = generator_from(self.claim.generator, self.claim.parameters)
        model: Any = recipe.fit(private, self.claim.plan, self.schema.hints)
        model = constrained(model, self.schema.rules)
        drawn = draw_rows(model, Encoder(self.schema), max(1, round(model.total)), rng)[1]
        return as_released(drawn, self.schema)


__all__ = ["Refitting"]

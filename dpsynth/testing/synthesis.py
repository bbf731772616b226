"""Any generator run without privacy noise, or with noise that repeats: to debug it, and to tell its bias from noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray

from accountants import Budget, Meter
from dpsynth.encoding import Encoder
from dpsynth.generators import Generator
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.planned import plan
from dpsynth.schema import Schema
from dpsynth.testing.bits import SeededBits
from dpsynth.testing.not_private import MEANINGS, NoiseKind, NotPrivateTable


@final
class NoNoise:
    """Stands where the kernel's `Noise` does: counts leave exact, and the best candidate is always chosen.

    **No guarantee.** A table opened with it says that its numerics are ``none``, which the gate refuses.
    """

    numerics = "none"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def key(self) -> bytes:
        """32 zero bytes: which rows of a unit stay does not change from run to run."""
        return bytes(32)

    def rounded_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """`size` zeros."""
        return np.zeros(size, np.int64)

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """`size` numbers of a seeded stream: latent codes need some, whatever the noise."""
        return self._rng.uniform(size=size)

    def poisson(self, rate: float, count: int) -> NDArray[np.int64]:
        """Samples of the units from a seeded stream: without them every step would be on the whole table."""
        return np.flatnonzero(self._rng.uniform(size=count) < rate)

    def choose(self, scores: Sequence[int], rate: float, sensitivity: int) -> int:
        """The index of the highest score, the first of equals."""
        return scores.index(max(scores))


def synthesize_without_privacy(
    table: Any,
    schema: Schema,
    budget: Budget,
    *,
    generator: Generator | str = "aim",
    noise: NoiseKind = "none",
    seed: int = 0,
    rows: int | None = None,
) -> NotPrivateTable:
    """What a generator makes of a table with no noise, or with the planned noise drawn from a seed.

    The plan, the bound of k rows a unit and the meter are those of a real run, and so is the noise that the answers
    claim to have. No account is charged, no model is stored, nothing but the table comes back, and it can only be
    written as what it is. The rows of a real person may be told from it: **treat it as the data themselves.**

    Args:
        table: a frame, a path, or `Rows` read through `schema`.
        schema: the public description of the table.
        budget: what the plan is made for.
        generator: a recipe or its name.
        noise: ``none``: exact counts and the best candidate; ``seeded``: the kernel's samplers on `SeededBits`.
        seed: of the drawing of rows, and of ``seeded`` noise. Equal arguments give equal tables.
        rows: how many rows to draw (default: the model's total).

    Raises:
        ValueError: another kind of noise, fewer than one row, or Rows of another schema.
        SourceError, PlanError, KernelError: as `dpsynth.plan` and `dpsynth.fit`.
    """
    if noise not in MEANINGS:
        raise ValueError(f"noise must be one of {sorted(MEANINGS)}, got {noise!r}")
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows!r}")
    if isinstance(table, Rows) and table.schema.digest != schema.digest:
        raise ValueError("these Rows were read through another schema; read them through the one given")
    planned = plan(generator, schema, budget)
    read = table if isinstance(table, Rows) else Rows(table, schema)
    source = Noise(SeededBits(seed)) if noise == "seeded" else cast(Noise, NoNoise())
    private = PrivateTable(read, Meter(planned.claim.plan), source)
    model = planned.generator.fit(private, planned.claim.plan, schema.hints)
    rng = np.random.default_rng([seed, 1])  # not the stream that the noise came from
    count = rows if rows is not None else max(1, round(model.total))
    _, frame, _ = draw_rows(constrained(model, schema.rules), Encoder(schema), count, rng)
    return NotPrivateTable(frame, noise)


__all__ = ["NoNoise", "synthesize_without_privacy"]

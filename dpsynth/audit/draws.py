"""Draws of the kernel's looks on two neighbouring tables: real tables, real charges, the operating system's noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accountants import ExponentialMechanism, FixedPlan, Gaussian, Meter, SubsampledGaussian
from dpsynth.domain import Clique
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyCounts, Score
from dpsynth.schema import Schema

Floats = NDArray[np.float64]
Row = tuple[int, ...]
Unit = Sequence[Row]

K = 3
"""Rows a unit may have in every audit of a look: a bound that is left out shows threefold."""
CELLS = 2
_MUCH = 10**6
_HELD = 866
"""Half the length of a row of three scores of 1000."""
_NORM = 0.01
"""What gradients are clipped to: all of them are longer."""
_LOOKS = 10_000
"""Looks of one opened table: its transcript keeps them all."""


@final
@dataclass(slots=True)
class Faulty:
    """The kernel's noise with a fault planted.

    Attributes:
        noise: the kernel's.
        spread: factor on the deviation of Gaussian noise.
        steepness: factor on the rate of a selection.
        shuffled: units are dealt out in a shuffled order, a fixed number a step, instead of sampled.
        favoured: the last unit, the rare one, is in every sample.
    """

    noise: Noise
    spread: float = 1.0
    steepness: float = 1.0
    shuffled: bool = False
    favoured: bool = False
    numerics: str = "none"

    def key(self) -> bytes:
        """As the noise's."""
        return self.noise.key()

    def uniforms(self, size: int) -> Floats:
        """As the noise's."""
        return self.noise.uniforms(size)

    def rounded_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """As the noise's, wider or narrower."""
        return self.noise.rounded_gaussian(sigma * self.spread, size)

    def choose(self, scores: Sequence[int], rate: float, sensitivity: int) -> int:
        """As the noise's, steeper or flatter."""
        return self.noise.choose(scores, rate * self.steepness, sensitivity)

    def poisson(self, rate: float, count: int) -> NDArray[np.int64]:
        """As the noise's, or one of the two faulty samples."""
        if self.shuffled:
            return np.sort(np.argsort(self.noise.uniforms(count))[: round(rate * count)])
        sampled = self.noise.poisson(rate, count)
        return np.union1d(sampled, [count - 1]).astype(np.int64) if self.favoured and count else sampled


SCHEMA = Schema.from_domain({"a": CELLS, "b": CELLS, "c": CELLS}, unit="who", at_most=K, about_rows=100)
LOOSE = Schema.from_domain({"a": CELLS, "b": CELLS, "c": CELLS}, about_rows=100)
"""The same without its unit: a table opened with it ignores who a row belongs to."""

_OTHERS = [(1, 1, 1)]


def table(units: Sequence[Unit], *, apart: bool = False) -> Rows:
    """Rows of units, each a list of its rows; `apart` opens them without their units."""
    frame = pd.DataFrame([row for unit in units for row in unit], columns=["a", "b", "c"], dtype=np.int64)
    frame["who"] = [f"u{i}" for i, unit in enumerate(units) for _ in unit]
    return Rows(frame.drop(columns="who") if apart else frame, LOOSE if apart else SCHEMA)


@dataclass(frozen=True, slots=True)
class Planted:
    """What is wrong with a look: nothing by default.

    Attributes:
        fault: what is planted, in words; empty if nothing is.
        noise: what of the noise is wrong, if anything.
        units: units added to the second table, where one is right.
        apart: both tables are opened without their units.
    """

    fault: str = ""
    noise: Callable[[Noise], Faulty] | None = None
    units: int = 1
    apart: bool = False


HONEST = Planted()


@dataclass(frozen=True, slots=True)
class Drawing:
    """How draws are made.

    Attributes:
        draws: on each table.
        source: makes the noise of each table: the kernel's own by default; of a seed in tests.
    """

    draws: int
    source: Callable[[], Noise] = Noise

    def opened(self, planted: Planted, base: Sequence[Unit], row: Row, more: bool, plan: FixedPlan) -> PrivateTable:
        """A private table: `base`, and with `more` the unit of k equal rows that makes the difference."""
        units = [*base, *([[row] * K] * planted.units if more else [])]
        noise: Any = self.source() if planted.noise is None else planted.noise(self.source())
        return PrivateTable(table(units, apart=planted.apart), Meter(plan), noise)


def counts(cliques: Sequence[Clique], noise: Gaussian, drawing: Drawing, planted: Planted) -> tuple[Floats, Floats]:
    """The sum over `cliques` of the noisy count of the cell that the unit is in, without it and with it.

    That sum is the sufficient statistic of the pair: the counts of other cells have one distribution on both tables.
    """
    found = []
    for more in (False, True):
        drawn: list[float] = []
        while len(drawn) < drawing.draws:
            looks = min(_LOOKS, drawing.draws - len(drawn))
            private = drawing.opened(planted, [_OTHERS], (0, 0, 0), more, FixedPlan([noise] * looks))
            drawn += [_first_cells(private.count_all(cliques, noise)) for _ in range(looks)]
        found.append(np.array(drawn))
    return found[0], found[1]


def moments(noise: Gaussian, drawing: Drawing, planted: Planted) -> tuple[Floats, Floats]:
    """The noisy second moments added up in the direction in which the unit moves them, without it and with it.

    Rows of the unit are three thousands, twice as long as rows may be; others are zeros. Entries are weighed by their
    noise: half on the diagonal.
    """
    scores = [Score(a, np.where(np.arange(CELLS + 1) == 0, 1000, 0)) for a in SCHEMA.domain.attributes]
    weights, found = (np.triu(np.ones((3, 3)), 1) + np.eye(3) / 2) / _HELD**2, []
    for more in (False, True):
        drawn: list[float] = []
        while len(drawn) < drawing.draws:
            looks = min(_LOOKS, drawing.draws - len(drawn))
            private = drawing.opened(planted, [_OTHERS], (0, 0, 0), more, FixedPlan([noise] * looks))
            answers = (private.moments(scores, _HELD, noise) for _ in range(looks))
            drawn += [float(np.sum(answer.values * weights)) for answer in answers]
        found.append(np.array(drawn))
    return found[0], found[1]


def _first_cells(answers: Sequence[NoisyCounts]) -> float:
    return float(sum(int(counts.values.flat[0]) for counts in answers))


class _Leaning:
    """Expects nothing of one column and much of another: a unit raises the error of one and lowers the other's."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    def project(self, clique: Clique) -> Floats:
        return np.full(self._domain.shape_of(clique), 0.0 if clique == ("a",) else _MUCH)


def choices(
    noise: ExponentialMechanism, weight: int, odds: float, drawing: Drawing, planted: Planted
) -> tuple[Floats, Floats]:
    """1 where the first of two candidates was chosen, without the unit and with it.

    The unit raises the first score by ``weight * k`` and lowers the second by as much; penalties make the first's odds
    without the unit about `odds`, since the ratio of its two probabilities is nearest ``e^eta`` where it is rare.
    """
    apart = 1 - (SCHEMA.domain.size(("b",)) * _MUCH - 1)  # the first error less the second, without the unit
    penalty = weight * apart - round(2 * weight * K * np.log(odds) / noise.eta)
    found = []
    for more in (False, True):
        drawn: list[bool] = []
        while len(drawn) < drawing.draws:
            looks = min(_LOOKS, drawing.draws - len(drawn))
            private = drawing.opened(planted, [_OTHERS], (0, 0, 0), more, FixedPlan([noise] * looks))
            model = _Leaning(private.domain)
            for _ in range(looks):
                chosen = private.select([("a",), ("b",)], model, noise, weights=[weight] * 2, penalties=[penalty, 0])
                drawn.append(chosen == ("a",))
        found.append(np.array(drawn, dtype=np.float64))
    return found[0], found[1]


def steps(noise: SubsampledGaussian, others: int, drawing: Drawing, planted: Planted) -> tuple[Floats, Floats]:
    """One coordinate of a step's noisy gradient, in units of the clipping norm, without the unit and with it.

    The network gives the cells of column b in rows of ``a = 0`` equal chances and its third cell none. A row's
    gradient is then one of two opposite vectors, by its b. The unit's b is 0, that of `others` units of k rows 1.
    """
    import torch
    from torch import nn

    from dpsynth.audit.tapped import tapped
    from dpsynth.training import Likelihood

    direction = np.zeros((CELLS + 1, CELLS + 1))
    direction[0, 0], direction[1, 0] = 1 / np.sqrt(2), -1 / np.sqrt(2)
    found = []
    for more in (False, True):
        drawn: list[float] = []

        def keep(given: NDArray[np.float32], drawn: list[float] = drawn) -> NDArray[np.float32]:
            drawn.append(-float(given.astype(np.float64) @ direction.ravel()))
            return given

        event = SubsampledGaussian(noise.noise_multiplier, noise.sample_rate, drawing.draws)
        private = drawing.opened(planted, [[(0, 1, 1)] * K] * others, (0, 0, 0), more, FixedPlan([event]))
        layer = nn.Linear(CELLS + 1, CELLS + 1, bias=False)
        module = nn.Sequential(layer)
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[CELLS] = -30.0
        loss, optimizer = Likelihood(inputs=["a"], targets=["b"]), tapped(module, None, None, keep)
        for _ in private.train(module, loss, event, optimizer=optimizer, max_grad_norm=_NORM, expected_batch_size=1.0):
            pass
        found.append(np.array(drawn) / _NORM)
    return found[0], found[1]


__all__ = ["HONEST", "SCHEMA", "Drawing", "Faulty", "K", "Planted", "choices", "counts", "moments", "steps", "table"]

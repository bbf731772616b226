"""How a training is paced: sample rate, steps and clipping norm, and the plan that pays for them. No row in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

from accountants import Allowance, FixedPlan, Gaussian, PlanError, SubsampledGaussian
from dpsynth.generators.deep.device import devices
from dpsynth.generators.one_ways import one_way_looks
from dpsynth.generators.raked_rounds import particles_for
from dpsynth.generators.round import Round
from dpsynth.hints import Hints

BATCH = 4000
"""Rows that a step is made of, about."""
STEPS = 300
"""Steps of a training whose batches are as large as that."""
LARGEST_RATE = 0.25
"""Most of the units that a step is made of: small tables have smaller batches."""
_QUIET = 0.0003
"""Noise of a pair's cells, as a share of the declared rows, that is small enough to count more pairs instead."""
_MOST_NOISE = 100.0
"""Noise multiplier that a training on the whole budget may have: on a sixth of it, what the kernel draws exactly."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How to train.

    Attributes:
        sample_rate: q, the chance that a unit takes part in a step.
        steps: T.
        max_grad_norm: C.
        expected_batch_size: what the noisy sum of a step is divided by.
    """

    sample_rate: float
    steps: int
    max_grad_norm: float
    expected_batch_size: float

    @classmethod
    def of(
        cls, allowance: Allowance, hints: Hints, *, batch: int, steps: int, max_grad_norm: float, device: str
    ) -> Pace:
        """The pace for a budget and a declared number of rows; by both, and by nothing else.

        Batches are of about `batch` rows, but of a quarter of a small table at most. Where the budget is so small that
        the noise of a step could not be drawn exactly, there are fewer steps, and then smaller batches.

        Raises:
            PlanError: the schema does not declare how many rows there are about, PyTorch is not installed, or `device`
                is a GPU and there is none: a plan is made again where it is carried out, before anything is charged.
        """
        if hints.about_rows is None:
            raise PlanError(
                "a network is trained on batches whose size follows from the declared number of rows; "
                "put `about_rows: N` in the schema, a rough public figure (never a count of the private table)"
            )
        if find_spec("torch") is None:
            raise PlanError(
                "this generator trains a network with PyTorch, which is missing: pip install 'dpsynth[deep]'"
            )
        if device == "cuda":
            devices(device)
        rate = min(batch / max(hints.about_rows, 1), LARGEST_RATE)
        most = _MOST_NOISE * math.sqrt(float(allowance.mu_squared))  # of rate * sqrt(steps)
        steps = max(1, min(steps, int((most / rate) ** 2)))
        rate = min(rate, most / math.sqrt(steps))
        return cls.planned(SubsampledGaussian(1.0, rate, steps), hints, max_grad_norm)

    @classmethod
    def planned(cls, event: SubsampledGaussian, hints: Hints, max_grad_norm: float) -> Pace:
        """The pace of a training that is planned already."""
        batch = event.sample_rate * max(hints.about_rows or 1, 1)
        return cls(event.sample_rate, event.steps, max_grad_norm, max(1.0, batch))

    def event(self, mu: float) -> SubsampledGaussian:
        """The training that is about mu-GDP, by the central limit theorem for T steps on samples (Bu et al. 2020).

        It only fixes how a budget is divided: what the training costs, the accountants compute.
        """
        rate = mu**2 / (self.sample_rate**2 * self.steps)
        return SubsampledGaussian(1.0 / math.sqrt(math.log1p(rate)), self.sample_rate, self.steps)

    def plan(
        self,
        allowance: Allowance,
        hints: Hints,
        *,
        one_way_share: float,
        columns: int = 0,
        pairs_per_column: float = 0.0,
        pair_share: float = 0.0,
    ) -> FixedPlan:
        """One-ways (two looks at fine grids), the training, choices and counts of pairs: as little noise as fits.

        Args:
            allowance: the budget.
            hints: of the schema.
            one_way_share: share of mu squared for the one-ways, about.
            columns: of the table.
            pairs_per_column: how many pairs are chosen and counted after the training, for each column, at least: as
                many more as leave the noise multiplier of each below the declared rows times .0003, about.
            pair_share: share for them, about; the training gets the rest. 0: there are none, and none where the
                declared table is too large for particles (`particles_for`).
        """
        room = pair_share and particles_of(hints, columns)
        quiet = int(pair_share * float(allowance.mu_squared) * (_QUIET * (hints.about_rows or 0)) ** 2)
        wanted = max(math.ceil(pairs_per_column * columns), quiet)
        pairs = min(wanted, columns * (columns - 1) // 2) if room else 0
        share = pair_share if pairs else 0.0
        return _planned(self, allowance, one_way_share, len(one_way_looks(1.0, hints)), pairs, share)


def particles_of(hints: Hints, columns: int) -> int:
    """How many particles of a network are weighted, by declared figures alone; 0 where there cannot be enough."""
    return particles_for(float(hints.about_rows or 1), columns * (columns - 1) // 2)


@lru_cache(maxsize=64)
def _planned(
    pace: Pace, allowance: Allowance, one_way_share: float, looks: int, pairs: int, pair_share: float
) -> FixedPlan:
    """Calibrating a training takes a second, and a plan is made again wherever one is loaded."""
    left = 1.0 - one_way_share - pair_share

    def build(scale: float) -> FixedPlan:
        one_ways = Gaussian(scale * math.sqrt(looks / one_way_share))
        after = Round.of(pair_share / scale**2 / pairs).looks * pairs if pairs else []
        return FixedPlan([*[one_ways] * looks, pace.event(math.sqrt(left) / scale), *after])

    return allowance.calibrate(build)


__all__ = ["BATCH", "LARGEST_RATE", "STEPS", "Pace", "particles_of"]

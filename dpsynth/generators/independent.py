"""Independent columns: every one-way measured once, nothing about how columns go together. The baseline to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accountants import Allowance, FixedPlan, Gaussian, Plan
from dpsynth.domain import Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.one_ways import prepared
from dpsynth.generators.settings import flag, planned, positive
from dpsynth.graphical import estimate, measured
from dpsynth.hints import Hints
from dpsynth.progress import report


@dataclass(frozen=True, slots=True)
class Independent:
    """All one-way marginals in one stacked Gaussian look, then columns drawn independently.

    Attributes:
        denoise: whether the counts are denoised (see `denoised`).
        merge_below: cells whose noisy count is below this many sigma are merged (see `Recoding`).

    Raises:
        ValueError: a setting is outside its range.
    """

    denoise: bool = True
    merge_below: float = 3.0

    def __post_init__(self) -> None:
        flag("denoise", self.denoise)
        positive("merge_below", self.merge_below, zero=True)

    @property
    def name(self) -> str:
        """``independent``."""
        return "independent"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {"denoise": self.denoise, "merge_below": self.merge_below}

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """One Gaussian event with as little noise as the allowance permits."""
        return allowance.calibrate(lambda s: FixedPlan(events=(Gaussian(noise_multiplier=s),)))

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> MarginalModel:
        """One look, one model."""
        (noise,) = planned(plan, Gaussian)
        base = private.domain
        answers = private.count_all([(a,) for a in base.attributes], noise)
        report("Independent", 1.0, f"{len(base)} one-ways, noise of {answers[0].sigma:.1f} rows")
        recoding, one_ways = prepared(
            base, measured(answers), hints, denoise=self.denoise, merge_below=self.merge_below
        )
        model = estimate(recoding.domain, one_ways)
        return MarginalModel(recoding, model)


__all__ = ["Independent"]

"""Independent columns: every one-way measured once, nothing about how columns go together. The baseline to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accountants import Allowance, FixedPlan, Gaussian, Plan
from dpsynth.domain import Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.one_ways import Cleaning, OneWays, one_way_looks
from dpsynth.generators.settings import flag, planned, positive, suggesting
from dpsynth.graphical import estimate
from dpsynth.hints import Hints
from dpsynth.progress import report


@suggesting
@dataclass(frozen=True, slots=True)
class Independent:
    """All one-way marginals in one stacked Gaussian look (two for fine grids), then columns drawn independently.

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
        """One Gaussian event with as little noise as the allowance permits; two where the schema has fine grids."""
        return allowance.calibrate(lambda scale: FixedPlan(events=tuple(one_way_looks(scale, hints))))

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> MarginalModel:
        """The planned looks, one model."""
        found = OneWays.planned(private, planned(plan, Gaussian), hints, Cleaning(self.denoise, self.merge_below))
        report("Independent", 1.0, f"{len(private.domain)} one-ways, {found.error:.1%} of the rows misplaced by noise")
        return MarginalModel(found.recoding, estimate(found.recoding.domain, found.merged))


__all__ = ["Independent"]

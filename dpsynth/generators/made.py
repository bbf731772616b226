"""An autoregressive network trained under DP-SGD: every column's distribution given the columns before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accountants import Allowance, Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.cells import logits_of
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.deep.pace import BATCH, STEPS, Pace
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.generators.settings import planned
from dpsynth.graphical import estimate_total
from dpsynth.hints import Hints
from dpsynth.training import Likelihood


@dataclass(frozen=True, slots=True)
class MADE:
    """A masked autoregressive network (Germain et al. 2015).

    One-ways first: they say which cells are merged, and with their log shares as biases, and no weights, the network
    starts as independent columns. Then its likelihood is trained by DP-SGD on all that is left of the budget.
    """

    one_way_share: float = 0.1
    hidden: int = 64
    steps: int = STEPS
    batch: int = BATCH
    max_grad_norm: float = 1.0
    learning_rate: float = 0.01
    decay: float = 0.98
    merge_below: float = 3.0
    group_below: float = 70.0
    denoise: bool = True
    ordinal: bool = False

    @property
    def name(self) -> str:
        """``made``."""
        return "made"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _pace(self, allowance, hints):
        return Pace.of(allowance, hints, batch=self.batch, steps=self.steps, max_grad_norm=self.max_grad_norm)

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        return self._pace(allowance, hints).plan(allowance, hints, one_way_share=self.one_way_share)

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> NetworkModel:
        import torch

        from dpsynth.generators.deep.steps import train
        from dpsynth.layers import made

        cleaning = Cleaning(self.denoise, self.merge_below, self.group_below)
        found = OneWays.planned(private, planned(plan, Gaussian), hints, cleaning)
        recoding, merged = found.recoding, {m.clique[0]: m for m in found.merged}
        (event,) = planned(plan, SubsampledGaussian)
        view = private.recoded(recoding.maps)
        domain = view.domain
        ordered = frozenset(a for a in domain.attributes if a in hints.ordered) if self.ordinal else frozenset()
        torch.manual_seed(0)
        module = made(domain.shape, [self.hidden] if self.hidden else [])
        bias = np.concatenate([logits_of(np.maximum(merged[a].values, 0), a in ordered) for a in domain.attributes])
        with torch.no_grad():
            module[0].weight.zero_()
            module[0].bias.copy_(torch.from_numpy(bias))
            if self.hidden:
                module[1][-1].weight.zero_()
        optimizer = torch.optim.Adam(module.parameters(), lr=self.learning_rate)
        size = event.sample_rate * (hints.about_rows or 1)
        pace = Pace(event.sample_rate, event.steps, self.max_grad_norm, max(1.0, size))
        train(view, module, Likelihood(ordered=ordered), event, optimizer, pace, stage="MADE", decay=self.decay)
        return NetworkModel(recoding, Autoregression.of(domain, module, ordered), estimate_total(found.merged))

"""An autoregressive network trained under DP-SGD: each column's distribution given the columns before it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from accountants import Allowance, Plan
from dpsynth.domain import Codes, Domain
from dpsynth.generators import settings
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.deep.pace import BATCH, STEPS, Pace
from dpsynth.generators.deep.raked import raked
from dpsynth.generators.deep.start import Start, seeded
from dpsynth.generators.one_ways import Cleaning
from dpsynth.generators.settings import flag, positive, suggesting, whole
from dpsynth.hints import Hints
from dpsynth.progress import report
from dpsynth.training import Likelihood


@suggesting
@dataclass(frozen=True, slots=True)
class MADE:
    """Germain, Gregor, Murray, Larochelle 2015, "MADE", under DP-SGD (Abadi et al. 2016) on privacy units.

    One-ways first. They say which cells are merged, and give the biases at which the network starts: as independent
    columns, which is where noise leaves a network that learnt nothing. Then the likelihood of whole rows is trained
    with most of the budget: a direct layer from the cells of columns before to the logits of a column, and a hidden
    layer beside it. Last, pairs that it gets most wrong are counted, and its rows weighted to fit them (`raked`).

    Attributes:
        one_way_share: share of mu squared for the one-ways, about; the training gets the rest.
        pair_share: share for pairs that are chosen and counted after the training, about; 0: none are.
        pairs_per_column: how many, for each column, at least; more where budget and declared rows make them quiet.
        hidden: width of the hidden layer; 0: the direct layer alone.
        batch: rows of a step, about; of small tables a quarter at most (`Pace`).
        steps: of the training; fewer where the budget is tiny.
        max_grad_norm: what a unit's gradient is clipped to.
        learning_rate: of Adam, falling to nothing over the second half of the steps.
        decay: of the moving average of parameters.
        ordinal: whether ordered columns have an ordinal likelihood instead of softmax.
        device: `Place`: ``cpu``, ``cuda``, or ``auto``, a GPU where one is present.
        numerics: ``exact``, or ``idealised``, where the arithmetic of a device is not reproducible (`Training`).
        denoise, merge_below, group_below: as in `MST`.

    Raises:
        ValueError: a setting is outside its range.
    """

    one_way_share: float = 0.1
    pair_share: float = 0.3
    pairs_per_column: float = 2.0
    hidden: int = 32
    batch: int = BATCH
    steps: int = STEPS
    max_grad_norm: float = 0.3
    learning_rate: float = 0.02
    decay: float = 0.98
    ordinal: bool = False
    denoise: bool = True
    merge_below: float = 3.0
    group_below: float = 70.0
    device: str = "auto"
    numerics: str = "exact"
    starts_from_public: ClassVar[bool] = True

    def __post_init__(self) -> None:
        settings.shares(self.one_way_share, self.pair_share, self.pairs_per_column)
        whole("hidden", self.hidden, least=0)
        whole("batch", self.batch, least=1)
        whole("steps", self.steps, least=1)
        positive("max_grad_norm", self.max_grad_norm)
        positive("learning_rate", self.learning_rate)
        positive("decay", self.decay, zero=True, below=1)
        flag("ordinal", self.ordinal)
        settings.cleaning(self.denoise, self.merge_below, self.group_below)
        settings.training(self.device, self.numerics)

    @property
    def name(self) -> str:
        """``made``."""
        return "made"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return asdict(self)

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """One-ways (two looks where the schema has fine grids), one training, then choices and counts of pairs.

        Raises:
            PlanError: the schema declares no `about_rows`, or PyTorch is not installed.
        """
        pace = Pace.of(
            allowance, hints, batch=self.batch, steps=self.steps, max_grad_norm=self.max_grad_norm, device=self.device
        )
        return pace.plan(
            allowance,
            hints,
            one_way_share=self.one_way_share,
            columns=len(domain),
            pairs_per_column=self.pairs_per_column,
            pair_share=self.pair_share,
        )

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints, public: Codes | None = None) -> NetworkModel:
        """The planned looks; the network's average over the steps is the model."""
        import torch

        from dpsynth.generators.deep.device import devices
        from dpsynth.generators.deep.steps import falling, train
        from dpsynth.generators.deep.warm import RATE, warmed
        from dpsynth.layers import made

        places = devices(self.device)
        cleaning = Cleaning(self.denoise, self.merge_below, self.group_below)
        start = Start.look(private, plan, hints, cleaning, ordinal=self.ordinal)
        report("MADE", self.one_way_share, f"{len(start.domain)} one-ways, {start.found.error:.1%} misplaced")
        with seeded(), torch.no_grad():
            module: Any = made(start.domain.shape, [self.hidden] if self.hidden else [])
            module[0].weight.zero_()
            module[0].bias.copy_(torch.from_numpy(start.logits))
            if self.hidden:
                module[1][-1].weight.zero_()
        loss = Likelihood(ordered=start.ordered)
        rate = self.learning_rate
        if public is not None:
            warmed(module, loss, start, public, rate)
            rate *= RATE
        train(
            start.view,
            module,
            loss,
            start.event,
            torch.optim.Adam(module.parameters(), lr=rate),
            Pace.planned(start.event, hints, self.max_grad_norm),
            stage="MADE",
            start=self.one_way_share,
            end=1.0 - self.pair_share,
            decay=self.decay,
            rate=falling,
            devices=places,
            numerics=self.numerics,
        )
        network = Autoregression.of(start.domain, module, start.ordered)
        network = network.matched(start.shares, start.rng)
        rows = raked(start, network, plan, hints, stage="MADE", done=1.0 - self.pair_share)
        return NetworkModel(start.recoding, rows)


__all__ = ["MADE"]

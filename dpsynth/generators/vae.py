"""A variational autoencoder trained under DP-SGD: columns independent given a latent code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from accountants import Allowance, Plan
from dpsynth.domain import Codes, Domain
from dpsynth.generators import settings
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.decoder import Decoder, Latent
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.deep.pace import BATCH, STEPS, Pace
from dpsynth.generators.deep.raked import raked
from dpsynth.generators.deep.start import Start, seeded
from dpsynth.generators.one_ways import Cleaning
from dpsynth.generators.settings import flag, positive, suggesting, whole
from dpsynth.hints import Hints
from dpsynth.progress import report
from dpsynth.training import EvidenceLowerBound

_DECODED = 0.1
"""Factor on the decoder's first weights: it starts near independent columns."""
_LOG_VARIANCE = -1.0
"""Of a code, before it is trained."""


@suggesting
@dataclass(frozen=True, slots=True)
class VAE:
    """Kingma and Welling 2014, "Auto-encoding variational Bayes", under DP-SGD (Abadi et al. 2016) on privacy units.

    One-ways first. They say which cells are merged, and what the network starts as: the decoder's biases draw
    independent columns, and each mean of the encoder is a random direction of the rows, centred and of unit variance
    as far as the one-ways can tell. Then encoder and decoder are trained with most of the budget; each is a linear
    layer with a hidden layer beside it. Rows are drawn from codes of the prior, which training holds the codes of real
    rows close to: every column from its probabilities, never the likeliest value. Last, pairs that the network gets
    most wrong are counted, as for `MADE`.

    Attributes:
        one_way_share: share of mu squared for the one-ways, about; the training gets the rest.
        pair_share: share for pairs that are chosen and counted after the training, about; 0: none are.
        pairs_per_column: how many, for each column, at least; more where budget and declared rows make them quiet.
        latent: dimensions of the code.
        beta: weight of the divergence of codes from the prior.
        hidden: width of the hidden layers; 0: linear layers alone.
        batch, steps, max_grad_norm, learning_rate, decay, ordinal: as in `MADE`.
        device: `Place`: ``cpu``, ``cuda``, or ``auto``, a GPU where one is present.
        numerics: ``exact``, or ``idealised``, where the arithmetic of a device is not reproducible (`Training`).
        denoise, merge_below, group_below: as in `MST`.

    Raises:
        ValueError: a setting is outside its range.
    """

    one_way_share: float = 0.1
    pair_share: float = 0.3
    pairs_per_column: float = 2.0
    latent: int = 8
    beta: float = 1.0
    hidden: int = 64
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
        whole("latent", self.latent, least=1)
        positive("beta", self.beta, zero=True)
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
        """``vae``."""
        return "vae"

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
        """The planned looks; the decoder's average over the steps, on codes of the prior, is the model."""
        import torch

        from dpsynth.generators.deep.device import devices
        from dpsynth.generators.deep.steps import falling, train
        from dpsynth.generators.deep.warm import RATE, warmed

        places = devices(self.device)
        cleaning = Cleaning(self.denoise, self.merge_below, self.group_below)
        start = Start.look(private, plan, hints, cleaning, ordinal=self.ordinal)
        report("VAE", self.one_way_share, f"{len(start.domain)} one-ways, {start.found.error:.1%} misplaced")
        with seeded(), torch.no_grad():
            module = self._module(start)
        loss = EvidenceLowerBound(self.latent, self.beta, start.ordered)
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
            stage="VAE",
            start=self.one_way_share,
            end=1.0 - self.pair_share,
            decay=self.decay,
            rate=falling,
            devices=places,
            numerics=self.numerics,
        )
        decoder = Decoder.of(start.domain, Latent.standard(self.latent), module["decoder"], start.ordered)
        decoder = decoder.matched(start.shares, start.rng)
        rows = raked(start, decoder, plan, hints, stage="VAE", done=1.0 - self.pair_share)
        return NetworkModel(start.recoding, rows)

    def _module(self, start: Start) -> Any:
        """Encoder and decoder as they start."""
        import torch
        from torch import nn

        from dpsynth.layers import Parallel

        def layers(inputs: int, outputs: int) -> Any:
            parts: list[Any] = [nn.Linear(inputs, outputs)]
            if self.hidden:
                last = nn.Linear(self.hidden, outputs, bias=False)
                last.weight.zero_()
                parts.append(nn.Sequential(nn.Linear(inputs, self.hidden), nn.ReLU(), last))
            return Parallel(parts)

        shares = torch.from_numpy(np.concatenate([*start.shares.values()])).float()
        encoder, decoder = layers(len(shares), 2 * self.latent), layers(self.latent, len(shares))
        directions = torch.randn(self.latent, len(shares))
        variance = (directions.square() * shares * (1 - shares)).sum(dim=1, keepdim=True)
        directions /= variance.clamp(min=1e-6).sqrt()
        encoder[0].weight.zero_()
        encoder[0].weight[: self.latent] = directions
        encoder[0].bias[: self.latent] = -directions @ shares
        encoder[0].bias[self.latent :] = _LOG_VARIANCE
        decoder[0].weight.mul_(_DECODED)
        decoder[0].bias.copy_(torch.from_numpy(start.logits))
        return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


__all__ = ["VAE"]

"""A conditional tabular GAN: the critic is trained under DP-SGD, the generator learns from the critic alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from accountants import Allowance, FixedPlan, Gaussian, Plan, PlanError, SubsampledGaussian
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.decoder import Decoder
from dpsynth.generators.deep.network import Floats, Network
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.deep.pace import Pace
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.generators.settings import flag, one_of, planned, positive, whole
from dpsynth.graphical import estimate_total
from dpsynth.hints import Hints
from dpsynth.training import CRITICS
from dpsynth.training import Critic as CriticLoss

if TYPE_CHECKING:
    from dpsynth.generators.deep.fakes import Fakes

_SEED = 5
_LEAST_RATE = 0.05
"""Factor on the critic's learning rate at the end."""


@dataclass(frozen=True, slots=True)
class GAN:
    """A generator and a critic of one-hot rows over merged cells, each given the value of one column as condition.

    1. One-ways: they say which cells are merged, how often fakes have each condition, and where the generator starts
       and stays: its output biases are their logarithms, and its mean cells are held to them.
    2. The critic's half on real rows is trained by DP-SGD on all that is left. A real row's condition is its own value
       in a column drawn for it. The half on fakes, a constant number of them, is added after the noise.
    3. Between the critic's steps the generator follows the critic's slope: post-processing, whatever it does.

    The plan fixes the number of steps; nothing is stopped or adapted by what real rows do.

    Attributes:
        target: the column that is the condition: how the others go with it comes out best. None: a column drawn anew
            for each row.
        loss: ``wasserstein``, ``logistic``, ``hinge`` (`dpsynth.training.Critic`).
        one_way_share: share of mu squared for the one-ways, about.
        steps, batch: of the critic: how many, on about how many rows each.
        fakes: rows of the generator in each step.
        critic_steps, generator_steps: so many of the one, then so many of the other.
        critic_hidden, critic_depth, generator_hidden, generator_depth: width and number of hidden layers.
        code: dimensions of the generator's noise.
        slope: largest spectral norm of each layer of the critic's perceptron.
        pair_slope: the same of its layer on pairs of a cell and the target's.
        max_grad_norm: C, for real rows and fakes alike.
        critic_rate, generator_rate: learning rates at the start; they fall to about 0.
        temperature: of the relaxed cells through which the generator learns.
        hold: weight of the one-ways in the generator's loss.
        decay: of the generator's moving average.
        denoise, merge_below, group_below: as for `MST`.

    Raises:
        ValueError: a setting is outside its range.
    """

    target: str | None = None
    loss: str = "wasserstein"
    one_way_share: float = 0.3
    steps: int = 800
    batch: int = 2500
    fakes: int = 500
    critic_steps: int = 1
    generator_steps: int = 2
    critic_hidden: int = 64
    critic_depth: int = 1
    generator_hidden: int = 128
    generator_depth: int = 2
    code: int = 32
    slope: float = 1.0
    pair_slope: float = 3.0
    max_grad_norm: float = 1.0
    critic_rate: float = 2e-3
    generator_rate: float = 3e-3
    temperature: float = 0.7
    hold: float = 1.0
    decay: float = 0.99
    denoise: bool = True
    merge_below: float = 3.0
    group_below: float = 70.0

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            raise ValueError(f"target must be the name of a column, got {self.target!r}")
        one_of("loss", self.loss, CRITICS)
        positive("one_way_share", self.one_way_share, below=1.0)
        for name in ("steps", "batch", "critic_steps", "generator_steps", "code"):
            whole(name, getattr(self, name), least=1)
        for name in ("critic_hidden", "critic_depth", "generator_hidden", "generator_depth"):
            whole(name, getattr(self, name), least=1)
        whole("fakes", self.fakes, least=2)
        for name in ("slope", "pair_slope", "max_grad_norm", "critic_rate", "generator_rate", "temperature"):
            positive(name, getattr(self, name))
        positive("hold", self.hold, zero=True)
        positive("decay", self.decay, zero=True, below=1.0)
        flag("denoise", self.denoise)
        positive("merge_below", self.merge_below, zero=True)
        positive("group_below", self.group_below, zero=True)

    @property
    def name(self) -> str:
        """``gan``."""
        return "gan"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> FixedPlan:
        """One-ways, then one training of `steps` steps (fewer where the budget is very small).

        Raises:
            PlanError: no column is named `target`, the schema has no `about_rows`, or PyTorch is not installed.
        """
        self._conditions(domain)
        pace = Pace.of(allowance, hints, batch=self.batch, steps=self.steps, max_grad_norm=self.max_grad_norm)
        return pace.plan(allowance, hints, one_way_share=self.one_way_share)

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> NetworkModel:
        """The planned looks, one model. It is the generator's moving average; the critic is thrown away."""
        from dpsynth.generators.deep.critic import critic
        from dpsynth.generators.deep.fakes import Fakes

        found = OneWays.planned(private, planned(plan, Gaussian), hints, self._cleaning)
        (event,) = planned(plan, SubsampledGaussian)
        view, total = private.recoded(found.recoding.maps), estimate_total(found.merged)
        counts = {m.clique[0]: np.maximum(m.values, 0.0) for m in found.merged}
        conditions, domain = self._conditions(view.domain), view.domain
        with _seeded():
            fakes = Fakes(
                domain,
                [_shares(counts[a]) for a in domain.attributes],
                conditions,
                dimensions=self.code,
                hidden=self.generator_hidden,
                depth=self.generator_depth,
                temperature=self.temperature,
                rng=np.random.default_rng(_SEED),
            )
            judge = critic(domain.shape, domain.axes(conditions), self.critic_hidden, self.critic_depth)
        self._train(view, event, judge, CriticLoss(self.loss, conditions), fakes, total, hints.about_rows or total)
        fakes.fit_biases()
        body = Decoder(domain, fakes.latent, Network.of(fakes.module), frozenset())
        return NetworkModel(found.recoding, body, total)

    def _train(
        self,
        view: PrivateTable,
        event: SubsampledGaussian,
        judge: Any,
        loss: CriticLoss,
        fakes: Fakes,
        total: float,
        declared: float,
    ) -> None:
        """Make all planned steps; the generator is then its moving average.

        The sum over real rows is divided by the declared number of rows that a step is made of, so that the fakes
        weigh `total` over `declared`: the noisy number of rows, paid for with the one-ways.
        """
        import torch

        from dpsynth.generators.deep.average import Average
        from dpsynth.generators.deep.critic import bounded, deception, on_fakes
        from dpsynth.generators.deep.steps import train

        pace = Pace(event.sample_rate, event.steps, self.max_grad_norm, max(1.0, event.sample_rate * declared))
        weight = total / declared
        average = Average(fakes.module, self.decay)
        learns = torch.optim.Adam(fakes.parameters, lr=self.generator_rate, betas=(0.5, 0.99))

        def on_own() -> Any:
            with torch.no_grad():
                rows, _ = fakes.draw(self.fakes)
            return weight * on_fakes(judge, self.loss, rows, self.max_grad_norm)

        def after(step: int) -> None:
            bounded(judge, self.slope, self.pair_slope)
            if step % self.critic_steps:
                return
            for group in learns.param_groups:
                group["lr"] = self.generator_rate * (1.0 - (step - 1) / event.steps)
            for _ in range(self.generator_steps):
                rows, logits = fakes.draw(self.fakes)
                cost = deception(judge, self.loss, rows) + self.hold * fakes.misfit(logits)
                learns.zero_grad()
                cost.backward()  # type: ignore[no-untyped-call]
                learns.step()
                average.update()

        train(
            view,
            judge,
            loss,
            event,
            torch.optim.Adam(
                [p for p in judge.parameters() if p.requires_grad], lr=self.critic_rate, betas=(0.5, 0.99)
            ),
            pace,
            stage="GAN",
            rate=lambda done: max(1.0 - done, _LEAST_RATE),
            public=on_own,
            after=after,
        )
        average.apply()

    @property
    def _cleaning(self) -> Cleaning:
        return Cleaning(self.denoise, self.merge_below, self.group_below)

    def _conditions(self, domain: Domain) -> Clique:
        if self.target is None:
            return domain.attributes
        if self.target not in domain.attributes:
            raise PlanError(f"the target {self.target!r} is not a column; columns are {list(domain.attributes)}")
        return (self.target,)


def _shares(counts: Any) -> Floats:
    total = counts.sum()
    even = np.full(len(counts), 1.0 / len(counts))
    return (counts / total if total > 0 else even).astype(np.float32)


@contextmanager
def _seeded() -> Iterator[None]:
    """Initial weights that repeat. The noise on real rows is not drawn by torch."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield


__all__ = ["GAN"]

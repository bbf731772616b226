"""A conditional tabular GAN: the critic is trained under DP-SGD, the generator learns from the critic alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from accountants import Allowance, Plan, PlanError, SubsampledGaussian
from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators import settings
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.decoder import Decoder
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.deep.network_rows import NetworkRows
from dpsynth.generators.deep.pace import Pace
from dpsynth.generators.deep.start import Start, seeded
from dpsynth.generators.one_ways import Cleaning
from dpsynth.generators.settings import one_of, planned, positive, suggesting, whole
from dpsynth.hints import Hints
from dpsynth.progress import report
from dpsynth.training import CRITICS
from dpsynth.training import Critic as CriticLoss

if TYPE_CHECKING:
    from dpsynth.generators.deep.fakes import Fakes

_LEAST_RATE = 0.05
"""Factor on the critic's learning rate at the end."""
_LEAST_MOVE = 0.1
"""How far a parameter of the generator can move, about (half the sum of its learning rates, since a step of Adam is of
about a rate), for columns to go together: on the coded Adult table with little noise 12, 25 and 50 steps at the other
defaults (.036, .075, .15) leave .19, .37 and .82 of how pairs depart from independence."""


@suggesting
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
        device: `Place`: ``cpu``, ``cuda``, or ``auto``, a GPU where one is present.
        numerics: ``exact``, or ``idealised``, where the arithmetic of a device is not reproducible (`Training`).
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
    slope: float = 0.4
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
    device: str = "auto"
    numerics: str = "exact"
    starts_from_public: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            raise ValueError(f"target must be the name of a column, got {self.target!r}")
        one_of("loss", self.loss, CRITICS)
        positive("one_way_share", self.one_way_share, below=1)
        for name in ("steps", "batch", "critic_steps", "generator_steps", "code"):
            whole(name, getattr(self, name), least=1)
        for name in ("critic_hidden", "critic_depth", "generator_hidden", "generator_depth"):
            whole(name, getattr(self, name), least=1)
        whole("fakes", self.fakes, least=2)
        for name in ("slope", "pair_slope", "max_grad_norm", "critic_rate", "generator_rate", "temperature"):
            positive(name, getattr(self, name))
        positive("hold", self.hold, zero=True)
        positive("decay", self.decay, zero=True, below=1.0)
        settings.cleaning(self.denoise, self.merge_below, self.group_below)
        settings.training(self.device, self.numerics)

    @property
    def name(self) -> str:
        """``gan``."""
        return "gan"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return asdict(self)

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """One-ways (two looks where the schema has fine grids), one training.

        Raises:
            PlanError: `target` is not a column, the schema declares no `about_rows`, or PyTorch is not installed.
        """
        self._conditions(domain)
        pace = Pace.of(
            allowance, hints, batch=self.batch, steps=self.steps, max_grad_norm=self.max_grad_norm, device=self.device
        )
        return pace.plan(allowance, hints, one_way_share=self.one_way_share)

    def warnings(self, plan: Plan) -> list[str]:
        """Whether the generator has too few steps to leave independent columns, by the plan and the settings alone."""
        (event,) = planned(plan, SubsampledGaussian)
        turns = event.steps // self.critic_steps * self.generator_steps
        moved = 0.5 * turns * self.generator_rate
        if moved >= _LEAST_MOVE:
            return []
        return [
            f"{event.steps} steps give the generator {turns} of its own, and it starts as independent columns: expect "
            "columns hardly to go together. Take more steps (settings steps, generator_steps), or spend more epsilon "
            "if the plan has fewer than were asked for"
        ]

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints, public: Codes | None = None) -> NetworkModel:
        """The planned looks. The generator's average over its steps is the model; the critic is thrown away."""
        from dpsynth.generators.deep.critic import critic
        from dpsynth.generators.deep.device import devices
        from dpsynth.generators.deep.fakes import Fakes

        places = devices(self.device)
        cleaning = Cleaning(self.denoise, self.merge_below, self.group_below)
        start = Start.look(private, plan, hints, cleaning, ordinal=False)
        report("GAN", self.one_way_share, f"{len(start.domain)} one-ways, {start.found.error:.1%} misplaced")
        domain, conditions = start.domain, self._conditions(start.domain)
        with seeded():
            fakes = Fakes(
                start,
                conditions,
                dimensions=self.code,
                hidden=self.generator_hidden,
                depth=self.generator_depth,
                temperature=self.temperature,
            )
            judge = critic(domain.shape, domain.axes(conditions), self.critic_hidden, self.critic_depth)
        self._train(start, judge, CriticLoss(self.loss, conditions), fakes, hints, public, places)
        decoder = Decoder.of(domain, fakes.latent, fakes.module).matched(start.shares, start.rng)
        return NetworkModel(start.recoding, NetworkRows(decoder, start.total))

    def _train(
        self,
        start: Start,
        judge: Any,
        loss: CriticLoss,
        fakes: Fakes,
        hints: Hints,
        public: Codes | None,
        places: list[Any],
    ) -> None:
        """Make all planned steps, as many on public rows first; the generator is then its moving average.

        The sum over real rows is divided by the declared number of rows that a step is made of, so that the fakes
        weigh the noisy number of rows, paid for with the one-ways, over the declared one.
        """
        import torch

        from dpsynth.generators.deep.average import Average
        from dpsynth.generators.deep.critic import bounded, deception, on_fakes
        from dpsynth.generators.deep.steps import train
        from dpsynth.generators.deep.warm import judged, merged, some

        event, pace = start.event, Pace.planned(start.event, hints, self.max_grad_norm)
        weight = event.sample_rate * start.total / pace.expected_batch_size
        average = Average(fakes.module, self.decay)

        def on_own() -> Any:
            with torch.no_grad():
                rows, _ = fakes.draw(self.fakes)
            return weight * on_fakes(judge, self.loss, rows, self.max_grad_norm)

        def turn(step: int, rate: float, learns: torch.optim.Optimizer) -> None:
            bounded(judge, self.slope, self.pair_slope)
            if step % self.critic_steps:
                return
            for group in learns.param_groups:
                group["lr"] = rate
            for _ in range(self.generator_steps):
                rows, logits = fakes.draw(self.fakes)
                cost = deception(judge, self.loss, rows) + self.hold * fakes.misfit(logits)
                learns.zero_grad()
                cost.backward()  # type: ignore[no-untyped-call]
                learns.step()
                average.update()

        def learner() -> torch.optim.Optimizer:  # a new one for private rows: they may be on another device
            return torch.optim.Adam(fakes.parameters, lr=self.generator_rate, betas=(0.5, 0.99))

        def judges() -> torch.optim.Optimizer:
            trained = [p for p in judge.parameters() if p.requires_grad]
            return torch.optim.Adam(trained, lr=self.critic_rate, betas=(0.5, 0.99))

        if public is not None:
            rng, rows, learning, learns = start.rng, merged(start, public), judges(), learner()
            for step in range(1, event.steps + 1):
                seen = judged(some(rows, rng), start.domain, loss.conditions, rng)
                with torch.no_grad():
                    own, _ = fakes.draw(self.fakes)
                cost = on_fakes(judge, self.loss, seen, self.max_grad_norm, real=True)
                cost = cost + on_fakes(judge, self.loss, own, self.max_grad_norm)
                learning.zero_grad()
                cost.backward()  # type: ignore[no-untyped-call]
                learning.step()
                turn(step, self.generator_rate, learns)
        learns = learner()
        train(
            start.view,
            judge,
            loss,
            event,
            judges(),
            pace,
            stage="GAN",
            start=self.one_way_share,
            rate=lambda done: max(1.0 - done, _LEAST_RATE),
            public=on_own,
            after=lambda step: turn(step, self.generator_rate * (1.0 - (step - 1) / event.steps), learns),
            beside=fakes.module,
            devices=places,
            numerics=self.numerics,
        )
        average.apply()

    def _conditions(self, domain: Domain) -> Clique:
        if self.target is None:
            return domain.attributes
        if self.target not in domain.attributes:
            raise PlanError(f"the target {self.target!r} is not a column; columns are {list(domain.attributes)}")
        return (self.target,)


__all__ = ["GAN"]

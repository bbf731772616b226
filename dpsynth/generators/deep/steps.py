"""The planned steps, made: learning rate, average and progress, all of public things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from accountants import SubsampledGaussian
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.average import Average
from dpsynth.generators.deep.pace import Pace
from dpsynth.progress import report
from dpsynth.training import KernelLoss, NotReproducible


def train(
    private: PrivateTable,
    module: Any,
    loss: KernelLoss,
    event: SubsampledGaussian,
    optimizer: Any,
    pace: Pace,
    *,
    stage: str,
    start: float = 0.0,
    end: float = 1.0,
    decay: float = 0.98,
    rate: Callable[[float], float] = lambda done: 1.0,
    public: Callable[[], Any] | None = None,
    after: Callable[[int], None] | None = None,
    beside: Any = None,
    devices: Sequence[Any] = (),
    numerics: str = "exact",
) -> None:
    """Train `module` by all planned steps; its parameters are then their moving average.

    Args:
        private: the rows, as a view of the columns to train on.
        module, loss, event, optimizer, public: as in `PrivateTable.train`.
        pace: clipping norm and batch size.
        stage: name for progress, whose note has steps and noise.
        start, end: how much of the stage is done before the first step, and after the last.
        decay: of the average (`Average`).
        rate: factor on the optimizer's learning rate by the share of steps that are made, 0 to 1.
        after: called after each step with its number, from 1: a generator's own half of a GAN.
        beside: a module that goes where `module` goes.
        devices: where to train: the first whose arithmetic is as `numerics` asks. None: where `module` is.
        numerics: as in `PrivateTable.train`.

    Raises:
        NotReproducible: none of the devices has exact numerics; no step was charged (the one-ways were).
    """

    def begun() -> Iterator[None]:
        return private.train(
            module,
            loss,
            event,
            optimizer=optimizer,
            max_grad_norm=pace.max_grad_norm,
            expected_batch_size=pace.expected_batch_size,
            public=public,
            numerics=numerics,
        )

    for tried, device in enumerate(devices or (None,), start=1):
        try:
            for each in (module, beside):
                if None not in (each, device):
                    each.to(device)
            steps = begun()
            break
        except (NotReproducible, RuntimeError):  # of a GPU that others have filled, say; nothing of it is charged yet
            if tried >= len(devices):
                raise
    average, initial = Average(module, decay), [group["lr"] for group in optimizer.param_groups]
    often = max(1, event.steps // 50)
    for step in range(1, event.steps + 1):
        for group, lr in zip(optimizer.param_groups, initial, strict=True):
            group["lr"] = lr * rate((step - 1) / event.steps)
        next(steps)
        average.update()
        if after is not None:
            after(step)
        if step % often == 0 or step == event.steps:
            note = f"step {step} of {event.steps}, noise {event.noise_multiplier:.3g} times the norm"
            report(stage, start + (end - start) * step / event.steps, note)
    average.apply()


def falling(done: float) -> float:
    """Factor on a learning rate: 1 for half of the steps, then falling to 0."""
    return min(1.0, 2.0 * (1.0 - done))


__all__ = ["falling", "train"]

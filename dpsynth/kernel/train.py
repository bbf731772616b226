"""DP-SGD on privacy units: one charged step at a time, of which nothing but the stepped parameters is seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from accountants import SubsampledGaussian
from dpsynth.domain import Domain
from dpsynth.kernel.arithmetic import refuse_onlookers, settled
from dpsynth.kernel.gradients import MAX_ROWS, SCALE, Gradients
from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.modules import Layer, trained_layers
from dpsynth.kernel.noise import Noise
from dpsynth.kernel.units import Units
from dpsynth.layers import MaskedLinear
from dpsynth.measurement import MAX_SIGMA
from dpsynth.training import KernelLoss, NotReproducible

_LEAST = 64
_MOST = {"cpu": 256, "cuda": 4096}
"""Rows of one pass, at most: what stays in a processor's cache, or keeps a GPU busy."""
_GROUP = 2**24
"""Numbers kept of the rows that are clipped together, about (256 MiB with what is made of them)."""


@final
class Training:
    """Everything about a training but the rows, checked before any look.

    Args:
        module: of listed layers; its parameters are stepped in place, on their device.
        loss: on one row.
        noise: the event of the whole training.
        domain: of the rows.
        at_most: k.
        optimizer: of `module`; it sees noised gradients only.
        max_grad_norm: C, the most that one unit's summed gradient may be in L2.
        expected_batch_size: what the sum of gradients is divided by: declared, such as ``sample_rate * about_rows``.
        public: a loss without rows, whose gradient is added after the noise.
        numerics: ``exact``: refuse where arithmetic might let one unit move the gradient of another; ``idealised``.

    Raises:
        ValueError: a module, loss or figure that cannot be trained with.
    """

    def __init__(
        self,
        module: Any,
        loss: KernelLoss,
        noise: SubsampledGaussian,
        domain: Domain,
        at_most: int,
        *,
        optimizer: Any,
        max_grad_norm: float,
        expected_batch_size: float,
        public: Callable[[], Any] | None,
        numerics: str,
    ) -> None:
        for name, value in (("max_grad_norm", max_grad_norm), ("expected_batch_size", expected_batch_size)):
            if isinstance(value, bool) or not (1e-6 <= value <= 1e9):
                raise ValueError(f"{name} must lie between 1e-6 and 1e9, got {value!r}")
        if at_most > MAX_ROWS:
            raise ValueError(f"training keeps at most {MAX_ROWS} rows of a unit, the schema {at_most}; lower at_most")
        if numerics not in ("exact", "idealised"):
            raise ValueError(f"numerics must be exact or idealised, got {numerics!r}")
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ValueError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        self.sigma = noise.noise_multiplier * SCALE
        if self.sigma > MAX_SIGMA:
            raise ValueError(f"noise_multiplier is {noise.noise_multiplier!r}, at most 256 can be drawn exactly")
        self.module, self.noise, self.public, self.optimizer = module, noise, public, optimizer
        refuse_onlookers()
        self.layers = trained_layers(module)
        self.loss = RowLoss(loss, domain)
        self.unit = max_grad_norm / SCALE / expected_batch_size
        most = _MOST.get(next(module.parameters()).device.type, _MOST["cpu"])
        block = min(most, max(_LEAST, _LEAST * math.ceil(1.15 * expected_batch_size / _LEAST)))
        self.gradients = Gradients(module, self.loss, max_grad_norm, at_most, block)
        self._group = max(block, _GROUP // self.gradients.width)
        if numerics == "exact" and not self.gradients.reproducible(domain.shape):
            raise NotReproducible(
                "on this device a row's gradient depends on its place in a batch, so that exact numerics cannot be "
                "claimed; ask for numerics='idealised' in plan and training, or train on another device"
            )

    def ready(self) -> None:
        """Take over the parameters for a step, before its charge and before any row.

        Raises:
            ValueError: parameters of another kind or shape, or something active that would be shown rows.
        """
        refuse_onlookers()
        self.gradients.load(self.module)

    def noisy(self, units: Units, noise: Noise) -> list[Tensor]:
        """One step's noisy gradient: sample units, clip each, add them up, add noise. In steps of the grid."""
        with settled(self.gradients.device):
            return self._noisy(units, noise)

    def _noisy(self, units: Units, noise: Noise) -> list[Tensor]:
        chosen = noise.poisson(self.noise.sample_rate, len(units))
        totals = [torch.zeros(shape, dtype=torch.float64) for shape in self.gradients.shapes]
        codes, places = units.rows(chosen)
        draws = noise.uniforms(len(codes) * self.loss.draws).reshape(len(codes), self.loss.draws)
        start = 0
        while start < len(codes):
            end = start + self._group
            if end < len(codes):  # whole units only
                end = int(np.searchsorted(places, places[end], side="left"))
            part = slice(start, end)
            for total, found in zip(
                totals, self.gradients.sums(codes[part], draws[part], places[part] - places[start]), strict=True
            ):
                total += found.cpu()
            start = end
        return [self._noised(total, noise) for total in totals]

    def blank(self, noise: Noise) -> list[Tensor]:
        """A step's gradient of no unit: noise alone."""
        return [self._noised(torch.zeros(s, dtype=torch.float64), noise) for s in self.gradients.shapes]

    def _noised(self, total: Tensor, noise: Noise) -> Tensor:
        drawn = torch.from_numpy(noise.rounded_gaussian(self.sigma, total.numel())).reshape(total.shape)
        return total + drawn

    def descend(self, gradient: list[Tensor]) -> None:
        """Step the parameters by a noisy gradient and the public one. Nothing here has seen a row."""
        self.optimizer.zero_grad(set_to_none=True)
        for layer, part in zip(self.layers, gradient, strict=True):
            _place(layer, layer.of(self.module), part * self.unit)
        if self.public is not None:
            with torch.enable_grad():
                self.public().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _place(layer: Layer, place: Any, gradient: Tensor) -> None:
    """Put a layer's gradient where an optimizer looks for it."""
    if layer.normalising:
        parts = torch.split(gradient[:, 0], len(place.weight))
    elif place.bias is not None:
        parts = (gradient[:, :-1], gradient[:, -1])
    else:
        parts = (gradient,)
    for parameter, part in zip(place.parameters(recurse=False), parts, strict=False):
        parameter.grad = part.to(parameter.dtype).to(parameter.device).contiguous()
    if type(place) is MaskedLinear:
        place.weight.grad = place.weight.grad * place.mask  # type: ignore[operator]


__all__ = ["Training"]

"""A moving average of a module's parameters: what is left of the noise of single steps is averaged out."""

from __future__ import annotations

from typing import Any, final

import torch


@final
class Average:
    """Exponential moving average. Parameters after a noisy step are public, so it costs nothing.

    The weight of the past rises from 0, as ``min(decay, t / (t + 10))``: the start is soon forgotten.

    Args:
        module: whose parameters are averaged.
        decay: weight of the past in the long run, between 0 and 1.
    """

    def __init__(self, module: Any, decay: float) -> None:
        self._module, self._decay, self._steps = module, decay, 0
        self._kept = [p.detach().clone() for p in module.parameters()]

    def update(self) -> None:
        """Take the parameters as they are now into the average."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10.0))
        with torch.no_grad():
            now = list(self._module.parameters())
            self._kept = [
                k.to(p.device).mul_(decay).add_(p, alpha=1.0 - decay) for k, p in zip(self._kept, now, strict=True)
            ]

    def apply(self) -> None:
        """Make the average the module's parameters."""
        with torch.no_grad():
            for kept, now in zip(self._kept, self._module.parameters(), strict=True):
                now.copy_(kept)


__all__ = ["Average"]

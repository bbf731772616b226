"""An optimizer that shows an audit the gradient it is given, and takes another in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Hand = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def tapped(module: Any, optimizer: Any, public: Callable[[], Any] | None, hand: Hand) -> Any:
    """`optimizer`, with `hand` between the kernel's gradient and its step.

    Args:
        module: whose gradients are handed over, joined to one vector.
        optimizer: makes the step; with None parameters stay.
        public: as in `PrivateTable.train`: its gradient is added to what `hand` returned.
        hand: the kernel's gradient to the one that is stepped by.
    """
    return _Tapped(module, optimizer, public, hand)


class _Tapped(torch.optim.Optimizer):
    def __init__(self, module: Any, optimizer: Any, public: Callable[[], Any] | None, hand: Hand) -> None:
        super().__init__(list(module.parameters()), {})
        self._optimizer, self._public, self._hand = optimizer, public, hand

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Hand the gradient over, take the other one, step by it."""
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        given = self._hand(torch.cat([p.grad.reshape(-1) for p in held]).numpy())
        if self._optimizer is None:
            return
        start = 0
        for parameter in held:
            part = torch.from_numpy(given[start : start + parameter.numel()].copy())
            parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)
            start += parameter.numel()
        if self._public is not None:
            with torch.enable_grad():
                self._public().backward()
        self._optimizer.step()


__all__ = ["tapped"]

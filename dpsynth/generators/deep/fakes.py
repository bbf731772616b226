"""Fake rows: a generator's network, and how a critic's slope flows back into it. No real row in it."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpsynth.domain import Clique
from dpsynth.generators.deep.decoder import Latent
from dpsynth.generators.deep.start import Start
from dpsynth.layers import Parallel

_COPIED = 12.0
"""Logit by which a condition's own cell leads in its column: the others keep a chance of e^-12 beside it."""
_ROOM = 0.01


@final
class Fakes:
    """A conditional generator whose columns are drawn from softmax cells, independent given code and condition.

    The network starts as the independent columns of the noisy one-ways: their logarithms are its output biases. A
    condition is copied into its column by a fixed layer beside the deep one.

    Args:
        start: the noisy one-ways, which give each condition's frequency as well.
        conditions: columns that may be the condition.
        dimensions: of the normal part of the code.
        hidden, depth: width and number of hidden layers.
        temperature: of the relaxed cells whose slope stands in for that of drawn ones.
    """

    def __init__(
        self,
        start: Start,
        conditions: Clique,
        *,
        dimensions: int,
        hidden: int,
        depth: int,
        temperature: float,
    ) -> None:
        self._rng, self._temperature, self._dimensions = start.rng, temperature, dimensions
        domain, shares = start.domain, start.shares
        self._places = list(pairwise([0, *accumulate(domain.shape)]))
        self._shares = torch.from_numpy(np.concatenate([*shares.values()])).float()
        self.latent = Latent.standard(dimensions, tuple(shares[a] for a in conditions))
        axes, cells = domain.axes(conditions), sum(domain.shape)
        inputs = dimensions + sum(domain.shape_of(conditions))
        layers: list[nn.Module] = []
        for width in [inputs, *[hidden] * (depth - 1)]:
            layers += [nn.Linear(width, hidden), nn.SiLU(), nn.LayerNorm(hidden)]
        copy = nn.Linear(inputs, cells, bias=False)
        out = nn.Linear(hidden, cells)
        with torch.no_grad():
            out.weight.mul_(0.3)
            out.bias.copy_(torch.from_numpy(start.logits))
            copy.weight.zero_().requires_grad_(False)
            at = dimensions
            for first, end in (self._places[i] for i in axes):
                copy.weight[first:end, at : at + end - first] = _COPIED * torch.eye(end - first)
                at += end - first
        self.module = Parallel([nn.Sequential(*layers, out), copy])

    @property
    def parameters(self) -> list[Any]:
        """Those that are trained."""
        return [p for p in self.module.parameters() if p.requires_grad]

    def draw(self, rows: int) -> tuple[Tensor, Tensor]:
        """Rows as a critic sees them, cells and then condition, and the logits they were drawn from.

        Cells are drawn; their slope is that of softmax cells at the temperature (straight-through Gumbel-softmax, Jang
        et al. 2017).
        """
        device = next(self.module.parameters()).device
        code = torch.from_numpy(self.latent.draw(rows, self._rng)).to(device)
        logits = self.module(code)
        gumbel = torch.from_numpy(self._rng.gumbel(size=logits.shape).astype(np.float32)).to(device)
        parts = []
        for start, end in self._places:
            soft = functional.softmax((logits[:, start:end] + gumbel[:, start:end]) / self._temperature, dim=1)
            hard = functional.one_hot(soft.argmax(dim=1), end - start).to(soft.dtype)
            parts.append(hard + soft - soft.detach())
        return torch.cat([*parts, code[:, self._dimensions :]], dim=1), logits

    def misfit(self, logits: Tensor) -> Tensor:
        """How far the mean cells of `logits` are from the noisy one-ways, shape (): about their chi-squared."""
        means = torch.cat([self._softmax(logits, s, e).mean(dim=0) for s, e in self._places])
        shares = self._shares.to(means.device)
        return ((means - shares).square() / (shares + _ROOM)).sum()

    @staticmethod
    def _softmax(logits: Tensor, start: int, end: int) -> Tensor:
        return functional.softmax(logits[:, start:end], dim=1)


__all__ = ["Fakes"]

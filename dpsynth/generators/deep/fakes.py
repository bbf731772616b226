"""Fake rows: a generator's network, and how a critic's slope flows back into it. No real row in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpsynth.domain import Clique, Domain
from dpsynth.generators.deep.cells import logits_of
from dpsynth.generators.deep.decoder import Latent
from dpsynth.generators.deep.network import Floats
from dpsynth.layers import Parallel

_COPIED = 12.0
"""Logit by which a condition's own cell leads in its column: the others keep a chance of e^-12 beside it."""
_ROOM = 0.01
_FITS, _FIT_CODES = 10, 2**14


@final
class Fakes:
    """A conditional generator whose columns are drawn from softmax cells, independent given code and condition.

    The network starts as the independent columns of `shares`: their logarithms are its output biases. A condition is
    copied into its column by a fixed layer beside the deep one.

    Args:
        domain: of the rows.
        shares: for each column its cells' shares, from noisy counts already paid for.
        conditions: columns that may be the condition.
        dimensions: of the normal part of the code.
        hidden, depth: width and number of hidden layers.
        temperature: of the relaxed cells whose slope stands in for that of drawn ones.
        rng: of initial weights and codes; public randomness.
    """

    def __init__(
        self,
        domain: Domain,
        shares: Sequence[Floats],
        conditions: Clique,
        *,
        dimensions: int,
        hidden: int,
        depth: int,
        temperature: float,
        rng: np.random.Generator,
    ) -> None:
        self._rng, self._temperature = rng, temperature
        self._places = list(pairwise([0, *accumulate(domain.shape)]))
        axes = [domain.attributes.index(a) for a in conditions]
        self.latent = Latent.standard(dimensions, tuple(np.asarray(shares[i], dtype=np.float64) for i in axes))
        self._dimensions = dimensions
        self._shares = torch.from_numpy(np.concatenate(list(shares)).astype(np.float32))
        inputs, cells = dimensions + sum(domain.shape[i] for i in axes), sum(domain.shape)
        layers: list[nn.Module] = []
        for width in [inputs, *[hidden] * (depth - 1)]:
            layers += [nn.Linear(width, hidden), nn.SiLU(), nn.LayerNorm(hidden)]
        copy = nn.Linear(inputs, cells, bias=False)
        self._out = nn.Linear(hidden, cells)
        with torch.no_grad():
            self._out.weight.mul_(0.3)
            self._out.bias.copy_(torch.from_numpy(np.concatenate([logits_of(np.asarray(s, float)) for s in shares])))
            copy.weight.zero_().requires_grad_(False)
            at = dimensions
            for start, end in (self._places[i] for i in axes):
                copy.weight[start:end, at : at + end - start] = _COPIED * torch.eye(end - start)
                at += end - start
        self.module = Parallel([nn.Sequential(*layers, self._out), copy])

    @property
    def parameters(self) -> list[Any]:
        """Those that are trained."""
        return [p for p in self.module.parameters() if p.requires_grad]

    def draw(self, rows: int) -> tuple[Tensor, Tensor]:
        """Rows as a critic sees them, cells and then condition, and the logits they were drawn from.

        Cells are drawn; their slope is that of softmax cells at the temperature (straight-through Gumbel-softmax, Jang
        et al. 2017).
        """
        code = torch.from_numpy(self.latent.draw(rows, self._rng))
        logits = self.module(code)
        gumbel = torch.from_numpy(self._rng.gumbel(size=logits.shape).astype(np.float32))
        parts = []
        for start, end in self._places:
            soft = functional.softmax((logits[:, start:end] + gumbel[:, start:end]) / self._temperature, dim=1)
            hard = functional.one_hot(soft.argmax(dim=1), end - start).to(soft.dtype)
            parts.append(hard + soft - soft.detach())
        return torch.cat([*parts, code[:, self._dimensions :]], dim=1), logits

    def misfit(self, logits: Tensor) -> Tensor:
        """How far the mean cells of `logits` are from the noisy one-ways, shape (): about their chi-squared."""
        means = torch.cat([self._softmax(logits, s, e).mean(dim=0) for s, e in self._places])
        return ((means - self._shares).square() / (self._shares + _ROOM)).sum()

    def fit_biases(self) -> None:
        """Move the output biases until the mean cells are the noisy one-ways: iterative proportional fitting."""
        with torch.no_grad():
            code = torch.from_numpy(self.latent.draw(_FIT_CODES, self._rng))
            logits = self.module(code)
            for _ in range(_FITS):
                for start, end in self._places:
                    mean = self._softmax(logits, start, end).mean(dim=0)
                    shift = (self._shares[start:end].clamp(min=1e-6) / mean.clamp(min=1e-9)).log().clamp(-2.0, 2.0)
                    logits[:, start:end] += shift
                    self._out.bias[start:end] += shift

    @staticmethod
    def _softmax(logits: Tensor, start: int, end: int) -> Tensor:
        return functional.softmax(logits[:, start:end], dim=1)


__all__ = ["Fakes"]

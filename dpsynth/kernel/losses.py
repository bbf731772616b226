"""The losses on real rows, each row apart: what `dpsynth.training` names, computed. No value of one ever leaves.

**Guarantee.** Entry ``r`` of what `row_losses` returns is a function of row ``r`` of its arguments and of the
parameters alone, since every listed layer and every operation here treats rows apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dpsynth.domain import Domain
from dpsynth.kernel.modules import Trace, run
from dpsynth.layers import log_probabilities
from dpsynth.training import Critic, EvidenceLowerBound, KernelLoss, Likelihood

_CAP = 30.0
"""Bound on a log variance: beyond it no code is told from another."""


@dataclass(frozen=True, slots=True)
class RowLoss:
    """A loss on the rows of one domain.

    Attributes:
        loss: as the generator named it.
        domain: of the rows.
    """

    loss: KernelLoss
    domain: Domain

    def __post_init__(self) -> None:
        if type(self.loss) not in (Likelihood, EvidenceLowerBound, Critic):  # a subclass would run its own code on rows
            raise ValueError(
                f"a loss is one of dpsynth.training (Likelihood, EvidenceLowerBound, Critic), got "
                f"{type(self.loss).__name__}"
            )
        match self.loss:
            case Likelihood(inputs=inputs, targets=targets, ordered=ordered):
                named = {*inputs, *targets, *ordered}
            case EvidenceLowerBound(ordered=ordered):
                named = set(ordered)
            case Critic(conditions=conditions):
                named = set(conditions)
        self.domain.clique(named)

    @property
    def draws(self) -> int:
        """Random numbers of each row's own: uniform on (0, 1)."""
        match self.loss:
            case EvidenceLowerBound(latent=latent):
                return latent
            case Critic(conditions=conditions):
                return 1 if len(conditions) > 1 else 0
        return 0

    def rows(self, module: Any, codes: Tensor, draws: Tensor, trace: Trace) -> Tensor:
        """The loss of every row. Rows are columns of all arguments.

        Args:
            module: of listed layers.
            codes: int64, shape (columns, rows), in domain order.
            draws: float64, shape (`draws`, rows).
            trace: is told what went through the module.

        Returns:
            Shape (rows,).
        """
        everything = self.domain.attributes
        match self.loss:
            case Likelihood(inputs=inputs, targets=targets, ordered=ordered):
                logits = run(module, self._cells(codes, inputs or everything), trace)
                return self._surprise(logits, codes, targets or everything, ordered)
            case EvidenceLowerBound(latent=latent, beta=beta, ordered=ordered):
                encoded = run(module._modules["encoder"], self._cells(codes, everything), trace, "encoder")
                mean, log_variance = torch.split(encoded, latent, dim=0)
                log_variance = log_variance.clamp(-_CAP, _CAP)
                code = mean + torch.exp(0.5 * log_variance) * torch.special.ndtri(draws).to(mean.dtype)
                divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=0)
                logits = run(module._modules["decoder"], code, trace, "decoder")
                total: Tensor = self._surprise(logits, codes, everything, ordered) + beta * divergence
                return total
            case Critic(kind=kind, conditions=conditions):
                condition = self._condition(codes, conditions, draws)
                scores = run(module, torch.cat([self._cells(codes, everything), condition]), trace)[0]
                if kind == "wasserstein":
                    return -scores
                return functional.softplus(-scores) if kind == "logistic" else functional.relu(1.0 - scores)

    def _cells(self, codes: Tensor, columns: Sequence[str]) -> Tensor:
        sizes = self.domain.shape_of(columns)
        cells = torch.zeros(sum(sizes), codes.shape[1], dtype=torch.float32, device=codes.device)
        start = 0
        for axis, size in zip(self.domain.axes(columns), sizes, strict=True):
            cells[start : start + size].scatter_(0, codes[axis : axis + 1], 1.0)
            start += size
        return cells

    def _condition(self, codes: Tensor, columns: Sequence[str], draws: Tensor) -> Tensor:
        """One-hot over the cells of all condition columns: each row's own value in one column drawn for it."""
        cells = self._cells(codes, columns)
        if len(columns) < 2:
            return cells
        sizes = torch.tensor(self.domain.shape_of(columns), device=codes.device)
        column = torch.repeat_interleave(torch.arange(len(columns), device=codes.device), sizes)
        drawn = (draws[:1] * len(columns)).long().clamp(max=len(columns) - 1)
        return cells * (column[:, None] == drawn)

    def _surprise(self, logits: Tensor, codes: Tensor, columns: Sequence[str], ordered: frozenset[str]) -> Tensor:
        """Minus the log probability of a row's cells, summed over `columns`."""
        total: Tensor = torch.zeros(codes.shape[1], device=codes.device, dtype=logits.dtype)
        parts = torch.split(logits, list(self.domain.shape_of(columns)), dim=0)
        for column, axis, part in zip(columns, self.domain.axes(columns), parts, strict=True):
            total = total - log_probabilities(part, column in ordered, dim=0).gather(0, codes[axis : axis + 1])[0]
        return total


__all__ = ["RowLoss"]

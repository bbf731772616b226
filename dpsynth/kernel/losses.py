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
from torch.nn import functional as F

from dpsynth.domain import Domain
from dpsynth.layers import log_probabilities, one_hot
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
        match self.loss:
            case Likelihood(inputs=inputs, targets=targets, ordered=ordered):
                named = {*inputs, *targets, *ordered}
            case EvidenceLowerBound(ordered=ordered):
                named = set(ordered)
            case Critic(conditions=conditions):
                named = set(conditions)
            case _:
                raise ValueError(
                    f"a loss is one of dpsynth.training (Likelihood, EvidenceLowerBound, Critic), got "
                    f"{type(self.loss).__name__}"
                )
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

    def rows(self, module: Any, codes: Tensor, draws: Tensor) -> Tensor:
        """The loss of every row.

        Args:
            module: of listed layers.
            codes: int64, shape (rows, columns), in domain order.
            draws: float64, shape (rows, `draws`).

        Returns:
            Shape (rows,).
        """
        match self.loss:
            case Likelihood(inputs=inputs, targets=targets, ordered=ordered):
                cells = self._cells(codes, inputs or self.domain.attributes)
                return self._surprise(module(cells), codes, targets or self.domain.attributes, ordered)
            case EvidenceLowerBound(latent=latent, beta=beta, ordered=ordered):
                cells = self._cells(codes, self.domain.attributes)
                mean, log_variance = module["encoder"](cells).split(latent, dim=1)
                log_variance = log_variance.clamp(-_CAP, _CAP)
                code = mean + torch.exp(0.5 * log_variance) * torch.special.ndtri(draws).to(mean.dtype)
                divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=1)
                logits = module["decoder"](code)
                return self._surprise(logits, codes, self.domain.attributes, ordered) + beta * divergence
            case Critic(kind=kind, conditions=conditions):
                scores = module(torch.cat([self._cells(codes, self.domain.attributes),
                                           self._condition(codes, conditions, draws)], dim=1))[:, 0]
                if kind == "wasserstein":
                    return -scores
                return F.softplus(-scores) if kind == "logistic" else F.relu(1.0 - scores)

    def _cells(self, codes: Tensor, columns: Sequence[str]) -> Tensor:
        return one_hot(codes[:, self.domain.axes(columns)], self.domain.shape_of(columns))

    def _condition(self, codes: Tensor, columns: Sequence[str], draws: Tensor) -> Tensor:
        """One-hot over the cells of all condition columns: each row's own value in one column drawn for it."""
        cells = self._cells(codes, columns)
        if len(columns) < 2:
            return cells
        sizes = torch.tensor(self.domain.shape_of(columns), device=codes.device)
        column = torch.repeat_interleave(torch.arange(len(columns), device=codes.device), sizes)
        drawn = (draws[:, :1] * len(columns)).long().clamp(max=len(columns) - 1)
        return cells * (column == drawn)

    def _surprise(self, logits: Tensor, codes: Tensor, columns: Sequence[str], ordered: frozenset[str]) -> Tensor:
        """Minus the log probability of a row's cells, summed over `columns`."""
        total = torch.zeros(len(codes), device=codes.device, dtype=logits.dtype)
        parts = logits.split(self.domain.shape_of(columns), dim=1)
        for column, axis, part in zip(columns, self.domain.axes(columns), parts, strict=True):
            total = total - log_probabilities(part, column in ordered).gather(1, codes[:, axis : axis + 1])[:, 0]
        return total


__all__ = ["RowLoss"]

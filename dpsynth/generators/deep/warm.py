"""A start from public rows: ordinary training before the first private step. No private row in it, and no noise.

The rows are those of a table that its owner declares public; what is known of the private table when this runs are
noisy one-ways, paid for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.deep.start import Start, seeded
from dpsynth.layers import log_probabilities, one_hot
from dpsynth.training import EvidenceLowerBound, Likelihood

BATCH = 500
"""Public rows of a step."""
_STEPS, _OFTEN = 1000, 50
"""Steps at most, and after how many the rows held apart are looked at."""
_HELD = 0.1
"""Share of the public rows held apart: the parameters kept are those that fit them best."""
_ROUNDS, _TILT = 20, 4.0
"""Rounds of raking, and the most that one of them moves a row's weight by."""
_EFFECTIVE = 0.2
"""Least effective number of public rows, over their number."""


@dataclass(frozen=True, slots=True, eq=False)
class WeightedRows:
    """Public rows over merged cells, weighted to have the noisy one-ways of the private table.

    Attributes:
        codes: int64, shape (rows, columns).
        chances: of a row to be drawn, shape (rows,).
    """

    codes: NDArray[np.int64]
    chances: NDArray[np.float64]

    @classmethod
    def of(cls, start: Start, public: Codes) -> WeightedRows:
        """From codes of base cells.

        Weights are those of iterative proportional fitting (Deming and Stephan 1940), tempered where they would leave
        less than a fifth of the rows in effect (Kish 1965).
        """
        columns = [np.asarray(start.recoding.maps[a][public[a]], np.int64) for a in start.domain.attributes]
        logs = np.zeros(len(columns[0]))
        for _ in range(_ROUNDS):
            for codes, (attribute, shares) in zip(columns, start.shares.items(), strict=True):
                held = np.bincount(codes, _chances(logs), minlength=start.domain[attribute])
                ratio = np.clip(shares / np.maximum(held, 1e-12), 1.0 / _TILT, _TILT)
                logs = logs + np.log(ratio)[codes]
        while 1.0 / np.square(_chances(logs)).sum() < _EFFECTIVE * len(logs):
            logs = logs * 0.8
        return cls(np.stack(columns, axis=1), _chances(logs))

    def halves(self, rng: np.random.Generator) -> tuple[WeightedRows, WeightedRows]:
        """Rows to learn from, and a tenth held apart (one row at least; of a single row both)."""
        order = rng.permutation(len(self.codes))
        held = max(1, round(_HELD * len(order)))
        apart, own = order[:held], order[held:] if len(order) > 1 else order
        return self._some(own), self._some(apart)

    def draw(self, rows: int, rng: np.random.Generator) -> Tensor:
        """`rows` of them by their chances, with replacement, shape (rows, columns)."""
        return torch.from_numpy(self.codes[rng.choice(len(self.codes), rows, p=self.chances)])

    def _some(self, places: NDArray[np.intp]) -> WeightedRows:
        chances = self.chances[places]
        return WeightedRows(self.codes[places], chances / chances.sum())


def warmed(module: Any, loss: Likelihood | EvidenceLowerBound, start: Start, public: Codes, rate: float) -> None:
    """Train `module` on public rows, in place: what it makes of them is where the private training starts.

    How long is a matter of the public rows alone: a tenth of them is held apart, and the parameters are those that
    fitted these best.

    Args:
        module: as the private training would start it.
        loss: the private training's.
        start: the domain of merged cells and the noisy one-ways.
        public: codes of base cells, by column.
        rate: learning rate of Adam.
    """
    rng = start.rng
    own, apart = WeightedRows.of(start, public).halves(rng)
    device = next(iter(module.parameters())).device
    held, weights = torch.from_numpy(apart.codes).to(device), torch.from_numpy(apart.chances).float().to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    best, least = [p.detach().clone() for p in module.parameters()], float("inf")
    with seeded():
        for step in range(_STEPS + 1):
            if step % _OFTEN == 0:
                with torch.no_grad():
                    found = float((weights * _losses(module, loss, start.domain, held)).sum())
                    if found < least:
                        best, least = [p.detach().clone() for p in module.parameters()], found
            cost = _losses(module, loss, start.domain, own.draw(BATCH, rng).to(device)).mean()
            optimizer.zero_grad()
            cost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        for kept, now in zip(best, module.parameters(), strict=True):
            now.copy_(kept)


def judged(codes: Tensor, domain: Domain, conditions: Clique, rng: np.random.Generator) -> Tensor:
    """Rows as a critic sees them, cells and then condition: each row's own value in one of the columns `conditions`.

    Args:
        codes: shape (rows, columns).
        domain: of the rows.
        conditions: the columns.
        rng: draws which.
    """
    axes, sizes = list(domain.axes(conditions)), domain.shape_of(conditions)
    own = one_hot(codes[:, axes], sizes)
    column = torch.repeat_interleave(torch.arange(len(axes)), torch.tensor(sizes))
    drawn = torch.from_numpy(rng.integers(0, len(axes), len(codes)))
    return torch.cat([one_hot(codes, domain.shape), own * (column[None, :] == drawn[:, None])], dim=1)


def _losses(module: Any, loss: Likelihood | EvidenceLowerBound, domain: Domain, codes: Tensor) -> Tensor:
    """The loss of every row, shape (rows,)."""
    cells = one_hot(codes, domain.shape)
    if isinstance(loss, Likelihood):
        return _surprise(module(cells), codes, domain, loss.ordered)
    mean, log_variance = torch.split(module["encoder"](cells), loss.latent, dim=1)
    log_variance = log_variance.clamp(-30.0, 30.0)
    code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=1)
    return _surprise(module["decoder"](code), codes, domain, loss.ordered) + loss.beta * divergence


def _surprise(logits: Tensor, codes: Tensor, domain: Domain, ordered: frozenset[str]) -> Tensor:
    parts = zip(domain.attributes, torch.split(logits, list(domain.shape), dim=1), codes.T, strict=True)
    found = [log_probabilities(part, a in ordered).gather(1, own[:, None])[:, 0] for a, part, own in parts]
    return -torch.stack(found).sum(dim=0)


def _chances(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = np.exp(logs - logs.max())
    shares: NDArray[np.float64] = kept / kept.sum()
    return shares


__all__ = ["BATCH", "WeightedRows", "judged", "warmed"]

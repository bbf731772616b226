"""A start from public rows: ordinary training before the first private step. No private row in it, and no noise.

The rows are those of a table that its owner declares public; what is known of the private table when this runs are
noisy one-ways, paid for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.deep.average import Average
from dpsynth.generators.deep.start import Start, seeded
from dpsynth.generators.deep.steps import falling
from dpsynth.layers import log_probabilities, one_hot
from dpsynth.training import EvidenceLowerBound, Likelihood

BATCH = 500
"""Public rows of a step."""
RATE = 0.3
"""Factor on the learning rate of the private training of a network that starts from public rows: it has less to learn,
and what noise adds to its parameters grows with the rate."""
_STEPS, _OFTEN = 1000, 50
"""Steps, and after how many the rows held apart are looked at."""
_SLOWER, _DECAY = 0.25, 0.98
"""Factor on the learning rate, and weight of the past in the moving average of the parameters."""
_HELD = 0.1
"""Share of the public rows held apart."""


def merged(start: Start, public: Codes) -> Tensor:
    """Public rows over merged cells, int64, shape (rows, columns).

    Args:
        start: says which cells are merged.
        public: codes of base cells, by column.
    """
    columns = [np.asarray(start.recoding.maps[a][public[a]], np.int64) for a in start.domain.attributes]
    return torch.from_numpy(np.stack(columns, axis=1))


def some(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """As many rows as a step is made of, drawn with replacement."""
    return rows[torch.from_numpy(rng.integers(0, len(rows), BATCH))]


def warmed(module: Any, loss: Likelihood | EvidenceLowerBound, start: Start, public: Codes, rate: float) -> None:
    """Train `module` on public rows, in place: what it makes of them is where the private training starts.

    A tenth of the rows is held apart, and of the averages over the steps the one is kept that fits these best. All of
    that is a matter of public rows.

    Args:
        module: as the private training would start it.
        loss: the private training's.
        start: of the private training.
        public: codes of base cells, by column.
        rate: learning rate of the private training.
    """
    rng = start.rng
    rows = merged(start, public)[torch.from_numpy(rng.permutation(len(next(iter(public.values())))))]
    rows = rows.to(next(iter(module.parameters())).device)
    held = max(1, round(_HELD * len(rows)))
    apart, own = rows[:held], rows[held:] if len(rows) > 1 else rows
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    average, best, least = Average(module, _DECAY), _copy(module), float("inf")
    with seeded():
        for step in range(1, _STEPS + 1):
            for group in optimizer.param_groups:
                group["lr"] = rate * _SLOWER * falling((step - 1) / _STEPS)
            cost = _losses(module, loss, start.domain, some(own, rng)).mean()
            optimizer.zero_grad()
            cost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update()
            if step % _OFTEN == 0:
                now = _copy(module)
                average.apply()
                with torch.no_grad():
                    found = float(_losses(module, loss, start.domain, apart).mean())
                if found < least:
                    best, least = _copy(module), found
                _put(module, now)
    _put(module, best)


def _copy(module: Any) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def _put(module: Any, parameters: list[Tensor]) -> None:
    with torch.no_grad():
        for own, given in zip(module.parameters(), parameters, strict=True):
            own.copy_(given)


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


__all__ = ["RATE", "judged", "merged", "some", "warmed"]

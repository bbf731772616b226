"""A critic: its network, how far its slopes may go, and the half of its loss that is on fakes. No row in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dpsynth.layers import Parallel

_SLOPE = 0.2
_LEAST = 1e-12
_MOST_PAIRS = 8192


def critic(sizes: Sequence[int], conditions: Sequence[int], hidden: int, depth: int) -> Parallel:
    """A network from a row's cells and its condition to one score: a perceptron, and with one condition column a layer
    beside it on all pairs of a cell of another column and a cell of that one, if there are at most 8,192.

    The pairs are those of a projection critic (Miyato and Koyama 2018, "cGANs with projection discriminator"), from a
    layer that is not trained: of two cells in {0, 1} the product is ``max(0, x + y - 1)``.

    Args:
        sizes: cells of each column.
        conditions: places of the columns that may be the condition.
        hidden, depth: width and number of the perceptron's hidden layers.
    """
    cells, given = sum(sizes), sum(sizes[i] for i in conditions)
    layers: list[nn.Module] = []
    for width in [cells + given, *[hidden] * (depth - 1)]:
        layers += [nn.Linear(width, hidden), nn.LeakyReLU(_SLOPE)]
    deep = nn.Sequential(*layers, nn.Linear(hidden, 1, bias=False))
    if len(conditions) != 1 or not 0 < (cells - given) * given <= _MOST_PAIRS:
        return Parallel([deep])
    start = sum(sizes[: conditions[0]])
    others = [c for c in range(cells) if not start <= c < start + given]
    pairs = nn.Linear(cells + given, len(others) * given)
    judged = nn.Linear(len(others) * given, 1, bias=False)
    with torch.no_grad():
        pairs.weight.zero_()
        places = torch.arange(len(others) * given)
        pairs.weight[places, torch.tensor(others).repeat_interleave(given)] = 1.0
        pairs.weight[places, cells + torch.arange(given).repeat(len(others))] = 1.0
        pairs.bias.fill_(-1.0)
        judged.weight.zero_()
    pairs.requires_grad_(False)
    return Parallel([deep, nn.Sequential(pairs, nn.ReLU(), judged)])


def bounded(network: Parallel, limit: float, pair_limit: float) -> None:
    """Scale weights down to a spectral norm of `limit` in each layer of the perceptron, of `pair_limit` on pairs: the
    critic's slope is then bounded (Miyato et al. 2018, "Spectral normalization"). A function of noised parameters."""
    with torch.no_grad():
        parts: list[Any] = list(network)
        for part, most in zip(parts, (limit, pair_limit), strict=False):
            for layer in part.modules():
                if _trained(layer):
                    norm = float(torch.linalg.matrix_norm(layer.weight, 2))
                    layer.weight.mul_(min(1.0, most / max(norm, _LEAST)))


def on_fakes(network: Parallel, kind: str, fakes: Tensor, max_grad_norm: float, *, real: bool = False) -> Tensor:
    """The mean loss on fakes, shape (): ``D(x)``, ``softplus(D(x))`` or ``max(0, 1 + D(x))``.

    Each fake's gradient is clipped to `max_grad_norm`, as the kernel clips each unit's: only then do the two halves
    cancel where fakes are like real rows. Its norm is that of the kernel, layer by layer an outer product (Goodfellow
    2015), and the fake's weight is what the clipping leaves of it.

    Args:
        network: made by `critic`.
        kind: of `dpsynth.training.Critic`.
        fakes: cells and conditions, shape (fakes, inputs).
        max_grad_norm: C.
        real: whether they are taken for real, as public rows are: the same of ``-D(x)``.
    """
    passed: list[tuple[Tensor, Tensor]] = []
    scores = _traced(network, fakes, passed)[:, 0] * (-1.0 if real else 1.0)
    if kind == "wasserstein":
        loss = scores
    else:
        loss = functional.softplus(scores) if kind == "logistic" else functional.relu(1.0 + scores)
    slopes = torch.autograd.grad(loss.sum(), [found for _, found in passed], retain_graph=True)
    squares = [given * slope.square().sum(dim=1) for (given, _), slope in zip(passed, slopes, strict=True)]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    return (loss * (max_grad_norm / norms.clamp(min=_LEAST)).clamp(max=1.0).detach()).mean()


def deception(network: Parallel, kind: str, fakes: Tensor) -> Tensor:
    """The generator's loss, shape (): low where the critic takes fakes for real."""
    scores: Tensor = network(fakes)[:, 0]
    return functional.softplus(-scores).mean() if kind == "logistic" else -scores.mean()


def _traced(module: Any, rows: Tensor, passed: list[tuple[Tensor, Tensor]]) -> Tensor:
    """What `module` makes of `rows`; for each trained layer the squared norm of its input, and its output."""
    if isinstance(module, Parallel):
        return torch.stack([_traced(part, rows, passed) for part in module]).sum(dim=0)
    if isinstance(module, nn.Sequential):
        for part in module:
            rows = _traced(part, rows, passed)
        return rows
    found: Tensor = module(rows)
    if _trained(module):
        passed.append((rows.detach().square().sum(dim=1) + (module.bias is not None), found))
    return found


def _trained(layer: Any) -> bool:
    return isinstance(layer, nn.Linear) and layer.weight.requires_grad


__all__ = ["bounded", "critic", "deception", "on_fakes"]

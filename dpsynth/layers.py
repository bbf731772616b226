"""Layers and functions that modules for `PrivateTable.train` are built of, beside torch's own. No row in them.

The layers that may be trained are listed in `dpsynth/kernel/modules.py`: each treats every row of its input apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, final

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as missing:
    raise ImportError(f"deep generators need PyTorch ({missing}): pip install 'dpsynth[deep]'") from missing


@final
class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are zero for good.

    Args:
        mask: shape (outputs, inputs), 1 where a weight may differ from zero.

    Raises:
        ValueError: no matrix of zeros and ones.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True) -> None:
        if mask.ndim != 2 or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"a mask is a matrix of zeros and ones, got shape {tuple(mask.shape)}")
        super().__init__(mask.shape[1], mask.shape[0], bias)
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (rows, inputs) to (rows, outputs)."""
        return functional.linear(rows, self.weight * self.mask, self.bias)


@final
class Residual(nn.Sequential):
    """``x + layers(x)``."""

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (rows, width) to the same."""
        found: Tensor = super().forward(rows)  # type: ignore[no-untyped-call]
        return rows + found


@final
class Parallel(nn.ModuleList):
    """The sum of several modules of one input: a wide part beside a deep one."""

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (rows, inputs) to (rows, outputs)."""
        total: Tensor = self[0](rows)
        for module in self[1:]:
            total = total + module(rows)
        return total


def one_hot(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """Codes, shape (rows, columns), as cells, shape (rows, sum of sizes), float32."""
    starts = torch.tensor([0, *accumulate(sizes)][:-1] if sizes else [], dtype=torch.int64, device=codes.device)
    cells = torch.zeros(len(codes), sum(sizes), dtype=torch.float32, device=codes.device)
    return cells.scatter_(1, codes + starts, 1.0)


def log_probabilities(logits: Tensor, ordered: bool = False, dim: int = -1) -> Tensor:
    """Log probabilities of a column's cells, from as many logits along `dim`: the same shape.

    `ordered`: the sequential (continuation-ratio) model (Tutz 1991), ``P(j) = s(a_j) prod_{i<j} s(-a_i)`` with ``s``
    the logistic function; the last cell takes what is left and its logit has no say. Loss and sampling share this one
    function, so that they cannot differ.
    """
    if not ordered:
        return functional.log_softmax(logits, dim=dim)
    stops, none = logits.narrow(dim, 0, logits.shape[dim] - 1), torch.zeros_like(logits.narrow(dim, 0, 1))
    passed = torch.cumsum(functional.logsigmoid(-stops), dim=dim)
    return torch.cat([functional.logsigmoid(stops), none], dim=dim) + torch.cat([none, passed], dim=dim)


def made(sizes: Sequence[int], hidden: Sequence[int], *, activation: type[Any] = nn.ReLU) -> Parallel:
    """An autoregressive network: logits of a column depend on the one-hot cells of the columns before it alone.

    A masked multi-layer perceptron (Germain et al. 2015, Section 4) beside a direct masked layer from inputs to logits.

    Args:
        sizes: cells of each column, in the order in which columns are drawn.
        hidden: widths of the hidden layers; empty for the direct layer alone.
        activation: of the hidden layers.
    """
    column = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    direct = MaskedLinear(_mask(column, column, strict=True))
    if not hidden:
        return Parallel([direct])
    layers: list[nn.Module] = []
    before = column
    for width in hidden:
        degree = torch.arange(width) % max(1, len(sizes) - 1)
        layers += [MaskedLinear(_mask(before, degree, strict=False)), activation()]
        before = degree
    layers.append(MaskedLinear(_mask(before, column, strict=True), bias=False))
    return Parallel([direct, nn.Sequential(*layers)])


def _mask(before: Tensor, after: Tensor, *, strict: bool) -> Tensor:
    sees = after[:, None] > before[None, :] if strict else after[:, None] >= before[None, :]
    return sees.float()


__all__ = ["MaskedLinear", "Parallel", "Residual", "log_probabilities", "made", "one_hot"]

"""Per-unit gradients as integer vectors of bounded norm, and their sum. Never leaves the kernel without noise.

A linear layer's gradient for one row is the outer product of what goes into it and the derivative at what comes out
(Goodfellow 2015, "Efficient per-example gradient computations"). Both factors are rounded to integers, so that norms,
inner products and sums are exact at the speed of matrix products, and no per-row gradient is ever laid out.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.modules import Layer

SCALE = 2**20
"""The clipping norm in steps of the grid: one unit's integer vector has L2 norm at most this."""
MAX_ROWS = 64
"""Most rows of a unit in training: their inner products, all pairs of them, fit 64 bits."""
_INPUT = 2.0**10
"""Norm of a layer's rounded input; that of its rounded derivative is then at most `SCALE` over it when clipped."""
_LARGEST = 2.0**13
"""Bound on an integer derivative: where inputs vanish nothing else bounds it."""
_PROBES = 3
_INPUT_CAP, _PAIR_CAP = 2.0**21, 2.0**42
_SHRINK = (1.0, 0.9, 0.7)
"""Truncating several rows may lengthen their sum; a unit that is too long is scaled again, and dropped in the end."""


@dataclass(frozen=True, slots=True)
class Factors:
    """A layer's gradients of many rows: row ``r`` has ``outer(derivatives[r], inputs[r])``.

    Attributes:
        inputs: whole numbers, float64, shape (rows, inputs).
        derivatives: float64, shape (rows, outputs).
        mask: shape (outputs, inputs), or None where every entry is trained.
    """

    inputs: Tensor
    derivatives: Tensor
    mask: Tensor | None

    def products(self, left: Tensor, right: Tensor, derivatives: Tensor) -> Tensor:
        """Inner products of the gradients of rows `left` and `right`, with these derivatives: shape (pairs,)."""
        inputs = self.inputs[left] * self.inputs[right]
        outputs = derivatives[left] * derivatives[right]
        if self.mask is None:
            return inputs.sum(dim=1) * outputs.sum(dim=1)
        return ((outputs @ self.mask) * inputs).sum(dim=1)


class Gradients:
    """Sums of clipped per-unit gradients of one module, in steps of ``max_grad_norm / SCALE``.

    Args:
        module: of listed layers; a private copy of it does all the work, so that no activation or gradient of a row is
            ever where a generator can see it.
        layers: those that are trained.
        loss: of each row.
        max_grad_norm: C.
        at_most: k.
        block: rows of one pass. Every pass has this shape, padded.
    """

    def __init__(
        self, module: Any, layers: tuple[Layer, ...], loss: RowLoss, max_grad_norm: float, at_most: int, block: int
    ) -> None:
        self._module = deepcopy(module)
        self._layers = layers
        self._loss = loss
        self._rate = SCALE / max_grad_norm
        self._at_most = at_most
        self._block = block
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}
        self._places = [layer.of(self._module) for layer in layers]
        self._cap = min(2.0**28, _PAIR_CAP / (at_most**2 * len(layers)))
        self.device = self._places[0].weight.device
        self._masks = [_mask(place) for place in self._places]
        for layer, place in zip(layers, self._places, strict=True):
            place.register_forward_hook(self._recorder(layer.name))

    @property
    def width(self) -> int:
        """Numbers kept of one row."""
        return sum(sum(shape) for shape in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each layer's gradient: a bias is an input that is always 1."""
        return [
            (2 * len(place.weight), 1)
            if layer.normalising
            else (place.weight.shape[0], place.weight.shape[1] + (place.bias is not None))
            for layer, place in zip(self._layers, self._places, strict=True)
        ]

    def load(self, module: Any) -> None:
        """Take over a module's parameters."""
        with torch.no_grad():
            for own, given in zip(self._module.parameters(), module.parameters(), strict=True):
                own.copy_(given)

    def sums(self, codes: NDArray[np.int64], draws: NDArray[np.float64], units: NDArray[np.int64]) -> list[Tensor]:
        """The sum over units of their clipped integer gradients, for each layer: float64 whole numbers.

        **Guarantee.** Adding a unit adds one integer vector of norm at most `SCALE` over all layers, and moves no
        other's: a unit's vector is a function of its own rows and draws. It is zero where its gradient is not finite.

        Args:
            codes: shape (rows, columns); the rows of a unit stand together.
            draws: shape (rows, draws).
            units: shape (rows,), each row's unit: 0, 1, 2 ... in order.
        """
        count = int(units[-1]) + 1 if len(units) else 0
        if not count:
            return [torch.zeros(shape, dtype=torch.float64, device=self.device) for shape in self.shapes]
        factors, finite = self.factors(codes, draws)
        left, right, weight = _pairs(units, self._at_most)
        rows = torch.from_numpy(units).to(self.device)
        length = np.sqrt(np.maximum(_over(self._products(factors, None, left, right), weight, units[left], count), 0.0))
        with np.errstate(divide="ignore"):
            rate = np.minimum(self._rate, SCALE * (1 - 2.0**-20) / length)
        whole = np.bincount(units, weights=~finite, minlength=count) == 0
        for shrink in _SHRINK if self._at_most > 1 else _SHRINK[:1]:
            scale = torch.from_numpy(rate * shrink).to(self.device)[rows][:, None]
            integers = [(f.derivatives * scale).trunc_().clamp_(-_LARGEST, _LARGEST) for f in factors]
            short = self._short(factors, integers, left, right, weight, units, count) & whole
            if shrink == 1.0:
                kept, admitted = integers, short
            else:
                fresh = torch.from_numpy(short & ~admitted).to(self.device)[rows][:, None]
                kept = [torch.where(fresh, new, old) for new, old in zip(integers, kept, strict=True)]
                admitted = admitted | short
        keep = torch.from_numpy(admitted).to(self.device)[rows][:, None]
        return [(k * keep).T @ f.inputs for k, f in zip(kept, factors, strict=True)]

    def factors(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> tuple[list[Factors], NDArray[np.bool_]]:
        """Each layer's factors, and which rows' gradients are finite; those of the others are zero."""
        parts: list[list[tuple[Tensor, Tensor]]] = []
        finite: list[Tensor] = []
        for start in range(0, len(codes), self._block):
            one, whole = self._pass(codes[start : start + self._block], draws[start : start + self._block])
            parts.append(one)
            finite.append(whole)
        joined = [
            Factors(torch.cat([part[i][0] for part in parts]), torch.cat([part[i][1] for part in parts]), mask)
            for i, mask in enumerate(self._masks)
        ]
        return joined, torch.cat(finite).cpu().numpy()

    def _pass(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """At most a block of rows: each layer's factors, and which rows are finite."""
        raw = self._raw(codes, draws)
        finite = torch.ones(self._block, dtype=torch.bool, device=self.device)
        for inputs, derivatives in raw:
            finite &= inputs.isfinite().all(dim=1) & derivatives.isfinite().all(dim=1)
        count = len(codes)
        scaled = [_balanced(*pair, finite) for pair in raw]
        return [(x[:count], d[:count]) for x, d in scaled], finite[:count]

    def _raw(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> list[tuple[Tensor, Tensor]]:
        """Forward and backward on one block, padded with rows of code 0: inputs and derivatives of each layer."""
        padding = ((0, self._block - len(codes)), (0, 0))
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            loss = self._loss.rows(
                self._module,
                torch.from_numpy(np.pad(codes, padding)).to(self.device),
                torch.from_numpy(np.pad(draws, padding, constant_values=0.5)).to(self.device),
            )
            outputs = [self._seen[layer.name][1] for layer in self._layers]
            slopes = torch.autograd.grad(loss.sum(), outputs, allow_unused=True, materialize_grads=True)
        given = [self._seen[layer.name][0].detach() for layer in self._layers]
        self._seen.clear()
        return [_factors(*each) for each in zip(self._layers, self._places, given, slopes, strict=True)]

    def reproducible(self, shape: tuple[int, ...]) -> bool:
        """Whether a row has the same gradient, to the last bit, wherever it stands in a pass.

        The order of operations follows from shapes and places, never from values, so that public rows of codes below
        `shape`, draws and parameters tell.
        """
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for own in self._module.parameters():
                values = rng.normal(size=tuple(own.shape)) / np.sqrt(own.shape[-1])
                own.copy_(torch.from_numpy(values))
        rows = np.arange(self._block)
        for _ in range(_PROBES):
            codes = np.tile(rng.integers(0, shape, size=(1, len(shape))), (self._block, 1))
            draws = np.tile(rng.uniform(size=(1, self._loss.draws)), (self._block, 1))
            factors, _ = self.factors(codes, draws)
            products = torch.from_numpy(self._products(factors, None, rows, rows))[:, None]
            found = [each for pair in self._raw(codes, draws) for each in pair] + [f.derivatives for f in factors]
            if not all(bool((each == each[:1]).all()) for each in [*found, products]):
                return False
        return True

    def _products(
        self, factors: list[Factors], integers: list[Tensor] | None, left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Inner products of the gradients of pairs of rows, in blocks of one shape. Whole numbers stay exact."""
        result = np.zeros(len(left))
        for start in range(0, len(left), self._block):
            part = slice(start, start + self._block)
            padding = (0, self._block - len(left[part]))
            a, b = (torch.from_numpy(np.pad(side[part], padding)).to(self.device) for side in (left, right))
            for i, layer in enumerate(factors):
                found = layer.products(a, b, layer.derivatives if integers is None else integers[i])
                result[part] += found.cpu().numpy()[: len(left[part])]
        return result

    def _short(
        self,
        factors: list[Factors],
        integers: list[Tensor],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        weight: NDArray[np.int64],
        units: NDArray[np.int64],
        count: int,
    ) -> NDArray[np.bool_]:
        """Which units' integer vectors have norm at most `SCALE`, decided in integers."""
        within = torch.ones(len(units), dtype=torch.bool, device=self.device)
        for layer, whole in zip(factors, integers, strict=True):
            within &= (layer.inputs.square().sum(dim=1) <= _INPUT_CAP) & (whole.square().sum(dim=1) <= self._cap)
        inside = within.cpu().numpy()
        for layer, whole in zip(factors, integers, strict=True):
            whole *= within[:, None]
        squared = np.zeros(count, np.int64)
        for layer, whole in zip(factors, integers, strict=True):
            products = self._products([layer], [whole], left, right)
            np.add.at(squared, units[left], products.astype(np.int64) * weight)
        bounded: NDArray[np.bool_] = np.bincount(units, weights=~inside, minlength=count) == 0
        return (squared <= SCALE**2) & bounded

    def _recorder(self, name: str) -> Any:
        def record(_: Any, given: tuple[Tensor, ...], found: Tensor) -> None:
            self._seen[name] = (given[0], found)

        return record


def _factors(layer: Layer, place: Any, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and derivatives of one layer in float64: a row's gradient is their outer product."""
    if layer.normalising:
        normal = F.layer_norm(given, place.normalized_shape, eps=place.eps)
        ones = torch.ones(len(given), 1, dtype=torch.float64, device=given.device)
        return ones, torch.cat([slope * normal, slope], dim=1).double()
    inputs = given.double()
    if place.bias is not None:
        inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    return inputs, slope.double()


def _balanced(inputs: Tensor, derivatives: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs rounded to integers of norm about `_INPUT`, derivatives scaled to match; zero where not finite."""
    inputs = torch.where(finite[:, None], inputs, 0.0)
    derivatives = torch.where(finite[:, None], derivatives, 0.0)
    length = inputs.square().sum(dim=1).sqrt()[:, None]
    some = length > 0
    rounded = torch.where(some, inputs * (_INPUT / length), 0.0).round_()
    return rounded, torch.where(some, derivatives * (length / _INPUT), 0.0)


def _mask(place: Any) -> Tensor | None:
    mask = getattr(place, "mask", None)
    if mask is None:
        return None
    whole = mask.double()
    return whole if place.bias is None else torch.cat([whole, torch.ones_like(whole[:, :1])], dim=1)


def _pairs(
    units: NDArray[np.int64], at_most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of rows of one unit, each once, and how often it counts in the square of their sum."""
    rows = np.arange(len(units))
    left, right, weight = [rows], [rows], [np.ones(len(units), np.int64)]
    for lag in range(1, at_most):
        together = np.flatnonzero(units[lag:] == units[:-lag])
        left.append(together)
        right.append(together + lag)
        weight.append(np.full(len(together), 2))
    return np.concatenate(left), np.concatenate(right), np.concatenate(weight)


def _over(values: NDArray[np.float64], weight: NDArray[np.int64], units: NDArray[np.int64], count: int) -> Any:
    """Sums for each unit, in the order of its own pairs."""
    return np.bincount(units, weights=values * weight, minlength=count)


__all__ = ["MAX_ROWS", "SCALE", "Factors", "Gradients"]

"""Per-unit gradients as integer vectors of bounded norm, and their sum. Never leaves the kernel without noise.

A linear layer's gradient for one row is the outer product of what goes into it and the derivative at what comes out
(Goodfellow 2015, "Efficient per-example gradient computations"). Both factors are rounded to integers, so that norms,
inner products and sums are exact at the speed of matrix products, and no per-row gradient is ever laid out. Rows are
columns here, as in `modules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dpsynth.kernel.arithmetic import emulated, settled
from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.modules import Layer, Trace, copied, trained_layers
from dpsynth.layers import MaskedLinear

SCALE = 2**22
"""The clipping norm in steps of the grid: one unit's integer vector has L2 norm at most this."""
MAX_ROWS = 64
"""Most rows of a unit in training: their inner products, all pairs of them, fit 64 bits."""
_INPUT = 2.0**10
"""Norm of a layer's rounded input; that of its rounded derivative is then at most `SCALE` over it when clipped."""
_LARGEST = 2.0**14
"""Bound on an integer derivative: where inputs vanish nothing else bounds it."""
_PROBES, _MOVES = 3, 4
_INPUT_CAP, _PAIR_CAP = 2.0**21, 2.0**42  # the first is not reached, so that sums of products stay below 2^63


@dataclass(frozen=True, slots=True)
class Factors:
    """A layer's gradients of many rows: row ``r`` has ``outer(derivatives[:, r], inputs[:, r])``.

    Attributes:
        inputs: whole numbers, float64, shape (inputs, rows).
        derivatives: float64, shape (outputs, rows).
        mask: shape (outputs, inputs), or None where every entry is trained.
    """

    inputs: Tensor
    derivatives: Tensor
    mask: Tensor | None


@final
class Pairs:
    """Inner products of the gradients of rows of one unit, all pairs of them, in passes of one shape.

    Args:
        factors: of each layer.
        units: shape (rows,), each row's unit; those of a unit stand together.
        at_most: k.
        block: pairs of one pass.
    """

    def __init__(self, factors: list[Factors], units: NDArray[np.int64], at_most: int, block: int) -> None:
        rows = np.arange(len(units))
        left, right = [rows], [rows]
        for lag in range(1, at_most):
            left.append(np.flatnonzero(units[lag:] == units[:-lag]))
            right.append(left[-1] + lag)
        first, second = np.concatenate(left), np.concatenate(right)
        self.units = units[first]
        self.weight = np.where(first == second, 1, 2)  # how often a pair counts in the square of a unit's sum
        device = factors[0].inputs.device
        self._passes: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(first), block):
            ends = [side[start : start + block] for side in (first, second)]
            padded = [torch.from_numpy(np.pad(end, (0, block - len(end)))).to(device) for end in ends]
            self._passes.append((padded[0], padded[1]))
        self._masks = [layer.mask for layer in factors]
        self._inputs = [[self._of_inputs(layer, *pair) for pair in self._passes] for layer in factors]

    def products(self, layer: int, derivatives: Tensor) -> NDArray[np.float64]:
        """Of one layer, with these derivatives: shape (pairs,). Of whole numbers below 2^53 they are exact."""
        mask, found = self._masks[layer], []
        for (a, b), inputs in zip(self._passes, self._inputs[layer], strict=True):
            outputs = derivatives[:, a] * derivatives[:, b]
            found.append(outputs.sum(dim=0) * inputs if mask is None else ((mask.T @ outputs) * inputs).sum(dim=0))
        joined: NDArray[np.float64] = torch.cat(found).cpu().numpy()[: len(self.units)]
        return joined

    @staticmethod
    def _of_inputs(layer: Factors, a: Tensor, b: Tensor) -> Tensor:
        product = layer.inputs[:, a] * layer.inputs[:, b]
        return product.sum(dim=0) if layer.mask is None else product


@final
class Gradients:
    """Sums of clipped per-unit gradients of one module, in steps of ``max_grad_norm / SCALE``.

    Args:
        module: of listed layers; a private copy of it does all the work, so that no activation or gradient of a row is
            ever where a generator can see it.
        loss: of each row.
        max_grad_norm: C.
        at_most: k.
        block: rows of one pass. Every pass has this shape, padded.

    Raises:
        ValueError: layers too wide for units of `at_most` rows, or that do not fit each other or the loss.
    """

    def __init__(self, module: Any, loss: RowLoss, max_grad_norm: float, at_most: int, block: int) -> None:
        self.device = next(module.parameters()).device
        with settled(self.device):
            self._module = copied(module)
            self._layers = trained_layers(self._module)  # checked again: from here on nobody else can change it
            self._places = [layer.of(self._module) for layer in self._layers]
            self._masks = [_mask(place) for place in self._places]
        self._loss = loss
        self._rate = SCALE / max_grad_norm
        self._at_most = at_most
        self._block = block
        self._cap = min(2.0**28, _PAIR_CAP / (at_most**2 * len(self._layers)))
        # Room for what rounding adds to a norm: a half in each derivative, times the norm of the inputs beside it. One
        # row never needs more; a unit of several that does is dropped, as `_short` decides.
        self._rounding = 0.75 * _INPUT * np.sqrt(at_most * sum(outputs for outputs, _ in self.shapes))
        if self._rounding > SCALE / 4:
            raise ValueError(f"{at_most} rows a unit are too many for layers so wide; lower at_most, or the widths")
        try:
            row = np.zeros((1, len(loss.domain)), np.int64), np.full((1, loss.draws), 0.5), np.zeros(1, np.int64)
            found = [tuple(part.shape) for part in self.sums(*row)]
        except (RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise ValueError(f"the module cannot be run on a row as {loss.loss} needs: {error}") from None
        if found != self.shapes:
            raise ValueError(f"the gradients of a row have the shapes {found}, the layers {self.shapes}")

    @property
    def width(self) -> int:
        """Numbers kept of one row, its share of its unit's pairs among them."""
        pairs = [1 if mask is None else mask.shape[1] for mask in self._masks]
        return sum(sum(shape) for shape in self.shapes) + sum(pairs) * (self._at_most + 1) // 2

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
        """Take over a module's parameters.

        Raises:
            ValueError: a parameter of another kind or shape than it had.
        """
        with settled(self.device), torch.no_grad():
            for own, given in zip(self._module.parameters(), module.parameters(), strict=True):
                if type(given) is not nn.Parameter or given.shape != own.shape:
                    raise ValueError("a parameter of the module was replaced by one of another kind or shape")
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
        with settled(self.device):
            return self._sums(codes, draws, units)

    def _sums(self, codes: NDArray[np.int64], draws: NDArray[np.float64], units: NDArray[np.int64]) -> list[Tensor]:
        count = int(units[-1]) + 1 if len(units) else 0
        if not count:
            return [torch.zeros(shape, dtype=torch.float64, device=self.device) for shape in self.shapes]
        factors, finite = self.factors(codes, draws)
        pairs = Pairs(factors, units, self._at_most, self._block)
        squared = np.zeros(count)
        for i, layer in enumerate(factors):
            squared += np.bincount(pairs.units, pairs.products(i, layer.derivatives) * pairs.weight, count)
        rate = np.minimum(self._rate, (SCALE - self._rounding) / np.sqrt(np.maximum(squared, 0.0)))
        rows = torch.from_numpy(units).to(self.device)
        scale = torch.from_numpy(rate).to(self.device)[rows]
        integers = [(f.derivatives * scale).round_().clamp_(-_LARGEST, _LARGEST) for f in factors]
        kept = self._short(factors, integers, pairs, units, count) & (np.bincount(units, ~finite, count) == 0)
        keep = torch.from_numpy(kept).to(self.device)[rows]
        totals = [(whole * keep) @ layer.inputs.T for whole, layer in zip(integers, factors, strict=True)]
        return [t if f.mask is None else t * f.mask for t, f in zip(totals, factors, strict=True)]

    def factors(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> tuple[list[Factors], NDArray[np.bool_]]:
        """Each layer's factors, and which rows' gradients are finite; those of the others are zero."""
        parts: list[list[tuple[Tensor, Tensor]]] = []
        finite: list[Tensor] = []
        for start in range(0, len(codes), self._block):
            one, whole = self._pass(codes[start : start + self._block], draws[start : start + self._block])
            parts.append(one)
            finite.append(whole)
        joined = [
            Factors(torch.cat([p[i][0] for p in parts], dim=1), torch.cat([p[i][1] for p in parts], dim=1), mask)
            for i, mask in enumerate(self._masks)
        ]
        return joined, torch.cat(finite).cpu().numpy()

    def _pass(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """At most a block of rows: each layer's factors, and which rows are finite."""
        raw = self._raw(codes, draws)
        finite = torch.ones(self._block, dtype=torch.bool, device=self.device)
        for inputs, derivatives in raw:
            finite &= inputs.isfinite().all(dim=0) & derivatives.isfinite().all(dim=0)
        count = len(codes)
        scaled = [_balanced(*pair, finite) for pair in raw]
        return [(x[:, :count], d[:, :count]) for x, d in scaled], finite[:count]

    def _raw(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> list[tuple[Tensor, Tensor]]:
        """Forward and backward on one block, padded with rows of code 0: inputs and derivatives of each layer."""
        trace, padding = Trace(), ((0, 0), (0, self._block - len(codes)))
        loss = self._loss.rows(
            self._module,
            torch.from_numpy(np.pad(codes.T, padding)).to(self.device),
            torch.from_numpy(np.pad(draws.T, padding, constant_values=0.5)).to(self.device),
            trace,
        )
        outputs = [trace.found[layer.name] for layer in self._layers]
        slopes = torch.autograd.grad(loss.sum(), outputs, allow_unused=True, materialize_grads=True)
        given = [trace.given[layer.name] for layer in self._layers]
        return [_factors(*each) for each in zip(self._layers, self._places, given, slopes, strict=True)]

    def reproducible(self, shape: tuple[int, ...]) -> bool:
        """Whether a row has the same gradient, to the last bit, wherever it stands in a pass.

        Which code computes a row follows from shapes and places, never from values, so that public rows of codes below
        `shape`, draws and parameters tell. Codes for different places may agree on most values: many different rows are
        compared with themselves moved by one place, and with themselves in other orders.
        """
        with settled(self.device):
            return not emulated(self.device) and self._whole() and self._reproducible(shape)

    def _whole(self) -> bool:
        """Whether sums of products of whole numbers as large as they get come out whole: random ones, over a pass."""
        rng = np.random.default_rng(1)
        for outputs, inputs in self.shapes:
            derivatives = rng.integers(-int(_LARGEST), int(_LARGEST), size=(outputs, self._block))
            given = rng.integers(-int(_INPUT), int(_INPUT), size=(inputs, self._block))
            left, right = (torch.from_numpy(each).to(self.device).double() for each in (derivatives, given.T.copy()))
            found = left @ right
            if not np.array_equal(found.cpu().numpy(), derivatives @ given.T):
                return False
        return True

    def _reproducible(self, shape: tuple[int, ...]) -> bool:
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for own in self._module.parameters():
                values = rng.normal(size=tuple(own.shape)) / np.sqrt(own.shape[-1])
                own.copy_(torch.from_numpy(values))
        for _ in range(_PROBES):
            codes = rng.integers(0, shape, size=(self._block, len(shape)))
            draws = rng.uniform(size=(self._block, self._loss.draws))
            found = self._probed(codes, draws)
            rows = np.arange(self._block)
            for order in (np.roll(rows, 1), *(rng.permutation(rows) for _ in range(_MOVES - 1))):
                moved = self._probed(codes[order], draws[order])
                if not all(torch.equal(one[:, order], other) for one, other in zip(found, moved, strict=True)):
                    return False
        return True

    def _probed(self, codes: NDArray[np.int64], draws: NDArray[np.float64]) -> list[Tensor]:
        """All that is computed of one block of rows, a column for each."""
        factors, _ = self.factors(codes, draws)
        pairs = Pairs(factors, np.arange(self._block), 1, self._block)
        found = [each for pair in self._raw(codes, draws) for each in pair] + [f.derivatives for f in factors]
        return found + [torch.from_numpy(pairs.products(i, f.derivatives))[None] for i, f in enumerate(factors)]

    def _short(
        self, factors: list[Factors], integers: list[Tensor], pairs: Pairs, units: NDArray[np.int64], count: int
    ) -> NDArray[np.bool_]:
        """Which units' integer vectors have norm at most `SCALE`, decided in integers."""
        within = torch.ones(len(units), dtype=torch.bool, device=self.device)
        for layer, whole in zip(factors, integers, strict=True):
            within &= (layer.inputs.square().sum(dim=0) < _INPUT_CAP) & (whole.square().sum(dim=0) <= self._cap)
        squared = np.zeros(count, np.int64)
        for i, whole in enumerate(integers):
            whole *= within
            np.add.at(squared, pairs.units, pairs.products(i, whole).astype(np.int64) * pairs.weight)
        bounded: NDArray[np.bool_] = np.bincount(units, ~within.cpu().numpy(), count) == 0
        return (squared <= SCALE**2) & bounded


def _factors(layer: Layer, place: Any, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and derivatives of one layer in float64: a row's gradient is their outer product."""
    ones = torch.ones(1, given.shape[1], dtype=torch.float64, device=given.device)
    if layer.normalising:
        return ones, torch.cat([slope * given, slope]).double()
    return given.double() if place.bias is None else torch.cat([given.double(), ones]), slope.double()


def _balanced(inputs: Tensor, derivatives: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs rounded to integers of norm about `_INPUT`, derivatives scaled to match; zero where not finite."""
    inputs = torch.where(finite, inputs, 0.0)
    derivatives = torch.where(finite, derivatives, 0.0)
    length = inputs.square().sum(dim=0).sqrt()
    some = length > 0
    rounded = torch.where(some, inputs * (_INPUT / length), 0.0).round_()
    return rounded, torch.where(some, derivatives * (length / _INPUT), 0.0)


def _mask(place: Any) -> Tensor | None:
    if type(place) is not MaskedLinear:
        return None
    whole = place.mask.double()
    return whole if place.bias is None else torch.cat([whole, torch.ones_like(whole[:, :1])], dim=1)


__all__ = ["MAX_ROWS", "SCALE", "Factors", "Gradients", "Pairs"]

"""Rows drawn column by column: each from a network's distribution given the columns before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Codes, Domain
from dpsynth.generators.deep.cells import MATCHED, ROUNDS, Integers, drawn, log_probabilities, shift
from dpsynth.generators.deep.network import Floats

_PROPOSALS = 32
"""Completions among which one is chosen for a row whose columns are given in part."""


@dataclass(frozen=True, slots=True, eq=False)
class Autoregression:
    """The rows of a masked network (`dpsynth.layers.made`).

    Attributes:
        domain: of the rows, in the order in which columns are drawn.
        direct, bias: from cells to logits, shape (cells, cells) and (cells,).
        hidden: weight and bias of each hidden layer; rectified.
        out: from the last hidden layer to logits; None without hidden layers.
        ordered: columns whose logits are ordinal.
    """

    kind = "autoregression"
    domain: Domain
    direct: Floats
    bias: Floats
    hidden: tuple[tuple[Floats, Floats], ...]
    out: Floats | None
    ordered: frozenset[str]

    @classmethod
    def of(cls, domain: Domain, module: Any, ordered: frozenset[str]) -> Autoregression:
        """From a trained `dpsynth.layers.made`, masked weights as zeros."""

        def weight(layer: Any) -> Floats:
            array: Floats = (layer.weight * layer.mask).detach().cpu().numpy().astype(np.float32).copy()
            return array

        def bias(layer: Any) -> Floats:
            array: Floats = layer.bias.detach().cpu().numpy().astype(np.float32).copy()
            return array

        layers = [layer for layer in module[1] if hasattr(layer, "mask")] if len(module) > 1 else []
        hidden = tuple((weight(layer), bias(layer)) for layer in layers[:-1])
        return cls(domain, weight(module[0]), bias(module[0]), hidden, weight(layers[-1]) if layers else None, ordered)

    def matched(self, shares: Mapping[str, NDArray[np.float64]], rng: np.random.Generator) -> Autoregression:
        """The same network with biases at which every column's one-way is `shares`, up to the error of a sample.

        Columns are drawn in turn, and each bias is moved until the mean of the rows' probabilities fits.
        """
        return replace(self, bias=self._walk(MATCHED, rng, {}, shares)[2])

    def draw(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> dict[str, Integers]:
        """`rows` rows. With `given`, columns to keep, 32 completions are drawn for each row, with its own values put in
        where their turn comes, and one is chosen by the probability that the network gives to those values there
        (sampling importance resampling, Rubin 1987): exact in the limit.
        """
        if not given:
            return self._walk(rows, rng, {})[0]
        kept = {a: np.asarray(codes).astype(np.int64) for a, codes in given.items()}
        last = max(self.domain.attributes.index(a) for a in kept)
        if last < len(kept):  # what is given comes first: its completions are already drawn as they should be
            return self._walk(rows, rng, kept)[0]
        found, weight, _ = self._walk(rows * _PROPOSALS, rng, {a: np.repeat(c, _PROPOSALS) for a, c in kept.items()})
        choice = drawn(log_probabilities(weight.reshape(rows, _PROPOSALS)), rng)
        place = np.arange(rows) * _PROPOSALS + choice
        return {a: codes[place] for a, codes in found.items()}

    def _walk(
        self,
        rows: int,
        rng: np.random.Generator,
        given: Codes,
        shares: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> tuple[dict[str, Integers], Floats, Floats]:
        """Columns in turn, the log probability of what was given, and the biases that fit `shares`."""
        matched = self.bias.copy()
        found: dict[str, Integers] = {}
        weight = np.zeros(rows, dtype=np.float32)
        ends = list(accumulate(self.domain.shape))
        logits = np.tile(self.bias, (rows, 1))
        before = np.tile(self.hidden[0][1], (rows, 1)) if self.hidden else None
        for attribute, size, end in zip(self.domain.attributes, self.domain.shape, ends, strict=True):
            own: Floats = logits[:, end - size : end]
            if before is not None and self.out is not None:
                state: Floats = np.maximum(before, np.float32(0))
                for layer, bias in self.hidden[1:]:
                    state = np.maximum(state @ layer.T + bias, np.float32(0))
                own = own + state @ self.out[end - size : end].T
            for _ in range(ROUNDS if shares is not None else 0):
                mean = np.exp(log_probabilities(own, attribute in self.ordered)).mean(axis=0, dtype=np.float64)
                step = shift(shares[attribute], mean, attribute in self.ordered)  # type: ignore[index]
                matched[end - size : end] += step
                own = own + step
            logs = log_probabilities(own, attribute in self.ordered)
            if attribute in given:
                codes = np.asarray(given[attribute]).astype(np.int64)
                weight += np.take_along_axis(logs, codes[:, None], axis=1)[:, 0]
            else:
                codes = drawn(logs, rng)
            found[attribute] = codes
            logits[:, end:] += self.direct.T[end - size + codes, end:]
            if before is not None:
                before += self.hidden[0][0].T[end - size + codes]
        return found, weight, matched

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays."""
        arrays: dict[str, NDArray[Any]] = {"direct": self.direct, "bias": self.bias}
        for i, (weight, bias) in enumerate(self.hidden):
            arrays |= {f"hidden.{i}.weight": weight, f"hidden.{i}.bias": bias}
        if self.out is not None:
            arrays["out"] = self.out
        return {"kind": self.kind, "hidden": len(self.hidden), "ordered": sorted(self.ordered)}, arrays

    @classmethod
    def load(cls, domain: Domain, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Autoregression:
        """The inverse of `dump`.

        Raises:
            KeyError, ValueError: something is missing, or does not fit.
        """
        whole = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
        cells = sum(domain.shape)
        if whole["direct"].shape != (cells, cells) or whole["bias"].shape != (cells,):
            raise ValueError(f"a network of {cells} cells has another shape")
        hidden = tuple((whole[f"hidden.{i}.weight"], whole[f"hidden.{i}.bias"]) for i in range(int(header["hidden"])))
        ordered = frozenset(header["ordered"])
        return cls(domain, whole["direct"], whole["bias"], hidden, whole.get("out"), ordered)


__all__ = ["Autoregression"]

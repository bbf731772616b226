"""Rows drawn from a code: a latent prior, a network from code to logits, and columns independent given the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Codes, Domain
from dpsynth.generators.deep.cells import MATCHED, ROUNDS, Integers, drawn, log_probabilities, shift
from dpsynth.generators.deep.network import Floats, Network

_CODES = 4096
"""Codes among which one is chosen for rows whose columns are given in part."""


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """The prior of codes: a mixture of normal distributions, and cells beside it if the network is conditioned.

    Attributes:
        shares: of the components, shape (components,).
        means, deviations: shape (components, dimensions).
        cells: shares of the cells of each column that may be the condition, shape (cells,) each: a column is drawn
            evenly, a cell of it by its shares, and its one-hot code follows the normal part. None: no condition.
    """

    shares: NDArray[np.float64]
    means: Floats
    deviations: Floats
    cells: tuple[NDArray[np.float64], ...] = ()

    @classmethod
    def standard(cls, dimensions: int, cells: tuple[NDArray[np.float64], ...] = ()) -> Latent:
        """The standard normal distribution."""
        one = np.ones((1, dimensions), dtype=np.float32)
        return cls(np.ones(1), 0 * one, one, cells)

    def draw(self, rows: int, rng: np.random.Generator) -> Floats:
        """Codes, shape (rows, dimensions and all cells)."""
        which = rng.choice(len(self.shares), rows, p=self.shares)
        normal = rng.standard_normal((rows, self.means.shape[1]), dtype=np.float32)
        code: Floats = self.means[which] + self.deviations[which] * normal
        if not self.cells:
            return code
        starts = np.cumsum([0, *map(len, self.cells)])
        hot = np.zeros((rows, starts[-1]), dtype=np.float32)
        column = rng.integers(0, len(self.cells), rows)
        for i, shares in enumerate(self.cells):
            held = np.flatnonzero(column == i)
            hot[held, starts[i] + rng.choice(len(shares), len(held), p=shares / shares.sum())] = 1.0
        return np.concatenate([code, hot], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """A latent variable model of rows.

    Attributes:
        domain: of the rows.
        latent: the prior of codes.
        network: code to one logit for each cell, columns in domain order.
        ordered: columns whose logits are ordinal.
        moved: added to all logits.
    """

    kind = "decoder"
    domain: Domain
    latent: Latent
    network: Network
    ordered: frozenset[str]
    moved: Floats

    def matched(self, shares: Mapping[str, NDArray[np.float64]], rng: np.random.Generator) -> Decoder:
        """The same decoder with logits moved at which every column's one-way is `shares`, about."""
        logits = self.network(self.latent.draw(MATCHED, rng))
        moved = np.zeros(logits.shape[1], dtype=np.float32)
        for attribute, (start, end) in self._places.items():
            ordered, own = attribute in self.ordered, logits[:, start:end]
            for _ in range(ROUNDS):
                mean = np.exp(log_probabilities(own + moved[start:end], ordered)).mean(axis=0, dtype=np.float64)
                moved[start:end] += shift(shares[attribute], mean, ordered)
        return replace(self, moved=self.moved + moved)

    def draw(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> dict[str, Integers]:
        """`rows` rows. With `given`, columns to keep, each row's code is one of 4,096 drawn from the prior, chosen by
        the probability that it gives to the row's own values (sampling importance resampling, Rubin 1987): exact in
        the limit, and never without an answer, since every cell has some probability under every code.
        """
        if given:
            pool = self._log_probabilities(self.latent.draw(_CODES, rng))
            weight = np.zeros((rows, _CODES), dtype=np.float32)
            for a, codes in given.items():
                weight += pool[a].T[np.asarray(codes)]
            chosen = drawn(log_probabilities(weight), rng)
            found = {a: drawn(pool[a][chosen], rng) for a in self.domain.attributes if a not in given}
        else:
            logs = self._log_probabilities(self.latent.draw(rows, rng))
            found = {a: drawn(logs[a], rng) for a in self.domain.attributes}
        kept = {a: np.asarray(c).astype(np.int64) for a, c in (given or {}).items()}
        return {a: kept.get(a, found.get(a)) for a in self.domain.attributes}  # type: ignore[misc]

    @property
    def _places(self) -> dict[str, tuple[int, int]]:
        return dict(zip(self.domain.attributes, pairwise([0, *accumulate(self.domain.shape)]), strict=True))

    def _log_probabilities(self, codes: Floats) -> dict[str, Floats]:
        logits = self.network(codes) + self.moved
        return {a: log_probabilities(logits[:, s:e], a in self.ordered) for a, (s, e) in self._places.items()}

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header and plain arrays."""
        arrays: dict[str, NDArray[Any]] = {f"network.{name}": array for name, array in self.network.arrays.items()}
        arrays |= {"shares": self.latent.shares, "means": self.latent.means, "deviations": self.latent.deviations}
        arrays["moved"] = self.moved
        arrays |= {f"cells.{i}": array for i, array in enumerate(self.latent.cells)}
        return {
            "kind": self.kind,
            "layout": self.network.layout,
            "ordered": sorted(self.ordered),
            "conditions": len(self.latent.cells),
        }, arrays

    @classmethod
    def of(cls, domain: Domain, latent: Latent, module: Any, ordered: frozenset[str] = frozenset()) -> Decoder:
        """From a trained module."""
        return cls(domain, latent, Network.of(module), ordered, np.zeros(sum(domain.shape), dtype=np.float32))

    @classmethod
    def load(cls, domain: Domain, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Decoder:
        """The inverse of `dump`.

        Raises:
            KeyError, ValueError: something is missing, or does not fit.
        """
        latent = Latent(
            np.asarray(arrays["shares"], dtype=np.float64),
            np.asarray(arrays["means"], dtype=np.float32),
            np.asarray(arrays["deviations"], dtype=np.float32),
            tuple(np.asarray(arrays[f"cells.{i}"], dtype=np.float64) for i in range(int(header["conditions"]))),
        )
        prefix = "network."
        held = {n.removeprefix(prefix): np.asarray(a, np.float32) for n, a in arrays.items() if n.startswith(prefix)}
        moved = np.asarray(arrays["moved"], np.float32)
        return cls(domain, latent, Network(header["layout"], held), frozenset(header["ordered"]), moved)


__all__ = ["Decoder", "Latent"]

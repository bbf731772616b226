"""Where a training starts: the one-ways, the merged cells that follow from them, and a network that knows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from accountants import Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.deep.cells import logits_of
from dpsynth.generators.deep.network import Floats
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.generators.recoding import Recoding
from dpsynth.generators.settings import planned
from dpsynth.graphical import estimate_total
from dpsynth.graphical.factor import Array
from dpsynth.hints import Hints

_SEED = 7


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a deep generator knows before its first step.

    Attributes:
        found: the one-ways.
        view: the rows over merged cells.
        event: the planned training.
        ordered: columns with an ordinal likelihood.
    """

    found: OneWays
    view: PrivateTable
    event: SubsampledGaussian
    ordered: frozenset[str]

    @classmethod
    def look(cls, private: PrivateTable, plan: Plan, hints: Hints, cleaning: Cleaning, *, ordinal: bool) -> Start:
        """The first looks of a plan of `Pace.plan`.

        Args:
            private: the rows.
            plan: one-ways, then one training.
            hints: of the schema.
            cleaning: what is done to the one-ways.
            ordinal: whether ordered columns have an ordinal likelihood.
        """
        found = OneWays.planned(private, planned(plan, Gaussian)[: 2 if hints.fine else 1], hints, cleaning)
        (event,) = planned(plan, SubsampledGaussian)
        return cls(found, private.recoded(found.recoding.maps), event, hints.ordered if ordinal else frozenset())

    @property
    def recoding(self) -> Recoding:
        """Base cells to merged cells."""
        return self.found.recoding

    @property
    def domain(self) -> Domain:
        """Of merged cells."""
        return self.found.recoding.domain

    @property
    def total(self) -> float:
        """The noisy estimate of the number of rows."""
        return estimate_total(self.found.merged)

    @property
    def rng(self) -> np.random.Generator:
        """For what is worked out on a sample of the network's own rows."""
        return np.random.default_rng(_SEED)

    @property
    def shares(self) -> dict[str, Array]:
        """For each column the noisy shares of its merged cells: non-negative, summing to 1."""
        found = {}
        for measurement in self.found.merged:
            held = np.maximum(measurement.values, 0.0)
            found[measurement.clique[0]] = held / held.sum() if held.sum() > 0 else np.full(len(held), 1 / len(held))
        return {a: found[a] for a in self.domain.attributes}

    @property
    def logits(self) -> Floats:
        """Logits of all cells at which a network without weights draws every column by its shares."""
        return np.concatenate([logits_of(shares, a in self.ordered) for a, shares in self.shares.items()])


@contextmanager
def seeded() -> Iterator[None]:
    """PyTorch's generator at a fixed seed inside the block, and as it was after it: for initial parameters."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


__all__ = ["Start", "seeded"]

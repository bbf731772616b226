"""A recipe that no release is made with: it asks every kind of look, and may be told to peek at the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants import Allowance, ExponentialMechanism, FixedPlan, Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Clique, Codes, Domain
from dpsynth.generators.base import Model, PrivateTable
from dpsynth.hints import Hints
from dpsynth.measurement import Score
from dpsynth.training import Critic, KernelLoss, Likelihood

_STEPS = 2
_ETA = 1.0
_MOST_CELLS = 10**5
_SCORE, _MOST_SCORES = 1000, 100


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """A model that is nothing but what was answered."""

    domain: Domain
    total: float
    values: tuple[NDArray[Any], ...]

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Uniform."""
        shape = self.domain.shape_of(clique)
        return np.full(shape, self.total / np.prod(shape))

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """Uniform."""
        return {a: rng.integers(0, size, rows) for a, size in self.domain.sizes.items()}

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The answers."""
        return {"kind": "answers"}, {f"v{i}": np.asarray(v) for i, v in enumerate(self.values)}


class _Halves:
    """Expects much of the first half of every marginal's cells and nothing of the others.

    One row more then lowers the error of one candidate and raises that of another: the worst case of a selection.
    """

    def __init__(self, domain: Domain, much: frozenset[Clique]) -> None:
        self._domain, self._much = domain, much

    def project(self, clique: Clique) -> NDArray[np.float64]:
        return np.full(self._domain.shape_of(clique), 1e6 if clique in self._much else 0.0)


@dataclass(frozen=True, slots=True)
class EveryLook:
    """One count, several at once, moments, two selections and, with PyTorch, two trainings: straight from the kernel.

    Attributes:
        peeks: a fault: ``looks``: what is counted first follows the true number of rows; ``model``: the model's total
            is that number.
    """

    peeks: str = ""

    @property
    def name(self) -> str:
        """``every-look``."""
        return "every-look"

    def parameters(self) -> dict[str, Any]:
        """The fault."""
        return {"peeks": self.peeks}

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """Fixed noise, whatever the budget: nothing is released."""
        trained = [SubsampledGaussian(1.0, 0.5, _STEPS)] * (2 if find_spec("torch") else 0)
        choices = [ExponentialMechanism(_ETA)] * 2
        return FixedPlan([Gaussian(1.5), Gaussian(2.5), Gaussian(1.2), *choices, *trained, Gaussian(0.7)])

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> Model:
        """The looks."""
        domain, events = private.domain, plan.events if isinstance(plan, FixedPlan) else ()
        gaussian = [event for event in events if isinstance(event, Gaussian)]
        one_ways: list[Clique] = [(a,) for a in domain.attributes]
        widest = next(c for n in (3, 2, 1) if domain.size(c := domain.attributes[:n]) <= _MOST_CELLS or n == 1)
        first = one_ways[_rows_of(private) % len(domain)] if self.peeks == "looks" else widest
        found = [private.count(first, gaussian[0]), *private.count_all(one_ways, gaussian[1])]
        scores = [Score(a, np.full(size, _SCORE)) for a, size in list(domain.sizes.items())[:_MOST_SCORES]]
        norm = math.ceil(_SCORE * math.sqrt(len(scores)))  # every row is as long as a row may be
        moments = private.moments(scores, norm, gaussian[2])
        candidates = [*one_ways, widest] if len(widest) > 1 else one_ways
        model, choice = _Halves(domain, frozenset(candidates[::2])), ExponentialMechanism(_ETA)
        private.select(candidates, model, choice)
        weights = [3 if i < 2 else 1 for i in range(len(candidates))]  # the two that move in opposite directions
        private.select(candidates, model, choice, weights=weights, penalties=range(len(candidates)))
        trained = [event for event in events if isinstance(event, SubsampledGaussian)]
        values = [*_trained(private, domain, trained), *(counts.values for counts in found), moments.values]
        values.append(private.count(one_ways[0], gaussian[3]).values)
        total = float(_rows_of(private) if self.peeks == "model" else values[-1].sum())
        return Answers(domain, max(1.0, total), tuple(values))


def _trained(private: PrivateTable, domain: Domain, events: list[SubsampledGaussian]) -> list[NDArray[Any]]:
    if not events:
        return []
    import torch
    from torch import nn

    width, found = sum(domain.shape), list[NDArray[Any]]()
    losses: tuple[tuple[KernelLoss, int], ...] = ((Likelihood(), width), (Critic(), 1))
    for event, (loss, outputs) in zip(events, losses, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = nn.Sequential(nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, outputs))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in private.train(module, loss, event, optimizer=optimizer, max_grad_norm=0.01, expected_batch_size=8.0):
            pass
        found += [p.detach().numpy().copy() for p in module.parameters()]
    return found


def _rows_of(private: Any) -> int:
    """The number of rows, past everything that hides it: what no recipe may know."""
    codes = private._view._PrivateTable__codes
    return len(next(iter(codes.values())))


__all__ = ["Answers", "EveryLook"]

"""The whole contract of a generator: what it is handed, what it may ask, and what it must return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from accountants import Allowance, ExponentialMechanism, Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Clique, Codes, Domain
from dpsynth.hints import Hints
from dpsynth.measurement import NoisyCounts, NoisyMoments, Score
from dpsynth.training import KernelLoss


class Projectable(Protocol):
    """Anything that has an expected marginal over a clique: a model, an estimate, a precomputed set."""

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique`, shape ``domain.project(clique).shape``, in rows."""
        ...


class PrivateTable(Protocol):
    """What the kernel lets a generator ask. Every look is charged before it happens; the event is the argument.

    With ``k`` rows a unit at most, a look at ``Gaussian(noise_multiplier=z)`` over ``m`` marginals
    carries noise of ``sigma = z * k * sqrt(m)`` rows in every cell, whatever was asked.
    """

    @property
    def domain(self) -> Domain:
        """The encoded domain (public)."""
        ...

    @property
    def remaining(self) -> float:
        """What is left of the plan's mu squared (public: it follows from declared parameters)."""
        ...

    def recoded(self, maps: Mapping[str, NDArray[np.integer[Any]]]) -> PrivateTable:
        """A free view in which attribute ``a``'s code ``c`` reads ``maps[a][c]``; sizes become ``max + 1``."""
        ...

    def count(self, clique: Clique, noise: Gaussian) -> NoisyCounts:
        """One noisy marginal."""
        ...

    def count_all(self, cliques: Sequence[Clique], noise: Gaussian) -> tuple[NoisyCounts, ...]:
        """Several marginals stacked in one event."""
        ...

    def moments(self, scores: Sequence[Score], max_norm: int, noise: Gaussian) -> NoisyMoments:
        """``sum over rows of y y^T`` for vectors ``y`` of integer scores, each row held to a norm of `max_norm`.

        With ``z`` the noise multiplier, entries carry noise of ``z * k * max_norm^2 / sqrt(2)``, those on the diagonal
        ``sqrt(2)`` times as much.
        """
        ...

    def select(
        self,
        candidates: Sequence[Clique],
        model: Projectable,
        noise: ExponentialMechanism,
        *,
        weights: Sequence[int] | None = None,
        penalties: Sequence[int] | None = None,
    ) -> Clique:
        """The exponential mechanism on scores ``weights[i] * L1(counts_i - round(model_i)) - penalties[i]``.

        The model is projected on every candidate before any row is touched. Weights are integers of at
        least 1 (default 1), penalties integers (default 0).
        """
        ...

    def train(
        self,
        module: Any,
        loss: KernelLoss,
        noise: SubsampledGaussian,
        *,
        optimizer: Any,
        max_grad_norm: float,
        expected_batch_size: float,
        public: Callable[[], Any] | None = None,
        numerics: str = "exact",
    ) -> Iterator[None]:
        """DP-SGD on units, a charged step for each ``next``; it yields nothing and ends with the last planned step.

        The parameters of `module` (a `torch.nn.Module` of listed layers, see `dpsynth.layers`) are stepped in place by
        `optimizer` (a `torch.optim.Optimizer` of them). They are public: between steps they may be read, clipped or
        averaged, and the learning rate set.

        Args:
            module: what is trained, on the device where it is.
            loss: on one real row, from `dpsynth.training`.
            noise: the planned event; all its steps belong to this training.
            optimizer: sees noised gradients only.
            max_grad_norm: C, the most that one unit's gradient may be in L2.
            expected_batch_size: what the noisy sum is divided by: declared, such as ``sample_rate * about_rows``.
            public: called once a step; returns a scalar loss computed without rows (of fakes, or a penalty on
                parameters), whose gradient is added after the noise.
            numerics: ``exact``, or ``idealised``, which the recipe must declare (`numerics`) for its plan to say so.
        """
        ...


@runtime_checkable
class Model(Protocol):
    """A fitted model: public from the moment it exists, saved as JSON and plain arrays."""

    @property
    def domain(self) -> Domain:
        """The encoded domain it samples in."""
        ...

    @property
    def total(self) -> float:
        """The noisy estimate of the number of rows, at least 1."""
        ...

    def sample(self, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
        """`rows` encoded rows. With `given`, ``rows`` equals its length and those columns are kept as given."""
        ...

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Expected counts over `clique` in the model's domain, scaled to ``total``."""
        ...

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON header (with ``kind``) and the arrays: all there is of the model, deterministic."""
        ...


class Generator(Protocol):
    """A frozen recipe. ``name`` and ``parameters()`` are what the plan, the ledger and the certificate record.

    One that trains with idealised numerics says so in an attribute ``numerics = "idealised"``; without it a plan claims
    ``exact``. One that can tell from a plan that little will come of it has a method ``warnings(plan)``: lines that are
    shown beside the plan, made of settings and declared figures. One that can learn from public rows before it meets
    the private table says ``starts_from_public = True``, and its ``fit`` takes their codes as ``public``: they cost
    nothing, and plan and certificate name them.
    """

    @property
    def name(self) -> str:
        """The recipe's short name, as on the command line."""
        ...

    def parameters(self) -> dict[str, Any]:
        """The recipe's settings as JSON values; ``type(self)(**parameters())`` equals it."""
        ...

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """Turn budget into noise, once, without rows.

        Raises:
            PlanError: the recipe cannot work within the allowance.
        """
        ...

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> Model:
        """Ask the planned looks and build the model from the answers alone."""
        ...


__all__ = ["Generator", "Hints", "Model", "PrivateTable", "Projectable"]

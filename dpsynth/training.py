"""What a generator names when it trains: the loss on real rows, as data. The kernel computes it (`kernel/losses.py`).

Every loss is a sum over rows of a function of one row, the module's parameters and randomness of that row's own.
A row enters as the one-hot codes of its columns, in domain order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from dpsynth.domain import Clique

CRITICS = ("wasserstein", "logistic", "hinge")
"""Real halves of a critic's loss: ``-D(x)``, ``softplus(-D(x))``, ``max(0, 1 - D(x))``."""


class NotReproducible(ValueError):
    """Arithmetic on this device depends on a row's place in a batch, so that exact numerics cannot be claimed."""


@final
@dataclass(frozen=True, slots=True)
class Likelihood:
    """``-log p(targets | inputs)``, summed over target columns: softmax cells, or ordinal ones.

    The module maps the one-hot cells of `inputs` to one logit for each cell of `targets`. With masked layers
    (`dpsynth.layers.made`) in which a column sees only those before it, this is an autoregressive network's likelihood
    (Germain et al. 2015, "MADE"); with one target, a classifier's.

    Attributes:
        inputs, targets: columns; empty means all.
        ordered: target columns with an ordinal likelihood (`dpsynth.layers.log_probabilities`).
    """

    inputs: Clique = ()
    targets: Clique = ()
    ordered: frozenset[str] = frozenset()

    def __init__(self, inputs: Iterable[str] = (), targets: Iterable[str] = (), ordered: Iterable[str] = ()) -> None:
        object.__setattr__(self, "inputs", tuple(inputs))
        object.__setattr__(self, "targets", tuple(targets))
        object.__setattr__(self, "ordered", frozenset(ordered))


@final
@dataclass(frozen=True, slots=True)
class EvidenceLowerBound:
    """The negative evidence lower bound of a variational autoencoder (Kingma and Welling 2014, equation 10).

    The module is a `torch.nn.ModuleDict` of ``encoder`` (one-hot row to `latent` means, then `latent` log variances)
    and ``decoder`` (latent code to one logit for each cell). The code of a row is drawn by the kernel's own randomness.

    Attributes:
        latent: dimensions of the code.
        beta: weight of the divergence from the standard normal prior (Higgins et al. 2017).
        ordered: columns with an ordinal likelihood.

    Raises:
        ValueError: no dimension, or a weight that is negative or not finite.
    """

    latent: int
    beta: float = 1.0
    ordered: frozenset[str] = frozenset()

    def __init__(self, latent: int, beta: float = 1.0, ordered: Iterable[str] = ()) -> None:
        if isinstance(latent, bool) or not isinstance(latent, int) or not 1 <= latent <= 4096:
            raise ValueError(f"latent must be a whole number from 1 to 4096, got {latent!r}")
        if not (0.0 <= beta < math.inf):
            raise ValueError(f"beta must be a finite number of at least 0, got {beta!r}")
        object.__setattr__(self, "latent", latent)
        object.__setattr__(self, "beta", float(beta))
        object.__setattr__(self, "ordered", frozenset(ordered))


@final
@dataclass(frozen=True, slots=True)
class Critic:
    """A critic's loss on real rows (Arjovsky et al. 2017; Goodfellow et al. 2014; Lim and Ye 2017).

    The module maps the one-hot row, followed by its condition, to one score. With `conditions`, each row draws one of
    these columns and its condition is its *own* value there: one-hot over all their cells, zero in the columns not
    drawn. Fake rows, and whatever penalises the critic on them, come in as a public loss (`PrivateTable.train`).

    Attributes:
        kind: one of ``wasserstein``, ``logistic``, ``hinge``.
        conditions: columns a row may be conditioned on; empty for none.

    Raises:
        ValueError: another kind.
    """

    kind: str = "wasserstein"
    conditions: Clique = ()

    def __init__(self, kind: str = "wasserstein", conditions: Iterable[str] = ()) -> None:
        if kind not in CRITICS:
            raise ValueError(f"kind must be one of {', '.join(CRITICS)}, got {kind!r}")
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "conditions", tuple(conditions))


KernelLoss = Likelihood | EvidenceLowerBound | Critic
"""The losses there are. Another one is a change of the kernel, reviewed with it."""

__all__ = ["CRITICS", "Critic", "EvidenceLowerBound", "KernelLoss", "Likelihood", "NotReproducible"]

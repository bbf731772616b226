"""Private selection among runs: a random, hidden number of runs of one mechanism, of which the best is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, final

from accountants.errors import BudgetError, EventError
from accountants.events.base import KernelEvent, probability, ranged
from accountants.events.pure import MAX_ETA, pure_mu_squared
from accountants.exact import ceil_decimal, ceil_float, precise, real, to_mp

if TYPE_CHECKING:
    from accountants.composition import NumericalProfile
    from accountants.events.registry import Event
    from accountants.profile import Profile


@final
@dataclass(frozen=True, slots=True)
class TruncatedNegativeBinomial:
    """Number of runs K >= 1 with ``E[x^K]' ~ (1 - (1-gamma) x)^-(shape+1)``: geometric for shape 1, logarithmic for 0.

    Attributes:
        shape: above -1, at most 10.
        gamma: above 0 and below 1; the smaller, the more runs. For shape 1 (geometric) E[K] = 1/gamma.
    """

    kind: ClassVar[str] = "truncated_negative_binomial"
    shape: float
    gamma: float

    def __post_init__(self) -> None:
        shape = real("shape", self.shape, EventError)
        if not Decimal("-0.999") <= shape <= 10:
            raise EventError(f"shape must lie between -0.999 and 10, got {self.shape!r}; the cost grows with 1 + shape")
        object.__setattr__(self, "shape", float(shape))
        object.__setattr__(self, "gamma", ranged("gamma", self.gamma, 1e-9, 1 - 1e-9, "it sets the number of runs"))

    def mean(self, mp: Any) -> Any:
        """E[K] (Papernot and Steinke 2022, Definition 1)."""
        eta, gamma = mp.mpf(self.shape), mp.mpf(self.gamma)
        if eta == 0:
            return (1 / gamma - 1) / mp.log(1 / gamma)
        return eta * (1 - gamma) / (gamma * (1 - gamma**eta))


@final
@dataclass(frozen=True, slots=True)
class PoissonRuns:
    """Number of runs K ~ Poisson(mean_runs); with K = 0 nothing is shown.

    Attributes:
        mean_runs: E[K], above 0, at most 1e6.
    """

    kind: ClassVar[str] = "poisson"
    mean_runs: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean_runs", ranged("mean_runs", self.mean_runs, 1e-6, 1e6, "it is E[K]"))

    def mean(self, mp: Any) -> Any:
        """E[K]."""
        return mp.mpf(self.mean_runs)


Runs = TruncatedNegativeBinomial | PoissonRuns


@final
@dataclass(frozen=True, slots=True)
class PrivateSelection(KernelEvent):
    """The best of K runs of one mechanism, K random and never shown (hyper-parameter tuning, early stopping).

    Attributes:
        base: the looks of one run, the one that scores it included.
        runs: how K is drawn.
        delta: the chance of no protection that is allowed for; 0 only where every look of `base` is pure.

    **Guarantee.** (epsilon, delta)-DP for the `epsilon` below, whatever the quality score. With the base's profile
    ``d``, ``m = E[K]`` and any ``t >= 0``: ``delta(e + (1+shape) log(e^t + (1-gamma) d(t)/gamma)) <= m d(e)`` for
    the truncated negative binomial, and ``delta(e + m d(0)) <= m d(e)`` for Poisson (after Liu and Talwar 2019;
    Papernot and Steinke 2022; Koskela, Redberg, Wang 2024). See docs/proofs/selection_among_runs.md. A *fixed*
    number of runs is that many compositions instead.

    Raises:
        EventError: no base, a base that is itself a selection or no event, or impossible parameters; its `epsilon`, if
            it is more than 100.
    """

    kind: ClassVar[str] = "private_selection"
    assumptions: ClassVar[tuple[str, ...]] = ("the number of runs is drawn as declared and never shown",)
    base: tuple[Event, ...]
    runs: Runs
    delta: Decimal

    def __init__(self, base: Iterable[Event], runs: Runs, delta: float | str | Decimal = Decimal("1e-12")) -> None:
        if not isinstance(base, Iterable):
            raise EventError(f"base must be the looks of one run, got {type(base).__name__}")
        object.__setattr__(self, "base", tuple(base))
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "delta", probability("delta", delta, zero=True))
        if not self.base or any(isinstance(each, PrivateSelection) or not _is_event(each) for each in self.base):
            raise EventError("base must be the looks of one run, at least one and no selection among runs itself")
        if not isinstance(runs, TruncatedNegativeBinomial | PoissonRuns):
            raise EventError(f"runs must be TruncatedNegativeBinomial or PoissonRuns, got {type(runs).__name__}")

    @property
    def epsilon(self) -> float:
        """Epsilon of the selection at `delta`, rounded up.

        Raises:
            EventError: no epsilon of at most 100 is enough at `delta`.
        """
        return _epsilon(self)

    @property
    def mu_squared(self) -> Decimal:
        """mu^2 of the pure epsilon, as for any mechanism that fails with probability delta0; rounded up."""
        return pure_mu_squared(Decimal(self.epsilon))

    @property
    def delta0(self) -> Decimal:
        """The declared delta."""
        return self.delta


def _is_event(value: object) -> bool:
    return isinstance(getattr(value, "kind", None), str) and hasattr(type(value), "mu_squared")


@lru_cache(maxsize=256)
def _epsilon(event: PrivateSelection) -> float:
    # A selection's base is composed like any plan; but events come first, so the import waits.
    from accountants.composition import compose
    from accountants.parts import Parts

    base, runs = compose(event.base), event.runs
    pure = Parts.of(event.base).pure_epsilon
    if pure is None and not event.delta:
        raise EventError("delta may be 0 only where every look of a run is pure; declare one such as 1e-12")
    with precise() as mp:
        mean = mp.mpf(ceil_float(ceil_decimal(runs.mean(mp))))
        # The least epsilon at which the base's delta, times E[K], is within the declared one.
        share = to_mp(mp, event.delta) / mean
        own = (
            ceil_float(pure)
            if pure is not None
            else _own(base, Decimal(mp.nstr(share * mp.mpf("0.999999"), 30)), event)
        )
        match runs:
            case PoissonRuns():
                worst = mean * mp.mpf(base.delta(0.0))
            case TruncatedNegativeBinomial(shape=shape, gamma=gamma):
                factor = (1 - mp.mpf(gamma)) / mp.mpf(gamma)
                points = [(own, 0.0)] if pure is not None else []
                points += [(own * i / 32, base.delta(own * i / 32)) for i in range(0 if event.delta else 33, 49)]
                ratio = min(mp.exp(mp.mpf(t)) + factor * mp.mpf(d) for t, d in points)
                worst = (1 + mp.mpf(shape)) * mp.log(ratio)
        epsilon = ceil_float(ceil_decimal(mp.mpf(own) + worst))
    if not epsilon <= MAX_ETA:
        raise EventError(f"the selection costs epsilon {epsilon:.4g}, which protects nothing; allow fewer runs")
    return epsilon


def _own(base: Profile | NumericalProfile, delta: Decimal, event: PrivateSelection) -> float:
    """The least epsilon at which one run is within `delta`."""
    try:
        return base.epsilon(min(delta, Decimal("0.5")))
    except BudgetError:
        raise EventError(
            f"no epsilon is enough at delta {event.delta}: one run alone fails too often for that many runs; "
            "declare a larger delta or fewer runs"
        ) from None


__all__ = ["PoissonRuns", "PrivateSelection", "Runs", "TruncatedNegativeBinomial"]

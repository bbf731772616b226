"""Tier 1: each look of the kernel by statistics: what an attacker who may choose everything but the noise can tell.

Every audit states the epsilon that its event is charged for at some delta, and a lower bound on it from draws. The
faults planted beside it are those that published code had (docs/audits.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from accountants import Event, ExponentialMechanism, Gaussian, SubsampledGaussian, Thresholding, compose
from dpsynth.audit.bounds import allowed_distance, clopper_pearson, farthest, lower_bound
from dpsynth.audit.draws import HONEST, Drawing, Faulty, Floats, K, Planted, choices, counts, moments, steps
from dpsynth.audit.enumeration import Asked, widest
from dpsynth.audit.findings import FALSE_ALARM, Control, Finding
from dpsynth.kernel.noise import Noise

SLOWER = 10
"""A step of a training takes ten times as long as a count: so many times fewer are drawn."""
_CONTROLS, _SLOW_CONTROLS = 20_000, 6_000
"""Draws that suffice for a control, of a quick look and of a slow one."""
_FEWEST = 2_000
"""Of a slow look, however few are asked for."""

Draw = Callable[[Drawing, Planted], tuple[Floats, Floats]]

HALF_NOISE = Planted("half the noise", lambda noise: Faulty(noise, spread=0.5))
DOUBLED = Planted("every row counted twice (doubled sensitivity)", units=2)
NO_BOUND = Planted("rows taken for units (k ignored)", apart=True)
ONE_SIDED = Planted("a one-sided score (the 2 left out)", lambda noise: Faulty(noise, steepness=2.0))
NO_WEIGHTS = Planted("weights left out of the sensitivity", lambda noise: Faulty(noise, steepness=3.0))
NO_ROOT = Planted("noise for one marginal under four of them", lambda noise: Faulty(noise, spread=0.5))
SHUFFLED = Planted("a fixed number of a shuffled order instead of Poisson sampling", lambda n: Faulty(n, shuffled=True))
FAVOURED = Planted("a rare unit sampled more often than others", lambda noise: Faulty(noise, favoured=True))


@dataclass(frozen=True, slots=True)
class Look:
    """A look that is drawn and held against its event.

    Attributes:
        name: in the table.
        event: what one draw is charged as.
        delta: at which epsilon is compared: one that draws can reach. The claim is for every delta.
        draw: on two neighbouring tables.
        faults: planted.
        slower: divides the number of draws.
    """

    name: str
    event: Event
    delta: float
    draw: Draw
    faults: tuple[Planted, ...]
    slower: int = 1

    def audit(self, drawing: Drawing) -> Finding:
        """The bound from honest draws, and whether it passes the claim for every planted fault."""
        claimed = compose([self.event]).epsilon(self.delta)
        mu = math.sqrt(self.event.mu_squared)
        drawing = Drawing(max(_FEWEST, drawing.draws // self.slower), drawing.source)
        enough = _CONTROLS if self.slower == 1 else _SLOW_CONTROLS
        fewer = Drawing(min(drawing.draws, enough), drawing.source)
        found = lower_bound(*self.draw(drawing, HONEST), self.delta, FALSE_ALARM)
        controls = []
        for planted in self.faults:
            wrong = lower_bound(*self.draw(fewer, planted), self.delta, FALSE_ALARM)
            caught = wrong.epsilon > claimed or wrong.mu > mu
            said = f"epsilon at least {wrong.epsilon:.3g} of {claimed:.3g}, mu {wrong.mu:.3g} of {mu:.3g}"
            controls.append(Control(planted.fault, caught, said))
        beyond = f"it is charged as what a Gaussian of mu {mu:.4g} dominates, and shows mu of at least {found.mu:.4g}"
        return Finding(
            self.name,
            1,
            "epsilon",
            claimed,
            found.epsilon,
            delta=self.delta,
            confidence=1.0 - FALSE_ALARM,
            controls=tuple(controls),
            violations=(beyond,) if found.mu > mu else (),
            note=f"{drawing.draws} draws on each of two neighbours, k = {K}; mu at least {found.mu:.3f} of {mu:.3f}",
        )


_FOUR = (("a",), ("b",), ("a", "b"), ("c",))
_COUNT, _ETA = Gaussian(1.0), ExponentialMechanism(3.0)
_STEP, _SAMPLE = SubsampledGaussian(0.7, 0.3, 1), SubsampledGaussian(0.5, 0.5, 1)

LOOKS: tuple[Look, ...] = (
    Look(
        "count",
        _COUNT,
        0.01,
        lambda drawing, planted: counts([("a", "b", "c")], _COUNT, drawing, planted),
        (HALF_NOISE, DOUBLED, NO_BOUND),
    ),
    Look(
        "count of four marginals",
        _COUNT,
        0.01,
        lambda drawing, planted: counts(_FOUR, _COUNT, drawing, planted),
        (NO_ROOT, DOUBLED, NO_BOUND),
    ),
    Look(
        "select",
        _ETA,
        0.001,
        lambda drawing, planted: choices(_ETA, 3, 0.05, drawing, planted),
        (ONE_SIDED, NO_WEIGHTS, DOUBLED, NO_BOUND),
    ),
)
"""Looks that need nothing but the kernel."""
TRAININGS: tuple[Look, ...] = (
    Look(
        "step of a training",
        _STEP,
        0.05,
        lambda drawing, planted: steps(_STEP, 0, drawing, planted),
        (HALF_NOISE, NO_BOUND, FAVOURED),
        SLOWER,
    ),
    Look(
        "sample of a training",
        _SAMPLE,
        0.1,
        lambda drawing, planted: steps(_SAMPLE, 3, drawing, planted),
        (SHUFFLED,),
        SLOWER,
    ),
)
"""Looks that need PyTorch."""
MOMENTS = Look(
    "moments",
    _COUNT,
    0.01,
    lambda drawing, planted: moments(_COUNT, drawing, planted),
    (HALF_NOISE, DOUBLED, NO_BOUND),
)


def audit_gaussian(drawing: Drawing, sigmas: Sequence[float] = (0.4, 3.0, 50.0)) -> Finding:
    """The rounded Gaussian against its distribution function ``Phi((n + 1/2)/sigma)``."""

    def distance(spread: float) -> float:
        found = []
        for sigma in sigmas:
            values = drawing.source().rounded_gaussian(sigma * spread, drawing.draws)
            found.append(farthest(values, lambda n, sigma=sigma: ndtr((n + 0.5) / sigma)))  # type: ignore[misc]
        return max(found)

    return _distance("rounded Gaussian", drawing, len(sigmas), distance, ((0.5, "half the noise"),))


def audit_repeats(drawing: Drawing) -> Finding:
    """Noise of two runs, place by place: as often equal as independent noise is, and no oftener."""
    sigma = 1000.0
    by_chance = 0.5 / (sigma * math.sqrt(math.pi))

    def equal(one: Noise, other: Noise) -> float:
        size = drawing.draws
        hits = int(np.count_nonzero(one.rounded_gaussian(sigma, size) == other.rounded_gaussian(sigma, size)))
        return clopper_pearson(hits, size, FALSE_ALARM)[0]

    same = drawing.source().key()
    seeded = equal(*(Noise(_Repeated(same)) for _ in range(2)))
    return Finding(
        "noise of two runs",
        1,
        "equal draws",
        by_chance,
        equal(drawing.source(), drawing.source()),
        confidence=1.0 - FALSE_ALARM,
        controls=(Control("a seed for the noise", seeded > by_chance, f"at least {seeded:.2%} are equal"),),
        note=f"{drawing.draws} draws of sigma {sigma:g}",
    )


class _Repeated:
    """Words that follow from a key: a noise seed, planted."""

    def __init__(self, key: bytes) -> None:
        self._words = np.random.PCG64(list(key))

    def words(self, count: int) -> NDArray[np.uint64]:
        return np.asarray(self._words.random_raw(count), dtype=np.uint64)


def audit_sampler(drawing: Drawing) -> Finding:
    """The sampler of selections against the exponential mechanism, with few candidates and with many."""
    few = [0, 3, 5, -2, 0]
    cases = [few, [(7 * i) % 50 for i in range(100)]]

    def distance(steepness: float) -> float:
        found = []
        for scores in cases:
            source, rate = drawing.source(), 0.8
            values = np.array([source.choose(scores, rate * steepness, 2) for _ in range(drawing.draws)])
            weights = np.exp(rate * (np.array(scores) - max(scores)) / 4.0)
            below = np.r_[0.0, np.cumsum(weights) / weights.sum()]
            found.append(farthest(values, lambda n, below=below: below[np.asarray(n) + 1]))  # type: ignore[misc]
        return max(found)

    return _distance("sampler of selections", drawing, len(cases), distance, ((2.0, "the 2 left out"),))


def _distance(
    name: str,
    drawing: Drawing,
    tests: int,
    distance: Callable[[float], float],
    faults: Sequence[tuple[float, str]],
) -> Finding:
    allowed = allowed_distance(drawing.draws, FALSE_ALARM / tests)
    controls = [Control(fault, (off := distance(factor)) > allowed, f"{off:.4f} apart") for factor, fault in faults]
    return Finding(
        name,
        1,
        "distance",
        allowed,
        distance(1.0),
        confidence=1.0 - FALSE_ALARM,
        controls=tuple(controls),
        note=f"{drawing.draws} draws, largest gap of distribution functions (Dvoretzky, Kiefer, Wolfowitz; Massart)",
    )


def audit_selections() -> Finding:
    """Selections on every table of a tiny domain, exactly."""
    noise, even = ExponentialMechanism(0.9), (3, 3, 3)
    found = [widest(Asked(noise, weights)) for weights in ((1, 1, 1), even, (2, 5, 1))]
    faults = {"a one-sided score (the 2 left out)": 2.0, "weights left out of the sensitivity": 3.0}
    controls = []
    for fault, steepness in faults.items():
        spread, _ = widest(Asked(noise, even, steepness))
        controls.append(Control(fault, float(spread) > noise.eta, f"range {float(spread):.4g}"))
    worst = max(spread for spread, _ in found)
    return Finding(
        "selections enumerated",
        1,
        "range",
        noise.eta,
        float(worst) if worst > noise.eta else min(float(worst), noise.eta),
        controls=tuple(controls),
        note=f"{sum(pairs for _, pairs in found)} pairs of neighbouring tables, k = {K}",
    )


def audit_threshold(drawing: Drawing, event: Thresholding | None = None) -> Finding:
    """The threshold of `Thresholding`: a key of one unit alone is shown with probability at most delta, whatever keys.

    There is no look that shows keys yet; the event's threshold is drawn with the kernel's noise.
    """
    event = Thresholding(10.0, Decimal("0.01")) if event is None else event

    def shown(threshold: int) -> int:
        noise: NDArray[np.int64] = drawing.source().rounded_gaussian(event.noise_multiplier * K, drawing.draws * K)
        return int(np.count_nonzero((1 + noise.reshape(-1, K) > threshold).any(axis=1)))

    one_key = Thresholding(event.noise_multiplier, 1 - (1 - event.delta) ** K)
    (low, _), (wrong, _) = (
        clopper_pearson(shown(each.threshold(K)), drawing.draws, FALSE_ALARM) for each in (event, one_key)
    )
    delta = float(event.delta)
    return Finding(
        "threshold of new keys",
        1,
        "delta",
        delta,
        low,
        confidence=1.0 - FALSE_ALARM,
        controls=(Control("delta charged once for k keys", wrong > delta, f"delta at least {wrong:.4g}"),),
        note=f"{drawing.draws} draws of a unit with k = {K} keys of its own",
    )


__all__ = [
    "LOOKS",
    "MOMENTS",
    "TRAININGS",
    "Look",
    "audit_gaussian",
    "audit_repeats",
    "audit_sampler",
    "audit_selections",
    "audit_threshold",
]

"""Privacy loss distributions: a fixed plan as one numerical profile, an upper bound in both directions.

Discretised by "connect the dots" (Doroshenko et al. 2022) and composed by FFT on dp-accounting's low-level
primitives, a unit added and a unit removed kept apart. Every step rounds towards less privacy; what floating-point
transforms may lose is added to every delta as `Pair.guard`. The library's own event classes and its
``compose(event, count)`` are never used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from accountants.errors import PlanError
from accountants.events import ExponentialMechanism, Laplace, RandomizedResponse, SubsampledGaussian
from accountants.exact import DOWN, floor_float
from accountants.parts import Look, Parts

GUARD = 1e-12
"""Least delta that transforms in double precision can tell from nothing; added to every delta of a `Pair`."""
MAX_CELLS = 2**20
"""Most cells one look may have: the grid is made coarser (a looser bound) rather than the memory larger."""
FINE, COARSE = 64, 8
"""Grid cells to a standard deviation of one look: 64 puts epsilon within about 0.003 %, 8 within 0.2 %."""

_FEW = 64
"""So few looks are put on a grid 16 times as fine where one is not smooth (pure mechanisms), at little cost."""
_SMOOTH = 2e-6
"""Masses of a sampled look are second differences of a profile in doubles: on finer grids rounding outweighs them."""
_TAIL = 1e-15
Array = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """One direction's profile, exactly linear in ``e^g`` between the knots of a grid.

    Attributes:
        losses: knots g, increasing.
        deltas: hockey-stick divergence at each, the mass at infinity included.
        infinite: mass at infinity, all there is above the last knot.
    """

    losses: Array
    deltas: Array
    infinite: float

    @classmethod
    def of(cls, pmf: Any) -> Direction:
        """From a PMF of the library, whose grid has no public accessor."""
        dense = pmf.to_dense_pmf()
        losses = (np.arange(dense.size) + dense._lower_loss) * dense._discretization
        # Rounding noise is left as it falls, of either sign: cut at 0 it would add up over the cells of a tail.
        probs = np.asarray(dense._probs, dtype=np.float64)
        kept = losses >= -60.0  # what lies lower matters to no profile at g >= -60
        losses, probs = losses[kept], probs[kept]
        # Summed from the top, so that the small masses of the tail are not lost in the bulk.
        above = np.cumsum(probs[::-1])[::-1]
        scaled = np.cumsum((probs * np.exp(-losses))[::-1])[::-1]
        after, after_scaled = np.append(above[1:], 0.0), np.append(scaled[1:], 0.0)
        infinite = float(dense._infinity_mass)
        deltas = infinite + np.maximum(after - np.exp(np.minimum(losses, 700.0)) * after_scaled, 0.0)
        return cls(losses, np.maximum.accumulate(deltas[::-1])[::-1], infinite)

    def at(self, losses: Array) -> Array:
        """The profile at each g: linear in ``e^g`` between knots; 1 below the grid, the infinite mass above it."""
        found: Array = np.interp(
            np.exp(np.minimum(losses, 700.0)), self.scale, self.deltas, left=1.0, right=self.infinite
        )
        return found

    @property
    def scale(self) -> Array:
        """``e^g`` at the knots."""
        scale: Array = np.exp(np.minimum(self.losses, 700.0))
        return scale

    def epsilon(self, delta: float) -> float:
        """The smallest g >= 0 whose profile is within `delta`; infinity where there is none."""
        if self.infinite > delta:
            return math.inf
        if float(self.at(np.zeros(1))[0]) <= delta:
            return 0.0
        over = np.flatnonzero(self.deltas > delta)
        last = int(over[-1]) if over.size else -1
        if last < 0:
            return max(0.0, float(self.losses[0]))
        if last + 1 == len(self.losses):
            return max(0.0, float(self.losses[last]))
        x, d = self.scale[last : last + 2], self.deltas[last : last + 2]
        share = (d[0] - delta) / (d[0] - d[1])
        return max(0.0, float(self.losses[last] + math.log1p(share * (x[1] - x[0]) / x[0])))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Both directions of a composition.

    Attributes:
        remove, add: a unit removed, a unit added.
        guard: what rounding in the transforms may have lost, to be added to every delta.
    """

    remove: Direction
    add: Direction
    guard: float

    def delta(self, epsilon: float) -> float:
        """The larger of the two, guard included."""
        at = np.array([epsilon])
        return min(1.0, max(float(self.remove.at(at)[0]), float(self.add.at(at)[0])) + self.guard)

    def epsilon(self, delta: float) -> float:
        """The larger of the two at `delta` less the guard; infinity where that leaves nothing."""
        left = delta - self.guard
        return max(self.remove.epsilon(left), self.add.epsilon(left)) if left > 0 else math.inf


@lru_cache(maxsize=64)
def pair_of(parts: Parts, fineness: int = FINE) -> Pair:
    """The distribution of `parts` without their `delta0`.

    Args:
        parts: at least one look or some Gaussian noise.
        fineness: grid cells to a standard deviation, `FINE` or `COARSE`.
    """
    grid = _grid(parts, fineness)
    total: Any = None
    for part, count in _counted(parts):
        one = _single(part, grid)
        many = one.self_compose(count, _TAIL) if count > 1 else one
        total = many if total is None else total.compose(many, _TAIL)
    rounds = sum(count for _, count in _counted(parts))
    guard = max(GUARD, rounds * 2.0**-50)
    return Pair(Direction.of(total._pmf_remove), Direction.of(total._pmf_add), guard)


def _counted(parts: Parts) -> list[tuple[Look | float, int]]:
    """Each kind of look with its count; all Gaussian noise is one noise multiplier."""
    noise: list[tuple[Look | float, int]] = []
    if parts.mu_squared:
        noise = [(floor_float(DOWN.divide(1, DOWN.sqrt(parts.mu_squared).next_plus())), 1)]
    return [*noise, *parts.looks]


def _grid(parts: Parts, fineness: int) -> float:
    """The cell width: a share of the typical standard deviation of one look, coarser where a look spans too far."""
    counted = _counted(parts)
    looks = sum(count for _, count in counted)
    variance = sum(count * _deviation(part) ** 2 for part, count in counted)
    typical = math.sqrt(variance / looks)
    kinked = looks <= _FEW and any(isinstance(part, (*_BOUNDED, Laplace)) for part, _ in counted)
    grid = max(typical / (16 * fineness if kinked else fineness), 1e-9)
    if any(isinstance(part, SubsampledGaussian) for part, _ in counted):
        grid = max(grid, min(_SMOOTH, typical / 4))
    grid = max([grid, *(_span(part) * FINE / (MAX_CELLS * fineness) for part, _ in counted)])
    # A composition spreads over its drift and some standard deviations; that is bounded too.
    grid = max(grid, (variance / 2 + 16 * math.sqrt(variance)) / (16 * MAX_CELLS))
    widest = max((_span(part) / 2 for part, _ in counted if isinstance(part, _BOUNDED)), default=0.0)
    return widest / math.floor(widest / grid) if widest >= grid else grid  # its extremes then lie on the grid


_BOUNDED = (ExponentialMechanism, RandomizedResponse)


def _edge(width: float, grid: float) -> int:
    """The knot at or above `width`, whose quotient by the grid may be off by its last bit."""
    return max(1, math.ceil(width / grid * (1 - 4e-16)))


def _deviation(part: Look | float) -> float:
    """About the standard deviation of one look's loss: it steers the grid, nothing more."""
    match part:
        case ExponentialMechanism(eta=eta):
            return eta / math.sqrt(3)
        case Laplace(noise_multiplier=z):
            return 1 / z
        case RandomizedResponse(epsilon=epsilon):
            return max(epsilon / math.cosh(min(epsilon, 20.0) / 2), 1e-3 * epsilon)
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q):
            return min(q * math.sqrt(math.expm1(min(1 / z**2, 700.0))), 1 / z)
    return 1 / part


def _span(part: Look | float) -> float:
    match part:
        case ExponentialMechanism(eta=width) | RandomizedResponse(epsilon=width):
            return 2 * width
        case Laplace(noise_multiplier=z):
            return 2 / z
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q):
            reach = 12 / z + 1 / (2 * z * z)
            return 2 * (
                min(reach, math.log1p(q * math.expm1(min(reach, 700.0)))) + min(reach, -math.log1p(-min(q, 0.999999)))
            )
    return 2 * (12 / part + 1 / (2 * part**2))


def _single(part: Look | float, grid: float) -> Any:
    """One look's distribution in the library's terms, pessimistic."""
    from dp_accounting.pld import privacy_loss_distribution as library

    match part:
        case ExponentialMechanism(eta=eta):
            return _symmetric(grid, *_bounded_range(eta, grid))
        case RandomizedResponse(epsilon=epsilon):
            return _symmetric(grid, *_two_points(epsilon, grid))
        case Laplace(noise_multiplier=z):
            return library.from_laplace_mechanism(z, value_discretization_interval=grid, use_connect_dots=True)
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q):
            noise, rate = z, q
        case _:
            noise, rate = part, 1.0
    if _span(part) / grid > 2 * MAX_CELLS:
        raise PlanError(f"noise multiplier {noise:.3g} is too little for a privacy loss distribution; add noise")
    return _sampled_gaussian(noise, rate, grid)


def _sampled_gaussian(noise: float, rate: float, grid: float) -> Any:
    """As the library makes it, which inverts the losses one by one (nine tenths of its time); here all at once.

    A hockey-stick divergence at g is an integral up to the place where the loss is g. With ``e^g = 1 - q + q e^l``
    that is where the Gaussian's own loss is l: ``-1/2 - l noise^2`` for a unit removed, mirrored for one added.
    """
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as library
    from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType, GaussianPrivacyLoss

    def side(adjacency: AdjacencyType, sign: float) -> Any:
        step = GaussianPrivacyLoss(noise, sampling_prob=rate, adjacency_type=adjacency)
        ends = step.connect_dots_bounds()
        lowest, highest = math.floor(ends.epsilon_lower / grid), math.ceil(ends.epsilon_upper / grid)
        losses = np.arange(lowest, highest + 1) * grid
        places = -0.5 * sign - _unsampled(sign * losses, rate) * sign * noise**2
        deltas = step.mu_upper_cdf(places) - np.exp(losses + step.mu_lower_log_cdf(places))
        return pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(grid, lowest, highest, np.clip(deltas, 0.0, 1.0))

    removed = side(AdjacencyType.REMOVE, 1.0)
    if rate == 1.0:
        return library.PrivacyLossDistribution(removed)
    return library.PrivacyLossDistribution(removed, side(AdjacencyType.ADD, -1.0))


def _unsampled(losses: Array, rate: float) -> Array:
    """``log(1 + (e^g - 1)/q)``, the loss without sampling; minus infinity where sampling allows none so low."""
    if rate == 1.0:
        return losses
    near = np.maximum(np.expm1(np.minimum(losses, 1.0)) / rate, -1.0)
    far = np.maximum(losses, 1.0)
    beyond = far - math.log(rate) + np.log1p(-(1 - rate) * np.exp(-far))
    with np.errstate(divide="ignore"):
        found: Array = np.where(losses < 1.0, np.log1p(near), beyond)
    return found


def _symmetric(grid: float, lowest: int, probs: Array) -> Any:
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as library

    return library.PrivacyLossDistribution(pld_pmf.DensePLDPmf(grid, lowest, probs, 0.0, True))


def _bounded_range(eta: float, grid: float) -> tuple[int, Array]:
    """Bounded range eta: density ``e^(l/2) / (4 sinh(eta/2)) ...`` of the loss on [-eta, eta], each cell to its two
    ends.

    The envelope ``(e^(eta/2) - e^(g/2))^2/(e^eta - 1)`` has loss masses ``P = C (e^(v/2) - e^(u/2))`` and
    ``Q = C (e^(-u/2) - e^(-v/2))`` on [u, v] with ``C = e^(eta/2)/(e^eta - 1)``. Moving a cell's mass to its ends so
    that both P and Q stay is what connecting the dots does.
    """
    edge = _edge(eta, grid)
    knots = np.arange(-edge, edge + 1) * grid
    low, high = np.clip(knots[:-1], -eta, eta), np.clip(knots[1:], -eta, eta)
    low[0], high[-1] = -eta, eta
    scale = 1 / (2 * math.sinh(eta / 2))
    over = scale * np.exp(low / 2) * np.expm1((high - low) / 2)
    under = scale * np.exp(-high / 2) * np.expm1((high - low) / 2)
    up = np.maximum((over - under * np.exp(knots[:-1])) / -math.expm1(-grid), 0.0)
    whole = (low == knots[:-1]) & (high == knots[1:])
    exact = scale * np.exp(knots[:-1] / 2) * 4 * math.sinh(grid / 4) ** 2 / -math.expm1(-grid)
    up = np.minimum(np.where(whole, exact, up), over)
    probs = np.zeros(len(knots))
    probs[:-1] += over - up
    probs[1:] += up
    return -edge, probs


def _two_points(epsilon: float, grid: float) -> tuple[int, Array]:
    """Losses +-epsilon with odds ``e^epsilon : 1``, each moved to the ends of its cell with P and Q kept."""
    edge = _edge(epsilon, grid)
    probs = np.zeros(2 * edge + 1)
    for loss, mass in ((epsilon, 1 / (1 + math.exp(-epsilon))), (-epsilon, 1 / (1 + math.exp(epsilon)))):
        below = min(max(math.floor(loss / grid + 1e-12), -edge), edge)
        up = min(max(-math.expm1(below * grid - loss) / -math.expm1(-grid), 0.0), 1.0)
        probs[below + edge] += mass * (1 - up)
        if up:
            probs[min(below + 1, edge) + edge] += mass * up
    return -edge, probs


__all__ = ["COARSE", "FINE", "GUARD", "Direction", "Pair", "pair_of"]

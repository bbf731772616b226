"""Profiles between two piecewise-linear ones, composed on a grid: the numerics of the second accountant.

A privacy profile ``delta(x)``, ``x = e^g``, is convex, falls from 1 at x = 0 and lies above ``max(1 - x, 0)``. A
function made of straight lines with corners ``x_i = e^(i h)`` is the profile of a loss on the grid: its mass at ``i
h`` is ``x_i`` times the change of slope there. Chords between corners lie above the profile. Chords lowered by the
most they can be above it, and made convex again, lie below. Both compose exactly by convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Array = NDArray[np.float64]
Profile = Callable[[Array], Array]

_OUTSIDE = 1e-16
"""Mass of a composition that may lie outside its window; it is in the error."""
_TAIL = 1e-20
"""Where a single look's profile has fallen to this, its grid ends (per look; what is left is kept as infinite loss)."""
_MOST_EPSILON = 300.0
"""Beyond it a profile in floats is not known to the error allowed for, and nothing is said; nor is it protection."""
_MOST_CELLS, _WIDEST_WINDOW = 2**20, 2**23
"""Most cells of all looks together, and of a composition. The grid is made coarser rather than the memory larger."""


@dataclass(frozen=True, slots=True)
class Look:
    """One kind of look.

    Attributes:
        removed, added: its profile as a function of an array of g >= 0, for a unit removed and a unit added. Below 0
            the one follows from the other: ``delta_removed(-g) = 1 - e^-g + e^-g delta_added(g)``.
        spread: about the standard deviation of its loss; steers the grid.
        count: how often it is asked.
        corner: a loss worth having on the grid; 0 for none.
    """

    removed: Profile
    added: Profile
    spread: float
    count: int
    corner: float


@dataclass(frozen=True, slots=True)
class _Masses:
    """Probabilities of the losses ``(lowest + i) h``, and of an infinite one."""

    lowest: int
    probs: Array
    infinite: float


def bounds_of(looks: list[Look], delta: float, spare: float = 0.0) -> tuple[float, float]:
    """(low, high) between which the epsilon of the composition lies at `delta`; infinity where there is none.

    Args:
        looks: at least one.
        delta: at which.
        spare: how far `delta` itself may be off.
    """
    count = sum(look.count for look in looks)
    spread = math.sqrt(sum(look.count * look.spread**2 for look in looks) / count)
    step = max(spread / (32 if count > 1000 else 256 if count > 64 else 2048), 1e-9)
    cells = _MOST_CELLS // len(looks)
    step = max([step, *(_reach(profile) / cells for look in looks for profile in (look.removed, look.added))])
    corner = max((look.corner for look in looks), default=0.0)
    if corner >= step:
        step = corner / math.floor(corner / step)
    error = max(1e-13, count * 2.0**-53) + 2 * _OUTSIDE
    if np.finfo(np.longdouble).eps > 2.0**-60:  # where long doubles are doubles, rounding was twice the usual bound
        error *= 8
    error += spare
    found = None
    while found is None:
        found = _bounds_on(looks, step, delta, error)
        step *= 4
    return found if found[1] <= _MOST_EPSILON else (0.0, math.inf)


def _bounds_on(looks: list[Look], step: float, delta: float, error: float) -> tuple[float, float] | None:
    """As `bounds_of`, on one grid; None where the composition is too wide for it."""
    low = high = 0.0
    sides = [[(look.removed, look.added, look.count) for look in looks]]
    if any(look.removed is not look.added for look in looks):
        sides.append([(look.added, look.removed, look.count) for look in looks])
    for side in sides:
        above, below = [], []
        for profile, reverse, count in side:
            lower, upper = _around(profile, reverse, step)
            below.append((lower, count))
            above.append((upper, count))
        over, under = _composed(above), _composed(below)
        if over is None or under is None:
            return None
        high = max(high, _epsilon(over, step, delta - error))
        low = max(low, _epsilon(under, step, delta + error))
    return low, high


def _reach(profile: Profile) -> float:
    """A g beyond which the profile is below `_TAIL`, by doubling and halving."""
    high = 1e-9
    while float(profile(np.array([high]))[0]) > _TAIL and high < 700:
        high *= 2
    return min(high, 700.0)


def _around(profile: Profile, reverse: Profile, step: float) -> tuple[_Masses, _Masses]:
    """Masses whose profiles lie below and above `profile`; `reverse` is that of the other direction."""
    bottom, top = -math.ceil(_reach(reverse) / step) - 1, math.ceil(_reach(profile) / step) + 1
    knots: Array = np.arange(bottom, top + 1, dtype=np.float64) * step
    x: Array = np.exp(knots)
    # What the profile has above its least, max(1 - x, 0): small numbers stay small on both sides.
    spare = np.empty(len(knots))
    spare[-bottom:] = np.clip(profile(knots[-bottom:]), 0.0, 1.0)
    spare[:-bottom] = x[:-bottom] * np.clip(reverse(-knots[:-bottom]), 0.0, 1.0)
    upper = _masses(bottom, x, spare, np.arange(len(x)))
    bend = np.maximum(_bends(x, spare), 0.0)
    # Between two corners the convex profile lies above its neighbours' chords drawn on: so far below its own chord
    # at most.
    before, after = bend[:-1], bend[1:]
    depth = np.divide(before * after, before + after, out=np.zeros_like(before), where=before + after > 0) * np.diff(x)
    drop = np.maximum(np.append(depth, 0.0), np.insert(depth, 0, 0.0))
    lowered = spare - drop
    lowered[-1] = 0.0
    # A corner that may not go as low as it should takes its neighbours down to the least profile with it.
    short = np.flatnonzero(lowered < 0)
    for near in (short, short - 1, short + 1):
        lowered[np.clip(near, 0, len(lowered) - 1)] = 0.0
    return _masses(bottom, x, lowered, _convex(x, lowered)), upper


def _bends(x: Array, spare: Array) -> Array:
    """The change of slope of ``max(1 - x, 0) + spare`` at each corner: from (0, 1), and level after the last."""
    wide = np.diff(np.insert(x, 0, 0.0))
    base = -np.diff(-np.maximum(1 - np.insert(x, 0, 0.0), 0.0)) / wide
    left = np.insert(x, 0, 0.0)[:-1] < 1
    base = np.where(left & (x <= 1), -1.0, np.where(left, base, 0.0))
    rise = np.diff(np.insert(spare, 0, 0.0)) / wide
    return np.diff(np.append(rise, 0.0)) + np.diff(np.append(base, 0.0))


def _convex(x: Array, spare: Array) -> NDArray[np.intp]:
    """Corners of the largest convex function on or below the points; the last is among them.

    A point above the chord of its neighbours is no corner: such points are dropped, and their neighbours looked at
    again, until there is none. Most points never are, so only those are touched one by one.
    """
    suspects = (np.flatnonzero(_bends(x, spare)[:-1] < 0) + 1).tolist()
    if not suspects:
        return np.arange(len(x))
    places, heights = [0.0, *x.tolist()], [0.0, *spare.tolist()]
    before, after = list(range(-1, len(places) - 1)), list(range(1, len(places) + 1))
    dropped = bytearray(len(places))

    def slope(left: int, right: int) -> float:
        wide = places[right] - places[left]
        base = max(1 - places[right], 0.0) - max(1 - places[left], 0.0)
        return float((heights[right] - heights[left]) / wide + (-1.0 if places[right] <= 1 else base / wide))

    while suspects:
        i = suspects.pop()
        left, right = before[i], after[i]
        if i == 0 or right == len(places) or dropped[i] or slope(i, right) >= slope(left, i):
            continue
        dropped[i] = 1
        after[left], before[right] = right, left
        suspects += [left, right]
    return np.flatnonzero(np.frombuffer(dropped, np.uint8)[1:] == 0)


def _masses(lowest: int, x: Array, spare: Array, corners: NDArray[np.intp]) -> _Masses:
    """The loss whose profile has those corners: straight from (0, 1) to the first, level after the last."""
    probs = np.zeros(len(x))
    probs[corners] = np.maximum(x[corners] * _bends(x[corners], spare[corners]), 0.0)
    return _Masses(lowest, probs, float(spare[-1]))


def _composed(parts: list[tuple[_Masses, int]]) -> _Masses | None:
    """Their convolution, on a window that holds all but `_OUTSIDE`; None where that is too wide."""
    low, high = _window(parts)
    if high - low > _WIDEST_WINDOW:
        return None
    size = next_fast_len(high - low + 1, real=True)
    spectrum = np.ones(size // 2 + 1, dtype=np.clongdouble)
    finite, offset = 0.0, 0
    for masses, count in parts:
        folded = np.zeros(size, dtype=np.longdouble)
        np.add.at(folded, np.arange(len(masses.probs)) % size, masses.probs)
        spectrum *= _power(rfft(folded), count)
        offset += masses.lowest * count
        finite += count * math.log1p(-min(masses.infinite, 1 - 1e-16))
    # Rounding noise is left as it falls, of either sign: cut at 0 it would add up over the cells of a tail.
    probs = np.roll(irfft(spectrum, size).astype(np.float64), (offset - low) % size)
    return _Masses(low, probs, -math.expm1(finite))


def _power(base: NDArray[np.clongdouble], count: int) -> NDArray[np.clongdouble]:
    """``base ** count`` by squaring: in long doubles it loses far less than the error allowed for."""
    result = np.ones_like(base)
    while count:
        if count & 1:
            result = result * base
        base, count = base * base, count >> 1
    return result


def _window(parts: list[tuple[_Masses, int]]) -> tuple[int, int]:
    """Cells outside which the sum falls with probability `_OUTSIDE` at most (Chernoff)."""
    variance, least, most = 0.0, 0, 0
    kept = []
    for masses, count in parts:
        cells = np.flatnonzero(masses.probs) + masses.lowest
        probs = masses.probs[cells - masses.lowest]
        mean = float(np.dot(cells, probs))
        variance += count * float(np.dot((cells - mean) ** 2, probs))
        least, most = least + count * int(cells[0]), most + count * int(cells[-1])
        kept.append((cells, np.log(probs), count))
    low, high, need = least, most, math.log(2 / _OUTSIDE)
    for rate in np.geomspace(3e-3, 30, 24) / max(math.sqrt(variance), 1.0):
        up = sum(count * _log_mean(rate * cells + logs) for cells, logs, count in kept)
        down = sum(count * _log_mean(-rate * cells + logs) for cells, logs, count in kept)
        high = min(high, math.ceil((up + need) / rate))
        low = max(low, math.floor(-(down + need) / rate))
    return low, max(high, low)


def _log_mean(exponents: Array) -> float:
    """``log sum exp``, without SciPy's extra copies."""
    top = float(exponents.max())
    return top + math.log(float(np.exp(exponents - top).sum()))


def _epsilon(masses: _Masses, step: float, delta: float) -> float:
    """The least epsilon >= 0 at which the profile is within `delta`."""
    if masses.infinite >= delta:
        return math.inf
    losses = (np.arange(len(masses.probs)) + masses.lowest) * step
    kept = losses > 0
    losses, probs = losses[kept], masses.probs[kept]
    mass = np.cumsum(probs[::-1])[::-1]
    shrunk = np.cumsum((probs * np.exp(-losses))[::-1])[::-1]
    # At g between two losses the profile is infinite + mass - e^g shrunk, both summed over the losses above g.
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.log((mass + masses.infinite - delta) / shrunk)
    starts = np.append(0.0, losses[:-1])
    over = np.flatnonzero(masses.infinite + mass - np.exp(starts) * shrunk > delta)
    if not over.size:
        return 0.0
    last = int(over[-1])
    return float(min(max(roots[last], starts[last]), losses[last]))


__all__ = ["Look", "bounds_of"]

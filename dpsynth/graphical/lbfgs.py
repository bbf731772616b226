"""A limited-memory quasi-Newton method for smooth, strictly convex functions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from dpsynth.graphical.factor import Array

Objective = Callable[[Array], tuple[float, Array]]
Close = Callable[[Array, Array], bool]


def minimise(
    objective: Objective, start: Array, scale: Array, close: Close, max_evaluations: int, memory: int = 8
) -> Array:
    """Minimise by L-BFGS (Nocedal & Wright 2006, algorithm 7.4) with a diagonal initial Hessian.

    Args:
        objective: value and gradient at a point.
        start: the first point, not modified.
        scale: positive; the inverse of a guess of the Hessian's diagonal.
        close: told (point, gradient); True ends the search.
        max_evaluations: the search also ends after this many calls of `objective`.
        memory: pairs of steps and gradient changes kept; each takes two arrays like `start`.

    Returns:
        The best point found: never worse than `start`.
    """
    point = start.copy()
    value, gradient = objective(point)
    evaluations = 1
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=memory)
    while evaluations < max_evaluations and not close(point, gradient):
        direction = _direction(gradient, pairs, scale)
        slope = float(direction @ gradient)
        if not slope < 0:  # rounding has eaten the curvature: begin again from steepest descent
            if not pairs:
                break
            pairs.clear()
            continue
        step = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(direction).max()))
        accepted = False
        while evaluations < max_evaluations:
            trial = point + step * direction
            trial_value, trial_gradient = objective(trial)
            evaluations += 1
            if trial_value <= value + 1e-4 * step * slope:
                accepted = True
                break
            # the minimum of the parabola through value, slope and the trial value, kept inside [0.1, 0.5]
            bend = 2.0 * (trial_value - value - step * slope)
            step *= min(0.5, max(0.1, -slope * step / bend)) if bend > 0 else 0.5
            if step < 1e-12:
                break
        if not accepted:
            if not pairs:
                break
            pairs.clear()
            continue
        moved, change = trial - point, trial_gradient - gradient
        curvature = float(moved @ change)
        if curvature > 1e-12 * float(moved @ moved) * 1e-6:
            pairs.append((moved, change, curvature))
        point, value, gradient = trial, trial_value, trial_gradient
    return point


def _direction(gradient: Array, pairs: deque[tuple[Array, Array, float]], scale: Array) -> Array:
    """Minus the inverse-Hessian guess times the gradient (the two-loop recursion)."""
    q = -gradient
    weights = []
    for moved, change, curvature in reversed(pairs):
        a = float(moved @ q) / curvature
        q = q - a * change
        weights.append(a)
    if pairs:
        moved, change, curvature = pairs[-1]
        q = q * scale * (curvature / float(change @ (scale * change)))
    else:
        q = q * scale
    for (moved, change, curvature), a in zip(pairs, reversed(weights), strict=True):
        q = q + (a - float(change @ q) / curvature) * moved
    return q


__all__ = ["minimise"]

"""After training: pairs that the network gets most wrong are counted, and its rows weighted to fit them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, FixedPlan, Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Clique, Codes
from dpsynth.generators.deep.start import Start
from dpsynth.generators.deep.tilt import Tilt
from dpsynth.graphical import measured
from dpsynth.graphical.factor import Array
from dpsynth.graphical.particles import Particles
from dpsynth.hints import Hints
from dpsynth.progress import report

PARTICLES = 100_000
_FITS = 4
"""Fits of the tilt, after equal parts of the rounds."""
_HALF_NORMAL = math.sqrt(2 / math.pi)


def tilted(
    start: Start, draw: Callable[[], Codes], plan: Plan, hints: Hints, *, stage: str = "pairs", done: float = 0.0
) -> Tilt:
    """Ask the looks that a plan has after its training, and fit the tilt.

    A round chooses among all pairs not yet counted by how far the network's rows, weighted so far, are from the real
    ones, less what the noise of counting them would be (as AIM does, McKenna et al. 2022); then counts the pair chosen.
    Where every pair is counted, one-ways are asked in its place.

    Args:
        start: with the view of merged cells.
        draw: `PARTICLES` rows of the network.
        plan: of the recipe.
        hints: of the schema.
        stage, done: name for progress, and how much of it is done before the first pair; a stage of their own
            by default.
    """
    looks = _after_training(plan)
    if not looks:
        return Tilt()
    particles, view = Particles(start.domain, draw()), start.view
    measurements, tilt = list(start.found.merged), Tilt()
    weights: Array = np.full(particles.rows, 1.0 / particles.rows)
    open_: list[Clique] = list(combinations(start.domain.attributes, 2))
    often = max(1, math.ceil(len(looks) / _FITS))
    for i, (choice, noise) in enumerate(looks, start=1):
        candidates = open_ or [(a,) for a in start.domain.attributes]
        cell = _HALF_NORMAL * noise.noise_multiplier * hints.at_most
        expected = _Weighted(particles, weights, start.total)
        penalties = [round(cell * start.domain.size(c)) for c in candidates]
        found = view.select(candidates, expected, choice, penalties=penalties)
        measurements += measured([view.count(found, noise)])
        open_ = [c for c in open_ if c != found]
        if i % often == 0 or i == len(looks):
            tilt, weights = Tilt.fitted(particles, measurements, start.total, tilt)
        report(
            stage, done + (1.0 - done) * i / len(looks), f"pair {i} of {len(looks)}, noise of {cell:.0f} rows a cell"
        )
    return tilt


def _after_training(plan: Plan) -> Sequence[tuple[ExponentialMechanism, Gaussian]]:
    events = plan.events if isinstance(plan, FixedPlan) else ()
    trained = next((i for i, event in enumerate(events) if isinstance(event, SubsampledGaussian)), len(events))
    choices = [event for event in events[trained:] if isinstance(event, ExponentialMechanism)]
    counts = [event for event in events[trained:] if isinstance(event, Gaussian)]
    return list(zip(choices, counts, strict=True))


class _Weighted:
    """Expected counts of weighted particles."""

    def __init__(self, particles: Particles, weights: Array, total: float) -> None:
        self._particles, self._weights, self._total = particles, weights, total

    def project(self, clique: Clique) -> NDArray[np.float64]:
        return self._particles.marginal(clique, self._weights) * self._total


__all__ = ["PARTICLES", "tilted"]

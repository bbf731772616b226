"""Noisy histograms cleaned by empirical Bayes: what is learned from all cells of a column, told of each.

Everything here is a function of noisy counts and of the noise they carry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsynth.graphical import Measurement
from dpsynth.graphical.factor import Array

FEWEST_CELLS, MOST_CELLS = 12, 4096
"""Columns with fewer cells teach too little about themselves; larger ones would take too long."""

_STEP, _TOP = 0.5, 40.0
"""Spacing and end of the grid of levels, in sigma. A count beyond its end is left as it is."""
_DRIFTS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Candidate standard deviations of the step between neighbours, on the scale of the root of the level."""
_PASSES = 6
"""Steps of expectation maximisation: few, since a prior learned to the end fits the noise as well."""
_PRIOR = 3.0
"""Cells' worth of weight on levels spread evenly over magnitudes, beside what the column says."""


@dataclass(frozen=True, slots=True, eq=False)
class Denoised:
    """A one-way with its noise reduced.

    Attributes:
        measurement: the posterior means, with the sigma of the noisy counts: they are known at least as well.
        order: how much better neighbouring codes explain each other than cells in no order do: the logarithm
            of the Bayes factor.
    """

    measurement: Measurement
    order: float


def denoised(one_way: Measurement) -> Denoised:
    """Posterior means of a column's counts, under a prior that the column itself teaches.

    The true counts, in sigma, are levels ``l_1 .. l_m`` of a hidden Markov chain along the codes. The next level is
    near the last one, ``sqrt(l') ~ N(sqrt(l), drift^2)``, with probability ``1 - q``; otherwise it is drawn anew from
    a distribution over levels that is common to the column. Both are learned by the algorithm of Baum et al. 1970,
    for several drifts and for ``q = 1``: cells in no order, the empirical Bayes of Robbins 1956. The answer averages
    them by evidence. So smooth columns are smoothed, spikes stay, stretches
    of empty cells become empty, and codes without an order do not borrow from their neighbours.

    Columns with fewer than `FEWEST_CELLS` or more than `MOST_CELLS` cells come back as they are, as do counts that
    the noise hardly touches.
    """
    values = one_way.values
    scaled = values / one_way.sigma
    beyond = scaled > _TOP
    if not FEWEST_CELLS <= len(values) <= MOST_CELLS or beyond.all():
        return Denoised(one_way, 0.0)
    levels = np.arange(0.0, max(float(scaled[~beyond].max()), 1.0) + 2.0, _STEP)
    chains = _Chains(levels, scaled, beyond)
    for _ in range(_PASSES - 1):
        chains.learn()
    posterior, evidence = chains.smooth()
    shares = np.exp(evidence - evidence.max())
    means = np.tensordot(shares / shares.sum(), posterior @ levels, axes=1)
    clean = np.where(beyond, values, means * one_way.sigma)
    return Denoised(Measurement(one_way.clique, clean, one_way.sigma), float(evidence[:-1].max() - evidence[-1]))


class _Chains:
    """One hidden Markov chain for each drift, and a last one without order; what they learn is (chains, levels)."""

    def __init__(self, levels: Array, scaled: Array, beyond: NDArray[np.bool_]) -> None:
        distance = 0.5 * np.square(np.clip(scaled, -_TOP, _TOP)[:, None] - levels)
        self._likelihood = np.exp(distance.min(axis=1, keepdims=True) - distance)
        self._likelihood[beyond] = 1.0
        self._beyond = beyond
        roots = np.sqrt(levels)
        near = np.exp(-0.5 * np.square((roots[:, None] - roots) / np.reshape(_DRIFTS, (-1, 1, 1))))
        near /= near.sum(axis=2, keepdims=True)
        self._near = np.concatenate([near, np.zeros((1, *near.shape[1:]))])
        prior = 1.0 / (1.0 + levels)
        self._prior = prior / prior.sum()
        chains = len(_DRIFTS) + 1
        self._anew = np.tile(self._prior, (chains, 1))
        self._jump = np.full(chains, 0.3)
        self._jump[-1] = 1.0

    def smooth(self) -> tuple[Array, Array]:
        """Posterior of every cell's level, shape (chains, cells, levels), and each chain's log evidence."""
        posterior, evidence, _, _ = self._pass()
        return posterior, evidence

    def learn(self) -> None:
        """One step of expectation maximisation on the jumps' probability and levels."""
        _, _, drawn, chances = self._pass()
        held = drawn.sum(axis=2)
        levels = drawn.sum(axis=1) + _PRIOR * self._prior
        self._anew = levels / levels.sum(axis=1, keepdims=True)
        self._jump = (held[:, chances].sum(axis=1) + 0.5) / (chances.sum() + 1.0)
        self._jump[-1] = 1.0

    def _pass(self) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """Forwards and backwards once.

        Returns:
            The posterior, the evidence, the probability that a cell's level was drawn anew and is that level
            (shape (chains, cells, levels); cells beyond the grid have none), and the cells that could have
            followed their neighbour.
        """
        cells, chains, levels = len(self._beyond), *self._anew.shape
        forward = np.empty((cells, chains, levels))
        scale = np.empty((cells, chains))
        for i in range(cells):
            here = self._anew
            if i and not self._beyond[i - 1]:
                stay = np.matmul(forward[i - 1][:, None, :], self._near)[:, 0]
                here = (1.0 - self._jump)[:, None] * stay + self._jump[:, None] * self._anew
            here = here * self._likelihood[i]
            scale[i] = here.sum(axis=1)
            forward[i] = here / scale[i][:, None]
        posterior, drawn = np.empty_like(forward), np.zeros_like(forward)
        backward = np.ones((chains, levels))
        follows = np.zeros(cells, dtype=bool)
        for i in range(cells - 1, -1, -1):
            posterior[i] = forward[i] * backward
            ahead = self._likelihood[i] * backward / scale[i][:, None]
            alone = i == 0 or bool(self._beyond[i - 1])
            follows[i] = not alone and not self._beyond[i]
            if not self._beyond[i]:
                drawn[i] = (1.0 if alone else self._jump[:, None]) * self._anew * ahead
            backward = np.repeat((self._anew * ahead).sum(axis=1, keepdims=True), levels, axis=1)
            if not alone:
                stay = np.matmul(self._near, ahead[:, :, None])[:, :, 0]
                backward = (1.0 - self._jump)[:, None] * stay + self._jump[:, None] * backward
        evidence = np.log(scale).sum(axis=0)
        return posterior.swapaxes(0, 1), evidence, drawn.swapaxes(0, 1), follows


__all__ = ["FEWEST_CELLS", "MOST_CELLS", "Denoised", "denoised"]

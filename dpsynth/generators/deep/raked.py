"""After training: pairs that the network gets most wrong are counted, and its rows weighted to fit them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

from accountants import ExponentialMechanism, FixedPlan, Gaussian, Plan, SubsampledGaussian
from dpsynth.domain import Clique
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.decoder import Decoder
from dpsynth.generators.deep.network_rows import NetworkRows
from dpsynth.generators.deep.pace import particles_of
from dpsynth.generators.deep.start import Start
from dpsynth.generators.raked_rounds import Allotment, RakedRounds
from dpsynth.generators.round import Round
from dpsynth.graphical import RakedModel
from dpsynth.hints import Hints
from dpsynth.progress import report

_BATCH, _FITS = 4, 8
"""Rounds between two fits, at least; fits, at most, but for the last."""
_SMOOTHING, _TOLERANCE = 0.2, 0.1
_EFFECTIVE = 0.05
"""Least effective number of particles, over their number: what is left of the network's own variety."""


def raked(
    start: Start, network: Autoregression | Decoder, plan: Plan, hints: Hints, *, stage: str, done: float
) -> NetworkRows | RakedModel[NetworkRows]:
    """Rows of the network, weighted to fit the pairs that a plan counts after its training; as they are if none.

    Args:
        start: with the view of merged cells.
        network: trained.
        plan: of the recipe.
        hints: of the schema.
        stage, done: name for progress, and how much of it is done before the first pair.
    """
    prior, looks = NetworkRows(network, start.total), _after_training(plan)
    if looks is None:
        if done < 1.0:
            report(stage, 1.0, "no pairs are counted")
        return prior
    each, count = looks
    pairs: dict[Clique, int] = dict.fromkeys(combinations(start.domain.attributes, 2), 1)
    rounds = RakedRounds(
        prior,
        start.found.merged,
        particles_of(hints, len(start.domain)),
        start.rng,
        at_most=hints.at_most,
        smoothing=_SMOOTHING,
        tolerance=_TOLERANCE,
        effective=_EFFECTIVE,
    )
    batch = Allotment(start.view, pairs, each, 0, min(max(_BATCH, math.ceil(count / _FITS)), len(pairs)))
    for first in range(0, count, batch.batch):
        asked = min(batch.batch, count - first)
        rounds.spend(replace(batch, rounds=asked))
        noise = f"noise of {each.of_a_cell(hints.at_most):.0f} rows a cell"
        report(stage, done + (1.0 - done) * (first + asked) / count, f"pair {first + asked} of {count}, {noise}")
    return rounds.last()


def _after_training(plan: Plan) -> tuple[Round, int] | None:
    """The looks of a round, and how many rounds there are."""
    events = list(plan.events) if isinstance(plan, FixedPlan) else []
    trained = next((i for i, event in enumerate(events) if isinstance(event, SubsampledGaussian)), len(events))
    choices = [event for event in events[trained:] if isinstance(event, ExponentialMechanism)]
    counts = [event for event in events[trained:] if isinstance(event, Gaussian)]
    return (Round(choices[0], counts[0]), len(counts)) if choices else None


__all__ = ["raked"]

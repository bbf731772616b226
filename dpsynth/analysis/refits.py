"""Models refitted to the noisy answers with noise of their known size added anew: what the answers leave open.

The real counts are the noisy ones less noise nobody knows. Under a flat prior they are therefore spread about the noisy
ones as the noise is, and an answer with fresh noise is a draw of them (the posterior that NAPSU-MQ approximates, Räisä,
Jälkö, Kaski, Honkela 2023). Tables of *one* model would differ by the drawing of rows alone, and hide the noise.

Which margins were chosen and which cells merged is kept as released; how rows lie inside bins of fine grids, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from dpsynth.analysis.looked import Looked
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.generators import MarginalModel, generator_from
from dpsynth.generators.aim import FALSE
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.generators.moment_look import read
from dpsynth.generators.one_ways import OneWays
from dpsynth.generators.raked_rounds import RakedRounds, particles_for
from dpsynth.generators.recoding import Recoding, proportions
from dpsynth.graphical import GraphicalModel, JunctionTree, Measurement, RakedModel, estimate, measured
from dpsynth.graphical.estimation import fitted
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import MOMENTS, Moments, significant
from dpsynth.measurement import MAX_SCORE, MAX_SCORES, NoisyCounts, NoisyMoments
from dpsynth.progress import report
from dpsynth.release.measurements import Measurements
from dpsynth.schema import Schema

REFITTED = ("aim", "independent", "mst")
_TOLERANCE = 0.05
_SMOOTHING = 0.2
_MOST_TIMES = 100.0
"""Rows of a refitted table over those that the release says it stands for, beyond which something is wrong."""


class Refits:
    """The recipe of a release, run on its answers once more.

    Args:
        schema: the public description of the table.
        said: the noisy answers.
        looked: the same, told apart.

    Raises:
        NotSupported: the release rests on a network.
    """

    def __init__(self, schema: Schema, said: Measurements, looked: Looked) -> None:
        if said.generator not in REFITTED or not said.bags:
            raise NotSupported(
                f"tables of refitted models can be made of {', '.join(REFITTED)}, and this release is of "
                f"{said.generator!r}: a network cannot be trained anew without the rows; questions about margins that "
                "were measured are answered all the same"
            )
        self._schema, self._looked, self._total = schema, looked, said.total
        self.recoding = looked.recoding(schema)
        self._smoothing = getattr(generator_from(said.generator, said.parameters), "smoothing", _SMOOTHING)
        self._tree = JunctionTree.of(self.recoding.domain, said.bags)
        fitting = [(c.recoding or {}).items() for c in looked.rest]
        shapes = [c.values.shape != self.recoding.domain.shape_of(c.clique) for c in looked.rest]
        if any(shapes) or any(not np.array_equal(self.recoding.maps[a], map_) for each in fitting for a, map_ in each):
            raise NotSupported("margins were counted over cells merged in several ways, which no recipe of ours does")
        if looked.moments is not None and not _sound(looked.moments, self.recoding):
            raise NotSupported("the second moments are of scores that no recipe of ours asks")

    def model(self, rng: np.random.Generator | None) -> MarginalModel:
        """A model of the answers with fresh noise; of the answers as they are, without `rng`."""
        looked = self._looked if rng is None else _noised(self._looked, rng)
        known = looked.one_ways(self._schema)
        recoding = self.recoding if rng is None else self._spread_anew(known)
        known = replace(known, recoding=recoding)
        one_ways, heaped = known.merged, known.heaped_with(looked.target) if looked.target is not None else []
        measurements = [*one_ways, *heaped, *measured(looked.rest)]
        domain = self.recoding.domain
        inside = [m for m in measurements if self._tree.bag_of(m.clique) is not None]
        moments = self._moments(looked, one_ways)
        within = None
        if moments is not None:
            cliques = moments.cliques
            places = [i for i in range(len(moments.pairs)) if self._tree.bag_of(cliques[i]) is not None]
            within = moments.only(places) if places else None
        graphical, potentials = fitted(
            domain,
            inside,
            within,
            tree=self._tree,
            max_cells=self._tree.cells,
            smoothing=self._smoothing,
            tolerance=_TOLERANCE,
        )
        asked = len(moments.pairs) if moments is not None else 0
        beyond = len(inside) < len(measurements) or asked > (len(within.pairs) if within is not None else 0)
        found: GraphicalModel | RakedModel[GraphicalModel] = graphical
        if beyond and (particles := particles_for(graphical.total, len(measurements))):
            found = self._raked(graphical, measurements, particles, moments, potentials, within)
        model = constrained(MarginalModel(recoding, found), self._schema.rules)
        assert isinstance(model, MarginalModel)
        return model

    def tables(self, tables: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        """Synthetic tables, each of a model of its own, as large as that says."""
        encoder = Encoder(self._schema)
        for i in range(tables):
            report("refitting", i / tables, f"table {i + 1} of {tables}")
            model = self.model(rng)
            if model.total > _MOST_TIMES * max(self._total, 1.0):
                raise NotSupported("the measurements contradict each other about how many rows there are")
            yield draw_rows(model, encoder, max(1, round(model.total)), rng)[1]
        report("refitting", 1.0)

    @cached_property
    def _told(self) -> tuple[int, ...]:
        """Places of the moments that the recipe took for more than noise."""
        asked = self._read(self._looked, self._one_ways(self._looked))
        return () if asked is None else tuple(significant(asked, FALSE))

    def _one_ways(self, looked: Looked) -> list[Measurement]:
        known = replace(looked.one_ways(self._schema), recoding=self.recoding)
        return known.merged

    def _read(self, looked: Looked, one_ways: list[Measurement]) -> Moments | None:
        if looked.moments is None:
            return None
        alone = estimate(self.recoding.domain, one_ways, smoothing=self._smoothing)
        return read(looked.moments, {a: alone.project((a,)) for a in self.recoding.domain.attributes})

    def _moments(self, looked: Looked, one_ways: list[Measurement]) -> Moments | None:
        if looked.moments is None or not self._told:
            return None
        found = self._read(looked, one_ways)
        return None if found is None else found.only(self._told)

    def _spread_anew(self, known: OneWays) -> Recoding:
        """The released cells, and inside those merged of listed values rows as these one-ways have them."""
        weights = dict(self.recoding.weights)
        for one_way in known.clean:
            (a,) = one_way.clique
            if a in self._looked.hints.fine:
                continue
            map_, own = self.recoding.maps[a], weights[a].copy()
            for cell in np.flatnonzero(np.bincount(map_) > 1):
                inside = np.flatnonzero((map_ == cell) & (np.arange(len(map_)) != self._looked.hints.out_of_domain[a]))
                if len(inside):
                    own[map_ == cell] = 0.0
                    own[inside] = proportions(one_way.values[inside], float(one_way.values[inside].sum()))
            weights[a] = own
        return Recoding.of(self.recoding.base, self.recoding.maps, weights, self.recoding.empty)

    def _raked(
        self,
        graphical: GraphicalModel,
        measurements: list[Measurement],
        particles: int,
        moments: Moments | None,
        potentials: dict[tuple[str, ...], Array],
        within: Moments | None,
    ) -> RakedModel[GraphicalModel]:
        drawn_at = dict(potentials)
        if moments is not None:
            known = dict(zip(within.pairs, potentials[MOMENTS].tolist(), strict=True)) if within is not None else {}
            drawn_at[MOMENTS] = np.array([known.get(pair, 0.0) for pair in moments.pairs])
        rounds = RakedRounds(
            graphical,
            measurements,
            particles,
            np.random.default_rng(0),
            moments=moments,
            drawn_at=drawn_at,
            at_most=self._looked.hints.at_most,
            smoothing=self._smoothing,
            tolerance=2 * _TOLERANCE,
        )
        return rounds.last()


def _sound(moments: NoisyMoments, recoding: Recoding) -> bool:
    """Whether every score is a whole number for each merged cell of a column, small, and not zero throughout."""
    return 1 <= len(moments.scores) <= MAX_SCORES and all(
        score.attribute in recoding.domain
        and score.values.shape == (recoding.domain[score.attribute],)
        and 0 < np.abs(score.values).max() <= MAX_SCORE
        for score in moments.scores
    )


def _noised(looked: Looked, rng: np.random.Generator) -> Looked:
    return replace(
        looked,
        first=tuple(_anew(answer, rng) for answer in looked.first),
        second=tuple(_anew(answer, rng) for answer in looked.second),
        heaped=tuple(_anew(answer, rng) for answer in looked.heaped),
        rest=tuple(_anew(answer, rng) for answer in looked.rest),
        moments=None if looked.moments is None else _moments_anew(looked.moments, rng),
    )


def _anew(answer: NoisyCounts, rng: np.random.Generator) -> NoisyCounts:
    noise = np.rint(rng.normal(0.0, answer.sigma, answer.values.shape)).astype(np.int64)
    return replace(answer, values=answer.values + noise)


def _moments_anew(answer: NoisyMoments, rng: np.random.Generator) -> NoisyMoments:
    upper = np.triu(rng.normal(0.0, answer.sigma, answer.values.shape), 1)
    noise = upper + upper.T + np.diag(rng.normal(0.0, answer.sigma_diagonal, len(answer.scores)))
    return replace(answer, values=answer.values + np.rint(noise).astype(np.int64))


__all__ = ["REFITTED", "Refits"]

"""The answers of a release told apart as the recipe asked: one-ways, margins, moments; and how cells were merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpsynth.errors import NotSupported
from dpsynth.generators import generator_from
from dpsynth.generators.heaped import heaped
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.generators.recoding import Recoding
from dpsynth.hints import Hints
from dpsynth.measurement import NoisyCounts, NoisyMoments
from dpsynth.release.measurements import Measurements
from dpsynth.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Noisy answers, told apart.

    Attributes:
        hints, cleaning: what the recipe knew of columns, and did to one-ways.
        first: one-ways over base cells, a column each.
        second: the same once more, fine columns over their bins; empty where there was no second look.
        heaped: cells of heaped columns by a target's merged ones; empty where there were none.
        target: what the recipe was to predict, or None.
        rest: all other counts.
        moments: second moments, if they were asked.
    """

    hints: Hints
    cleaning: Cleaning
    first: tuple[NoisyCounts, ...]
    second: tuple[NoisyCounts, ...]
    heaped: tuple[NoisyCounts, ...]
    target: str | None
    rest: tuple[NoisyCounts, ...]
    moments: NoisyMoments | None

    @classmethod
    def of(cls, said: Measurements, schema: Schema) -> Looked:
        """The answers of a release.

        Raises:
            NotSupported: they are not those of a recipe that this version knows.
        """
        problem, domain = "", schema.domain
        named = [*(c.clique for c in said.counts), *said.bags]
        if any(a not in domain for columns in named for a in columns) or any(
            len(map_) != domain[a]
            for answer in said.answers
            for a, map_ in (answer.recoding or {}).items()
            if a in domain
        ):
            raise NotSupported("the measurements are of another schema than the release's; ask for the release again")
        try:
            recipe = generator_from(said.generator, said.parameters)
        except ValueError as error:
            problem = str(error)
        names = schema.domain.attributes
        counts, asked = said.counts, [a for a in said.answers if isinstance(a, NoisyMoments)]
        first = [(c.clique, c.values.shape) for c in counts[: len(names)]]
        if problem or first != [((a,), (domain[a],)) for a in names]:
            raise NotSupported(
                f"the measurements are not those of a recipe this version knows; {problem or 'ask for others'}"
            )
        settings = {name: recipe.parameters().get(name, 0.0) for name in ("denoise", "merge_below", "group_below")}
        cleaning = Cleaning(bool(settings["denoise"]), settings["merge_below"], settings["group_below"])
        after = counts[len(names) : 2 * len(names)]
        own = [a for a in names if a not in schema.hints.fine]
        twice = [c.clique for c in after] == [(a,) for a in names] and all(
            c.recoding is None for c in after if c.clique[0] in own
        )
        target = recipe.parameters().get("target") if recipe.parameters().get("target_share") else None
        alone = OneWays.first(domain, counts[: len(names)], schema.hints, cleaning)
        spikes = _by_target(alone, schema.hints, target, after)
        seen = len(names) + (len(names) if twice else len(spikes))
        moments = asked[0] if asked else None
        second = after if twice else ()
        return cls(schema.hints, cleaning, counts[: len(names)], second, spikes, target, counts[seen:], moments)

    def one_ways(self, schema: Schema) -> OneWays:
        """What the recipe made of the one-ways."""
        found = OneWays.first(schema.domain, self.first, self.hints, self.cleaning)
        if self.heaped and self.target is not None:
            return found.with_heaped(self.heaped, self.target, self.hints, self.cleaning)
        return found.second(self.second, self.hints, self.cleaning) if self.second else found

    def recoding(self, schema: Schema) -> Recoding:
        """Base cells to merged cells as in the answers, and how merged rows spread inside.

        Where another version merged otherwise, what is known of the spread is that the recipe's maps hold: inside
        cells of theirs, rows are then taken to lie evenly.
        """
        made = self.one_ways(schema).recoding
        return _as_answered(made, self.rest)


def _by_target(
    one_ways: OneWays, hints: Hints, target: str | None, after: Sequence[NoisyCounts]
) -> tuple[NoisyCounts, ...]:
    """What was asked of heaped columns, right after the one-ways: their grids by the target's merged cells."""
    domain, recoding = one_ways.recoding.base, one_ways.recoding
    if target is None or target not in domain:
        return ()
    columns = [a for a in heaped(one_ways.base, hints.fine) if a != target]
    asked = {domain.clique((a, target)): a for a in columns}
    found: list[NoisyCounts] = []
    for answer in after:
        attribute = asked.pop(answer.clique, None)
        if attribute is None or answer.values.shape[answer.clique.index(attribute)] != domain[attribute]:
            break
        map_ = (answer.recoding or {}).get(target, np.arange(domain[target]))
        classes = answer.values.shape[answer.clique.index(target)]
        if set(answer.recoding or {}) > {target} or classes != recoding.domain[target]:
            break
        if not np.array_equal(map_, recoding.maps[target]):
            break
        found.append(answer)
    return tuple(found)


def _as_answered(made: Recoding, answers: Sequence[NoisyCounts]) -> Recoding:
    maps, weights = dict(made.maps), dict(made.weights)
    for answer in answers:
        for a, map_ in (answer.recoding or {}).items():
            if not np.array_equal(maps[a], map_):
                maps[a] = map_
                weights[a] = (1.0 / np.bincount(map_))[map_]
    return Recoding.of(made.base, maps, weights, made.empty)


__all__ = ["Looked"]

"""A table that asks the real kernel and then gives whatever answer it was told to: the same on two neighbouring tables.

A generator that is a function of its answers asks the same looks on both and makes the same model, to the last byte.
What the answers would have been without noise is kept on the way, so that its change from one table to the other can be
held against what each look was charged for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from accountants import Event, ExponentialMechanism, FixedPlan, Gaussian, Meter, Plan, SubsampledGaussian
from accountants.exact import floor_float
from dpsynth.audit.watched import PULSE, Chosen, LateMeter, Probe, Watch, WatchedRows
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import Generator, Model, Projectable
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.measurement import Answer, NoisyCounts, NoisyMoments, Score, Selected
from dpsynth.progress import listening
from dpsynth.training import KernelLoss

SAMPLED = 200
"""Rows drawn from each model, to be compared."""


class Diverged(Exception):
    """On the other table the generator asked something else."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What an audit plants to see whether it notices. By default nothing.

    Attributes:
        apart: each row passes for a unit of its own, of one row: the bound k is ignored.
        steepness: of selections: 2 is a score taken for one-sided.
        charged: the event that is charged for a look, by the event that it is made with.
        late: looks are charged after they were made.
    """

    apart: bool = False
    steepness: float = 1.0
    charged: Callable[[Event], Event] | None = None
    late: bool = False


HONEST = Faults()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One look: the question, the charge, and what the answer is made of.

    Attributes:
        asked: all of the question, as text.
        charged: what the meter had more afterwards, if anything.
        exact: the answer without noise, flat: counts, scores or a summed gradient. Surrogate rows only.
        spread: deviation of the noise in the same unit as `exact`, for Gaussian noise.
        chosen: how a selection is made.
        rate: at which units are sampled, in a step of a training.
        answer: what was given instead.
        early: whether rows were read before the charge.
    """

    asked: str
    charged: Event | None
    exact: NDArray[Any]
    spread: float
    chosen: Chosen | None
    rate: float | None
    answer: Any
    early: bool


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One fit: its looks and what came out, in bytes."""

    looks: tuple[Look, ...]
    charged: tuple[Event, ...]
    output: bytes


@final
class ReplayedTable:
    """Stands where a `PrivateTable` does, on surrogate rows. The kernel answers; what is handed on is the script's.

    Args:
        rows: surrogate or public.
        plan: what the meter guards.
        script: looks to answer as they were answered; none: answer with noise of the right size, repeatably.
        faults: planted.
    """

    numerics = "none"

    def __init__(self, rows: Rows, plan: Plan, script: Sequence[Look] = (), faults: Faults = HONEST) -> None:
        if faults.charged is not None and isinstance(plan, FixedPlan):
            plan = FixedPlan([faults.charged(event) for event in plan.events])
        self._shared = _Shared(Meter(plan), Probe(faults.steepness), script, faults)
        watched: Any = WatchedRows(rows, self._shared.watch, apart=faults.apart)
        meter: Any = LateMeter(self._shared.meter) if faults.late else self._shared.meter
        probe: Any = self._shared.probe
        if faults.charged is not None:
            meter = _Charging(meter, faults.charged)
        self._view = PrivateTable(watched, meter, probe)

    @property
    def domain(self) -> Domain:
        """As the real table's."""
        return self._view.domain

    @property
    def remaining(self) -> float:
        """As the real table's."""
        return floor_float(self._shared.meter.remaining)

    @property
    def transcript(self) -> tuple[Answer, ...]:
        """The answers handed on so far."""
        found: list[Answer] = []
        for look in self._shared.looks:
            found += look.answer if isinstance(look.answer, tuple) else []
        return tuple(found)

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks so far."""
        return tuple(self._shared.looks)

    @property
    def charged(self) -> tuple[Event, ...]:
        """As the meter has it."""
        return self._shared.meter.charged

    def recoded(self, maps: Mapping[str, NDArray[np.integer[Any]]]) -> ReplayedTable:
        """A view on the same script."""
        view = object.__new__(ReplayedTable)
        view._shared, view._view = self._shared, self._view.recoded(maps)
        return view

    def count(self, clique: Clique, noise: Gaussian) -> NoisyCounts:
        """One marginal."""
        return self.count_all((clique,), noise)[0]

    def count_all(self, cliques: Sequence[Clique], noise: Gaussian) -> tuple[NoisyCounts, ...]:
        """Several marginals: those of the script, or the real ones with noise."""
        asked = f"count {[tuple(c) for c in cliques]} over {self.domain.sizes} with {noise}"
        run = self._shared
        answer = run.begin(asked)
        real = self._view.count_all(cliques, noise)
        exact = np.concatenate([counts.values.ravel() for counts in real]) - PULSE
        if answer is None:
            answer = tuple(_noisy(counts, run.rng) for counts in real)
        run.end(asked, exact, run.probe.spread(exact.size), answer)
        given: tuple[NoisyCounts, ...] = answer
        return given

    def moments(self, scores: Sequence[Score], max_norm: int, noise: Gaussian) -> NoisyMoments:
        """Second moments: those of the script, or the real ones with noise."""
        held = [(score.attribute, np.asarray(score.values).tolist()) for score in scores]
        asked = f"moments {held} held to {max_norm} over {self.domain.sizes} with {noise}"
        run = self._shared
        answer = run.begin(asked)
        real = self._view.moments(scores, max_norm, noise)
        exact, spread = _weighed(real, run.probe)
        if answer is None:
            answer = (_noisy_moments(real, run.rng),)
        run.end(asked, exact, spread, answer)
        given: NoisyMoments = answer[0]
        return given

    def select(
        self,
        candidates: Sequence[Clique],
        model: Projectable,
        noise: ExponentialMechanism,
        *,
        weights: Sequence[int] | None = None,
        penalties: Sequence[int] | None = None,
    ) -> Clique:
        """The script's choice, or a random one among the candidates."""
        told, run = _Told(model), self._shared
        asked = f"select {[tuple(c) for c in candidates]} {_plain(weights)} {_plain(penalties)} with {noise}"
        answer = run.begin(asked)
        run.probe.index = int(run.rng.integers(len(candidates))) if answer is None else answer[0].index
        self._view.select(candidates, told, noise, weights=weights, penalties=penalties)
        if answer is None:
            answer = (Selected(tuple(self.domain.clique(c) for c in candidates), run.probe.index),)
        scores = np.array(run.probe.chosen[0].scores, dtype=object)
        run.end(f"{asked} against {told.digest}", scores, 0.0, answer)
        choice: Clique = answer[0].clique
        return choice

    def train(
        self,
        module: Any,
        loss: KernelLoss,
        noise: SubsampledGaussian,
        *,
        optimizer: Any,
        max_grad_norm: float,
        expected_batch_size: float,
        public: Callable[[], Any] | None = None,
        numerics: str = "exact",
    ) -> Iterator[None]:
        """Every step is made on all units without noise; the optimizer gets the script's gradient, or a noised one."""
        from dpsynth.audit.tapped import tapped
        from dpsynth.kernel.gradients import SCALE

        run, grid = self._shared, max_grad_norm / SCALE / expected_batch_size
        asked = f"train {loss} {noise} clip {max_grad_norm} batch {expected_batch_size} {numerics}"
        answers: list[Any] = []

        def hand(pulsed: NDArray[np.float32]) -> NDArray[np.float32]:
            exact = np.where(pulsed == 0, pulsed, pulsed - np.float32(PULSE * grid))  # masked weights have no gradient
            spread, answer = run.probe.spread(exact.size) * grid, answers.pop()
            if answer is None:
                answer = exact + run.rng.normal(0.0, spread, exact.size).astype(np.float32)
            run.end(asked, exact, spread, answer)
            given: NDArray[np.float32] = answer
            return given

        steps = self._view.train(
            module,
            loss,
            noise,
            optimizer=tapped(module, optimizer, public, hand),
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            numerics=numerics,
        )

        def watched() -> Iterator[None]:
            for _ in range(noise.steps):
                answers.append(run.begin(asked))
                next(steps)
                yield

        return watched()


class _Shared:
    """What all views of one table share."""

    def __init__(self, meter: Meter, probe: Probe, script: Sequence[Look], faults: Faults) -> None:
        self.meter, self.probe, self.script, self.faults = meter, probe, script, faults
        self.watch = Watch(meter)
        self.looks: list[Look] = []
        self.rng = np.random.default_rng(0)

    def begin(self, asked: str) -> Any:
        """A look begins: the script's answer to it, or None where there is no script."""
        self.probe.begin()
        self.watch.begin()
        if not self.script:
            return None
        place = len(self.looks)
        if place >= len(self.script):
            raise Diverged(f"look {place + 1} is one more than on the other table: {asked:.200}")
        if not self.script[place].asked.startswith(asked):
            raise Diverged(f"look {place + 1} is another than on the other table: {asked:.200}")
        return self.script[place].answer

    def end(self, asked: str, exact: NDArray[Any], spread: float, answer: Any) -> None:
        before, self.watch.before = self.watch.before, None
        after = self.meter.charged
        charged = after[-1] if after != before else None
        chosen = self.probe.chosen[0] if self.probe.chosen else None
        rate = self.probe.rates[0] if self.probe.rates else None
        self.looks.append(Look(asked, charged, exact, spread, chosen, rate, answer, self.watch.early))


class _Charging:
    """A fault: another event is charged than the one the look is made with."""

    def __init__(self, meter: Any, charged: Callable[[Event], Event]) -> None:
        self._meter, self._charged = meter, charged

    def charge(self, event: Event) -> None:
        self._meter.charge(self._charged(event))

    def charge_step(self, event: Any) -> None:
        self._meter.charge_step(self._charged(event))


class _Told:
    """A model that notes what it told of itself."""

    def __init__(self, model: Projectable) -> None:
        self._model, self._hash = model, hashlib.sha256()

    def project(self, clique: Clique) -> NDArray[np.float64]:
        told = self._model.project(clique)
        self._hash.update(np.ascontiguousarray(told, np.float64).tobytes())
        return told

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _plain(numbers: Sequence[int] | None) -> list[int] | None:
    return None if numbers is None else [int(n) for n in numbers]


def _noisy(counts: NoisyCounts, rng: np.random.Generator) -> NoisyCounts:
    values = counts.values - PULSE + np.rint(rng.normal(0.0, counts.sigma, counts.values.shape)).astype(np.int64)
    values.flags.writeable = False
    return NoisyCounts(counts.clique, values, counts.sigma, counts.recoding)


_FINE = 2**40
"""Parts of a whole number: entries whose noise differs are weighed, and still compared in whole numbers."""


def _weighed(real: NoisyMoments, probe: Probe) -> tuple[NDArray[Any], float]:
    """The upper triangle without noise, entries weighed as if all had the noise of the diagonal; and that noise."""
    values = real.values - PULSE
    rows, columns = np.triu_indices(len(values), 1)
    on, off = np.diagonal(values).tolist(), values[rows, columns].tolist()
    if len(probe.sigmas) != 2 or probe.drawn < len(on) + len(off) or not min(probe.sigmas):
        return np.array([*off, *on], dtype=object), 0.0
    ratio = Fraction(probe.sigmas[1]) / Fraction(probe.sigmas[0])
    weighed = [*(int(value * ratio * _FINE) for value in off), *(value * _FINE for value in on)]
    return np.array(weighed, dtype=object), probe.sigmas[1] * _FINE


def _noisy_moments(real: NoisyMoments, rng: np.random.Generator) -> NoisyMoments:
    drawn = rng.normal(0.0, real.sigma, real.values.shape)
    noise = np.triu(drawn, 1) + np.triu(drawn, 1).T + np.diag(rng.normal(0.0, real.sigma_diagonal, len(drawn)))
    values = real.values - PULSE + np.rint(noise).astype(np.int64)
    values.flags.writeable = False
    return NoisyMoments(real.scores, real.max_norm, values, real.sigma, real.sigma_diagonal, real.recoding)


def fit(generator: Generator, plan: Plan, rows: Rows, script: Sequence[Look] = (), faults: Faults = HONEST) -> Run:
    """Fit `generator` to surrogate rows, with the answers of a script or with noise.

    Raises:
        Diverged: it asked something else than the script's looks.
    """
    table: Any = ReplayedTable(rows, plan, script, faults)
    with listening(lambda step: None):  # an audit fits many times, and reports for itself
        model = generator.fit(table, plan, rows.schema.hints)
    if script and len(table.looks) < len(script):
        raise Diverged(f"only {len(table.looks)} looks of {len(script)} on the other table")
    return Run(table.looks, table.charged, output(model))


def output(model: Model) -> bytes:
    """All that a model is and what it draws, as bytes: equal models, equal bytes."""
    header, arrays = model.dump()
    parts = [repr(header).encode(), repr(model.total).encode()]
    drawn = model.sample(SAMPLED, np.random.default_rng(0))
    for name, array in [*sorted(arrays.items()), *sorted(drawn.items())]:
        held = np.ascontiguousarray(array)
        parts += [name.encode(), str((held.dtype, held.shape)).encode(), held.tobytes()]
    return b"\0".join(parts)


__all__ = ["HONEST", "Diverged", "Faults", "Look", "ReplayedTable", "Run", "fit", "output"]

"""A private table that charges every look and answers from a script, whatever the rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants import ExponentialMechanism, Gaussian, Meter, SubsampledGaussian
from accountants.exact import floor_float
from dpsynth.domain import Clique
from dpsynth.generators.base import Projectable
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import Answer, NoisyCounts, NoisyMoments, Score, Selected
from dpsynth.testing.bits import SeededBits
from dpsynth.training import KernelLoss


@dataclass
class Script:
    """Answers to give, in order; recorded from a real run or written by hand."""

    answers: Sequence[Answer]
    position: int = 0
    asked: list[str] = field(default_factory=list)

    def next(self, kind: type[Any]) -> Any:
        """The next answer, which must be of `kind`."""
        answer = self.answers[self.position]
        assert isinstance(answer, kind), f"the script has {type(answer).__name__} at {self.position}"
        self.position += 1
        return answer


class ReplayTable:
    """Stands where a `PrivateTable` does; the rows are opened and bounded as ever, and never asked.

    Args:
        numerics: what the table says of its noise; the gate admits ``exact`` alone.
    """

    trained_on: tuple[str, ...] = ()

    def __init__(
        self,
        rows: Rows,
        meter: Meter,
        script: Script,
        noise: Noise | None = None,
        numerics: str = "none",
        frame: Meter | None = None,
    ) -> None:
        self.numerics = numerics
        self._frame = frame
        self._given: list[Answer] = []
        self._view: PrivateTable = PrivateTable(rows, meter, noise)
        self._meter = meter
        self._script = script

    @property
    def domain(self) -> Any:
        """As the real table's."""
        return self._view.domain

    @property
    def remaining(self) -> float:
        """As the real table's."""
        return floor_float(self._meter.remaining)

    @property
    def transcript(self) -> tuple[Answer, ...]:
        """The answers given so far."""
        return tuple(self._given)

    @property
    def for_frame(self) -> ReplayTable:
        """A view on the same script, charged to the frame's meter, with a transcript of its own."""
        assert self._frame is not None, "the run was reserved without a frame"
        view = self.recoded({})
        view._meter, view._given = self._frame, []
        return view

    def _next(self, kind: type[Any]) -> Any:
        self._given.append(self._script.next(kind))
        return self._given[-1]

    def recoded(self, maps: Mapping[str, NDArray[np.integer[Any]]]) -> ReplayTable:
        """A view on the same script."""
        view = object.__new__(ReplayTable)
        view._view, view._meter, view._script = self._view.recoded(maps), self._meter, self._script
        view.numerics, view._frame, view._given = self.numerics, self._frame, self._given
        return view

    def count(self, clique: Clique, noise: Gaussian) -> NoisyCounts:
        """The next scripted counts."""
        return self.count_all((clique,), noise)[0]

    def count_all(self, cliques: Sequence[Clique], noise: Gaussian) -> tuple[NoisyCounts, ...]:
        """The next scripted counts, one for each clique."""
        self._meter.charge(noise)
        self._script.asked.append(f"count {list(cliques)} {noise}")
        answers = tuple(self._next(NoisyCounts) for _ in cliques)
        for clique, answer in zip(cliques, answers, strict=True):
            assert answer.clique == self.domain.clique(clique), "the script answers another question"
        return answers

    def moments(self, scores: Sequence[Score], max_norm: int, noise: Gaussian) -> NoisyMoments:
        """The next scripted moments."""
        self._meter.charge(noise)
        self._script.asked.append(f"moments {[s.attribute for s in scores]} {max_norm} {noise}")
        answer: NoisyMoments = self._script.next(NoisyMoments)
        assert answer.max_norm == max_norm, "the script answers another question"
        for own, other in zip(answer.scores, scores, strict=True):
            same = own.attribute == other.attribute and np.array_equal(own.values, other.values)
            assert same, "the script answers another question"
        return answer

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
        """Every step is charged and made of noise alone, which repeats: as if no unit were ever sampled."""
        from dpsynth.kernel.train import Training

        training = Training(
            module,
            loss,
            noise,
            self.domain,
            1,
            optimizer=optimizer,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            public=public,
            numerics=numerics,
        )

        def steps() -> Iterator[None]:
            source = Noise(SeededBits(self._script.position))
            self._script.asked.append(f"train {loss} {noise}")
            for _ in range(noise.steps):
                self._meter.charge_step(noise)
                training.descend(training.blank(source))
                yield

        return steps()

    def select(
        self,
        candidates: Sequence[Clique],
        model: Projectable,
        noise: ExponentialMechanism,
        *,
        weights: Sequence[int] | None = None,
        penalties: Sequence[int] | None = None,
    ) -> Clique:
        """The next scripted choice."""
        for candidate in candidates:
            model.project(candidate)
        self._meter.charge(noise)
        self._script.asked.append(f"select {list(candidates)} {weights} {penalties} {noise}")
        answer = self._next(Selected)
        assert answer.candidates == tuple(self.domain.clique(c) for c in candidates), "other candidates were asked"
        choice: Clique = answer.clique
        return choice

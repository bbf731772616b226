"""What an audit puts where the kernel's rows, noise and meter are, to see what a look does. Nothing of it is private.

Only public and surrogate rows come here: no command hands an audit a private table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from accountants import Event, Meter, SubsampledGaussian
from dpsynth.domain import Domain
from dpsynth.kernel import Rows
from dpsynth.schema import Schema


@dataclass(slots=True)
class Watch:
    """Notes whether rows were read in a look before the look was charged.

    Attributes:
        meter: of the run.
        before: what had been charged when the look began; None between looks.
        touched: how often rows were read.
        early: whether rows were read while nothing more had been charged.
    """

    meter: Any
    before: tuple[Event, ...] | None = None
    touched: int = 0
    early: bool = False

    def begin(self) -> None:
        """A look begins."""
        self.before, self.touched, self.early = self.meter.charged, 0, False

    def touch(self) -> None:
        """Rows are read."""
        self.touched += 1
        self.early |= self.before is not None and self.meter.charged == self.before


class WatchedCodes(np.ndarray[Any, np.dtype[Any]]):
    """Codes that tell a `Watch` whenever they are read."""

    watch: Watch | None = None

    def __array_finalize__(self, parent: Any) -> None:
        self.watch = getattr(parent, "watch", None)

    def __getitem__(self, key: Any) -> Any:
        if self.watch is not None:
            self.watch.touch()
        return super().__getitem__(key)

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        if self.watch is not None:
            self.watch.touch()
        return super().__array_function__(function, types, given, options)


@final
class WatchedRows:
    """Stands where `Rows` does and hands out the same codes, watched.

    Args:
        rows: surrogate or public rows.
        watch: is told.
        apart: whether each row passes for a unit of its own, for a fault.
    """

    def __init__(self, rows: Rows, watch: Watch, *, apart: bool = False) -> None:
        self._rows, self._watch, self._apart = rows, watch, apart
        self.schema = Schema(columns=rows.schema.columns) if apart else rows.schema

    @property
    def domain(self) -> Domain:
        """As the rows'."""
        return self._rows.domain

    def _open(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None, tuple[bytes, ...]]:
        codes, units, names = self._rows._open()
        seen: dict[str, NDArray[Any]] = {}
        for attribute, column in codes.items():
            watched = column.view(WatchedCodes)
            watched.watch = self._watch
            seen[attribute] = watched
        return seen, None if self._apart else units, names


PULSE = 2**22
"""What stands for noise: if it does not come out as it went in, the noise is scaled by something."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection as the kernel asks for it: index ``i`` has weight ``exp(rate * scores[i] / (2 sensitivity))``."""

    scores: tuple[int, ...]
    rate: float
    sensitivity: int


@final
@dataclass(slots=True)
class Probe:
    """Stands where the kernel's `Noise` does: it draws none, and keeps what it was asked for.

    Exact answers come out, plus `PULSE`; every unit is sampled, and the same key bounds units on neighbouring tables.
    A row's latent numbers are those of its place, so that rows both tables have get the same.

    Attributes:
        steepness: factor on the rate of a selection, for a fault; 1 otherwise.
        index: what the next selection answers.
        sigmas, rates, chosen: what was asked for since `begin`.
        drawn: how many Gaussians were.
    """

    steepness: float = 1.0
    index: int = 0
    sigmas: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)
    drawn: int = 0
    numerics: str = "none"

    def begin(self) -> None:
        """A look begins."""
        self.sigmas.clear()
        self.rates.clear()
        self.chosen.clear()
        self.drawn = 0

    def key(self) -> bytes:
        """32 zero bytes."""
        return bytes(32)

    def rounded_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """`size` pulses."""
        self.sigmas.append(sigma)
        self.drawn += size
        return np.full(size, PULSE, np.int64)

    def spread(self, numbers: int) -> float:
        """The least deviation of noise that `numbers` answers have got; 0 if some of them got none of their own."""
        return min(self.sigmas) if self.sigmas and self.drawn >= numbers else 0.0

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """The first `size` numbers of one stream."""
        return np.random.default_rng(0).uniform(size=size)

    def poisson(self, rate: float, count: int) -> NDArray[np.int64]:
        """Every unit."""
        self.rates.append(rate)
        return np.arange(count)

    def choose(self, scores: Sequence[int], rate: float, sensitivity: int) -> int:
        """The index that is to be answered."""
        self.chosen.append(Chosen(tuple(scores), rate * self.steepness, sensitivity))
        return min(self.index, len(scores) - 1)


@final
class LateMeter:
    """A fault: a look is charged when the next one asks."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._owed: list[Any] = []

    @property
    def charged(self) -> tuple[Event, ...]:
        """What has been charged so far."""
        return self._meter.charged

    @property
    def remaining(self) -> Any:
        """As the meter's."""
        return self._meter.remaining

    def charge(self, event: Event) -> None:
        """Charge the look before, and owe this one."""
        self._pay()
        self._owed.append(lambda: self._meter.charge(event))

    def charge_step(self, training: SubsampledGaussian) -> None:
        """Charge the look before, and owe this step."""
        self._pay()
        self._owed.append(lambda: self._meter.charge_step(training))

    def _pay(self) -> None:
        while self._owed:
            self._owed.pop()()


__all__ = ["PULSE", "Chosen", "LateMeter", "Probe", "Watch", "WatchedCodes", "WatchedRows"]

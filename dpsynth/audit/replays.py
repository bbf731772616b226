"""Tier 0: every generator replayed on worst-case neighbours. Exact, so that there is no confidence to state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from accountants import (
    Allowance,
    Budget,
    Event,
    ExponentialMechanism,
    Gaussian,
    Plan,
    PlanError,
    SubsampledGaussian,
)
from dpsynth.audit.findings import Control, Finding
from dpsynth.audit.looks import EveryLook
from dpsynth.audit.neighbours import Neighbours, Surrogate
from dpsynth.audit.replay import HONEST, Diverged, Faults, Look, Run, fit
from dpsynth.generators import Generator
from dpsynth.kernel import Rows

BUDGET = Budget(3, "1e-9")
_SINGLE = 1e-3
"""Parameters are single precision: so much a gradient's change may be off."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs held against each other.

    Attributes:
        share: the largest change of an exact answer, as a share of what its look was charged for.
        problems: what differs that must not, in sentences.
    """

    share: float
    problems: tuple[str, ...]


def compare(one: Run, other: Run) -> Compared:
    """The same questions, charges and output on both tables, charges first, and no change beyond what was charged."""
    problems: list[str] = []
    share = 0.0
    if [look.asked for look in one.looks] != [look.asked for look in other.looks]:
        place = next(i for i, (a, b) in enumerate(zip(one.looks, other.looks, strict=False)) if a.asked != b.asked)
        problems.append(f"look {place + 1} is not the same question on both tables")
    if one.charged != other.charged:
        problems.append("the meter was charged differently on the two tables")
    for place, (first, second) in enumerate(zip(one.looks, other.looks, strict=False), start=1):
        if first.early or second.early:
            problems.append(f"look {place} read rows before it was charged")
        if first.charged is None or second.charged is None:
            problems.append(f"look {place} was made and not charged")
            continue
        if first.charged != second.charged:
            problems.append(f"look {place} was charged as {first.charged} and as {second.charged}")
        used = used_share(first, second)
        share = max(share, used)
        if used > 1:
            problems.append(f"look {place} moved {used:.4g} times as far as charged ({first.charged})")
    if one.output != other.output:
        problems.append("equal answers gave another model")
    return Compared(share, tuple(problems))


def used_share(first: Look, second: Look) -> float:
    """How far the exact answer moved, as a share of what the look was charged for: above 1 is a breach.

    Counts: L2 norm over sigma, times the noise multiplier that was charged, compared in integers. Selections: the
    spread of log probabilities over eta. Steps of a training, every unit taken: as counts, but that single precision is
    allowed for; units sampled more often than charged are a breach of any size.
    """
    event = first.charged
    if first.exact.shape != second.exact.shape or first.spread != second.spread:
        return math.inf
    match event:
        case Gaussian(noise_multiplier=z) if first.spread:
            moved = sum(int(d) ** 2 for d in first.exact - second.exact)
            share = Fraction(z) ** 2 * moved / Fraction(first.spread) ** 2
            return math.sqrt(share) if share <= 1 else max(math.sqrt(share), math.nextafter(1.0, 2.0))
        case ExponentialMechanism(eta=eta):
            a, b = first.chosen, second.chosen
            if a is None or b is None or (a.rate, a.sensitivity) != (b.rate, b.sensitivity):
                return math.inf
            moved_by = [x - y for x, y in zip(a.scores, b.scores, strict=True)]
            spread = Fraction(a.rate) * (max(moved_by) - min(moved_by)) / (2 * a.sensitivity)
            return float(spread / Fraction(eta))
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q) if first.spread and (first.rate or 1.0) <= q:
            length = float(np.linalg.norm(first.exact.astype(np.float64) - second.exact.astype(np.float64)))
            share_of = length * z / first.spread
            return min(share_of, 1.0) if share_of <= 1.0 + _SINGLE else share_of
    return math.inf


class Recorder:
    """A recipe recorded on the smaller table of each pair, once for each table, and replayed on the other.

    Args:
        generator, plan: the recipe.
        faults: planted.
    """

    def __init__(self, generator: Generator, plan: Plan, faults: Faults = HONEST) -> None:
        self._generator, self._plan, self._faults = generator, plan, faults
        self._recorded: dict[Rows, Run] = {}

    def compare(self, *pairs: Neighbours) -> Compared:
        """All pairs together: the largest share, and every problem."""
        share, problems = 0.0, list[str]()
        for pair in pairs:
            for of, on in ((pair.fewer, pair.more), (pair.more, pair.fewer))[: 1 + pair.back]:
                found = self._compared(of, on)
                share = max(share, found.share)
                problems += [f"{pair.name}: {problem}" for problem in found.problems]
        return Compared(share, tuple(problems))

    def _compared(self, of: Rows, on: Rows) -> Compared:
        try:
            if of not in self._recorded:
                self._recorded[of] = fit(self._generator, self._plan, of, faults=self._faults)
            base = self._recorded[of]
            return compare(base, fit(self._generator, self._plan, on, base.looks, self._faults))
        except Diverged as diverged:
            return Compared(0.0, (str(diverged),))
        except Exception as error:  # a table that upsets a recipe is a finding; nothing it could quote is private
            return Compared(0.0, (f"the recipe failed with {type(error).__name__}: {error}",))


def audit_generator(generator: Generator, surrogate: Surrogate) -> Finding:
    """One recipe on all neighbours; the control is a table with two units more, which must show as too much."""
    name, domain, hints = f"replay {generator.name}", surrogate.schema.domain, surrogate.schema.hints
    try:
        plan = generator.plan(domain, Allowance(BUDGET), hints)
    except PlanError as error:
        return Finding(name, 0, "sensitivity", 1.0, 0.0, skipped=str(error))
    recorder = Recorder(generator, plan)
    found, doubled = recorder.compare(*surrogate.neighbours()), recorder.compare(surrogate.two_units())
    return _finding(name, found, [_control("two units taken for one (doubled sensitivity)", doubled)])


def audit_looks(surrogate: Surrogate) -> Finding:
    """Every look of the kernel, asked directly, with every fault that a replay is for."""
    recipe = EveryLook()
    domain, hints = surrogate.schema.domain, surrogate.schema.hints
    plan = recipe.plan(domain, Allowance(BUDGET), hints)
    recorder, pairs = Recorder(recipe, plan), surrogate.neighbours()
    found = recorder.compare(*pairs)
    controls = [_control("two units taken for one (doubled sensitivity)", recorder.compare(surrogate.two_units()))]
    for fault, faults in _faults(surrogate):
        controls.append(_control(fault, Recorder(recipe, plan, faults).compare(*pairs)))
    for peeks, fault in {"looks": "a recipe whose looks follow n", "model": "a recipe whose model holds n"}.items():
        compared = Recorder(EveryLook(peeks), plan).compare(*pairs)
        controls.append(_control(fault, compared))
    return _finding("replay every look", found, controls)


def _faults(surrogate: Surrogate) -> Iterator[tuple[str, Faults]]:
    if surrogate.schema.at_most > 1:
        yield "each row taken for a unit (k ignored)", Faults(apart=True)
    yield "a one-sided score (the 2 left out)", Faults(steepness=2.0)
    yield "half the noise that is charged", Faults(charged=_half_price)
    yield "units sampled more often than is charged", Faults(charged=_half_rate)
    yield "charged after the look", Faults(late=True)


def _half_price(event: Event) -> Event:
    match event:
        case Gaussian(noise_multiplier=z) | SubsampledGaussian(noise_multiplier=z):
            return replace(event, noise_multiplier=2.0 * z)
    return event


def _half_rate(event: Event) -> Event:
    return replace(event, sample_rate=event.sample_rate / 2) if isinstance(event, SubsampledGaussian) else event


def _control(fault: str, found: Compared) -> Control:
    said = found.problems[0] if found.problems else f"{found.share:.4g} of what is charged, no difference"
    return Control(fault, bool(found.problems), said)


def _finding(name: str, found: Compared, controls: Sequence[Control]) -> Finding:
    return Finding(
        name,
        0,
        "sensitivity",
        1.0,
        found.share,
        controls=tuple(controls),
        violations=found.problems,
        note="equal answers on neighbouring tables: the same looks, charges and bytes; exact changes within the charge",
    )


__all__ = ["BUDGET", "Compared", "Recorder", "audit_generator", "audit_looks", "compare", "used_share"]

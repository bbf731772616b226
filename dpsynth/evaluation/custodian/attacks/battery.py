"""All attacks on one release, each beside the same attack on a release that leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from dpsynth.evaluation.custodian.attacks.attributes import attributes, uncertain
from dpsynth.evaluation.custodian.attacks.case import Case, planted
from dpsynth.evaluation.custodian.attacks.completion import completion
from dpsynth.evaluation.custodian.attacks.copies import copies
from dpsynth.evaluation.custodian.attacks.judging import cannot
from dpsynth.evaluation.custodian.attacks.linkage import linkage
from dpsynth.evaluation.custodian.attacks.membership import membership
from dpsynth.evaluation.custodian.attacks.shadows import MODELS, Refit, copied, shadows
from dpsynth.evaluation.custodian.attacks.singling import singling
from dpsynth.evaluation.custodian.attacks.space import Space
from dpsynth.evaluation.custodian.attacks.targets import choose
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.progress import report

STAGE = "attacks"
Done = TypeVar("Done")
Attack = Callable[[Case, np.random.Generator], list[Finding]]
CAVEAT = "Attacks falsify, they never certify: that none of these succeeds does not show that the release is safe."
UNCAUGHT = "A planted leak was not caught either: here this attack says nothing."


def run_attacks(
    tables: Tables,
    *,
    rng: np.random.Generator,
    deep: bool = False,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    refit: Refit | None = None,
) -> list[Finding]:
    """What every attack did to training units, beside holdout units (baseline) and a planted leak (control).

    ``low > baseline`` says that a training unit is worse off than one that the release never saw, at 95 % for each
    finding by itself: of many, one in forty does so by chance.

    Args:
        tables: released, training and holdout rows.
        rng: for choosing who is attacked, and for models.
        deep: also shadow models, which refit the generator many times.
        target: a column to guess, unless `sensitive` names some.
        sensitive: columns to guess; without these or `target`, those of which the release leaves most to guess.
        refit: how to fit the generator again; see `Refit`.
    """
    space = Space(tables, rng)
    targets = choose(tables, space, rng)
    if isinstance(targets, str):
        return [cannot("attacks", "", targets)]
    case = Case(tables, targets, tables.synthetic, rng)
    guessed = tuple(sensitive) or ((target,) if target is not None else uncertain(case))
    attacks: list[Attack] = [copies, membership, partial(attributes, sensitive=guessed), linkage, singling, completion]
    models = MODELS + MODELS // 4 if deep and refit is not None else 0
    told = _Told(2 * len(attacks) + models)
    found = [finding for attack in attacks for finding in told(attack(case, rng))]
    if deep:
        found += shadows(case, rng, refit, told=told)
    del case  # one release at a time is held in memory
    leak = Case(tables, targets, planted(tables, targets), rng)
    caught = [finding for attack in attacks for finding in told(attack(leak, rng))]
    if deep and refit is not None:
        caught += shadows(leak, rng, copied, MODELS // 4, told=told)
    return _controlled(found, caught)


class _Told:
    """Counts what is done, and tells it.

    Args:
        steps: how many there are.
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0

    def __call__(self, made: Done) -> Done:
        """One more is made."""
        self._done += 1
        report(STAGE, min(0.99, self._done / self._steps))
        return made


def _controlled(found: list[Finding], caught: list[Finding]) -> list[Finding]:
    """The findings with their controls; where a control shows no leak, a note says so."""
    controls = {(each.measure, each.subject): each for each in caught}
    out = []
    for each in found:
        control = controls.get((each.measure, each.subject))
        if control is None or np.isnan(each.value):
            out.append(each)
            continue
        blind = not control.low > control.baseline
        note = f"{each.note} {UNCAUGHT}".strip() if blind else each.note
        out.append(replace(each, control=control.value, note=note))
    return out


__all__ = ["CAVEAT", "Attack", "run_attacks"]

"""From what an attack got of each unit to findings: the stratum of rare units beside all, and never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from dpsynth.evaluation.custodian.attacks.intervals import Estimate, auroc, excess, hits_at, mean
from dpsynth.evaluation.custodian.attacks.targets import Targets
from dpsynth.evaluation.custodian.finding import Finding

Scores = NDArray[Any]
LEAST_UNITS = 10
RARE = "rare units"
FALSE_POSITIVE_RATES = (0.01, 0.001)


def finding(measure: str, subject: str, value: Estimate, baseline: float, note: str = "") -> Finding:
    """A figure that was found."""
    return Finding("privacy", measure, subject, value.value, value.low, value.high, baseline, note=note)


def cannot(measure: str, subject: str, why: str) -> Finding:
    """A figure there is none of."""
    return Finding("privacy", measure, subject, note=why)


def compared(measure: str, subject: str, targets: Targets, members: Scores, others: Scores) -> Iterator[Finding]:
    """How often the attack succeeds on training units, beside holdout units: only the difference is loss of privacy.

    Args:
        members, others: success on each attacked unit, in [0, 1]; shapes (units,).
    """
    for stratum, ours, theirs in strata(targets, members, others):
        where = _joined(subject, stratum)
        if min(len(ours), len(theirs)) < LEAST_UNITS:
            yield cannot(measure, where, _few(ours, theirs))
            continue
        baseline = mean(theirs)
        yield finding(measure, where, excess(mean(ours), baseline), baseline.value)


def told_apart(measure: str, subject: str, targets: Targets, members: Scores, others: Scores) -> Iterator[Finding]:
    """How well a score tells training units from holdout units: area under the curve, and hits at few false alarms.

    Args:
        members, others: the score of each attacked unit, greater for a member; shapes (units,).
    """
    for stratum, ours, theirs in strata(targets, members, others):
        where = _joined(subject, stratum)
        if min(len(ours), len(theirs)) < LEAST_UNITS:
            yield cannot(f"{measure}: AUROC", where, _few(ours, theirs))
            continue
        yield finding(f"{measure}: AUROC", where, auroc(ours, theirs), 0.5)
        for rate in FALSE_POSITIVE_RATES:
            name = f"{measure}: TPR at {100 * rate:g} % FPR"
            if len(theirs) * rate < 1:
                yield cannot(name, where, f"{len(theirs)} holdout units cannot show a rate of {100 * rate:g} %.")
                continue
            hits, false = hits_at(ours, theirs, rate)
            yield finding(name, where, excess(hits, false), false.value)


def strata(targets: Targets, members: Scores, others: Scores) -> Iterator[tuple[str, Scores, Scores]]:
    """All units, then the rare ones."""
    yield "", members, others
    yield RARE, members[targets.rare(targets.train)], others[targets.rare(targets.holdout)]


def _joined(subject: str, stratum: str) -> str:
    return ", ".join(filter(None, (subject, stratum)))


def _few(ours: Scores, theirs: Scores) -> str:
    return f"{len(ours)} training and {len(theirs)} holdout units: an attack is judged on at least {LEAST_UNITS}."


__all__ = ["FALSE_POSITIVE_RATES", "LEAST_UNITS", "RARE", "cannot", "compared", "finding", "strata", "told_apart"]

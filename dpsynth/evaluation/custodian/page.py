"""The report as one self-contained HTML page that needs no script: equal findings give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isnan
from typing import Any

from jinja2 import Template

from dpsynth.evaluation.custodian.charts import Scale, number, strip
from dpsynth.evaluation.custodian.finding import Finding
from dpsynth.evaluation.custodian.variables import FLAGGED
from dpsynth.private import STAMP
from dpsynth.release.report.charts import shorten
from dpsynth.release.template import template

NAME, NOTE = 120, 500
"""Characters of a name and of a sentence at most."""
OPEN = 12
"""Groups of more findings are folded at first."""
TITLES = {
    "fidelity": (
        "Fidelity",
        "How near the released rows are to the real ones. The baseline is the holdout in their place: real rows, as "
        "many, that the release never saw. It is what a perfect release would score.",
    ),
    "utility": (
        "Utility",
        "What conclusions from released rows are worth. The baseline comes from real training rows; of coefficients' "
        "overlap and where rows are told apart, from the holdout.",
    ),
    "fairness": (
        "Fairness",
        "What a model does to groups, trained on released rows and, as the baseline, on real ones. Where a difference "
        "is added by the release, it treats groups more unequally than the data do.",
    ),
    "privacy": (
        "Privacy attacks",
        "Attacks falsify, they never certify: one that succeeds shows a leak, and one that fails shows only that this "
        "attack failed. What protects people is the guarantee in the certificate. Each attack is shown with a control, "
        "the same attack where a leak was planted, which it must find to mean anything, and a baseline, what guessing "
        "or rows that were not used score.",
    ),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one measure on one scale, or several measures that have one finding each.

    Attributes:
        title: of the table.
        rows: what each finding is called, the finding, and its scale.
    """

    title: str
    rows: tuple[tuple[str, Finding, Scale | None], ...]


def page(findings: Sequence[Finding], about: Mapping[str, Any]) -> str:
    """The page."""
    sections = [(name, *TITLES[name], list(_groups(findings, name))) for name in TITLES]
    flagged = [each for each in findings if FLAGGED in each.note]
    attacks = [each for each in findings if each.section == "privacy" and not isnan(each.value)]
    return _template().render(
        stamp=STAMP,
        about=about,
        doubts=about.get("doubts", ()),
        sections=[each for each in sections if each[3]],
        skipped=[title for _, title, _, groups in sections if not groups],
        cards=list(_cards(findings)),
        flagged=flagged,
        attacks=len(attacks),
        excess=sum(map(exceeds, attacks)),
        variables=len({each.subject for each in flagged}),
        unknown=[each for each in findings if isnan(each.value) and each.note],
        most=OPEN,
    )


def _groups(findings: Sequence[Finding], section: str) -> Iterator[Group]:
    measures: dict[str, list[Finding]] = {}
    for each in findings:
        if each.section == section:
            measures.setdefault(each.measure, []).append(each)
    single = [own[0] for own in measures.values() if len(own) == 1]
    if single:
        named = ((f"{e.measure}: {e.subject}" if e.subject else e.measure, e, Scale.of([e])) for e in single)
        yield Group("Single figures", tuple(named))
    for measure, own in measures.items():
        if len(own) > 1:
            scale = Scale.of(own)
            yield Group(measure, tuple((each.subject or "whole table", each, scale) for each in own))


def exceeds(finding: Finding) -> bool:
    """Whether an attack does better on the rows of the release than on rows that it never saw, beyond its interval."""
    return finding.section == "privacy" and finding.low > finding.baseline


def _cards(findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """The figures that lead the page: those of whole tables."""
    wanted = (
        "total variation distance, 2-way",
        "pMSE, ratio to its expectation",
        "area under the ROC curve",
        "confidence-interval overlap, mean over coefficients",
        "concordance index",
        "demographic parity difference",
    )
    for measure in wanted:
        own = [each for each in findings if each.measure == measure and not isnan(each.value)]
        if own:
            yield own[0], measure


@cache
def _template() -> Template:
    return template(
        __file__,
        {"strip": strip, "isnan": isnan, "exceeds": exceeds},
        number=number,
        short=lambda text: shorten(str(text), NAME),
        said=lambda text: shorten(str(text), NOTE),
    )


__all__ = ["page"]

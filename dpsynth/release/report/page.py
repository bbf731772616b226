"""The report as one self-contained HTML page. Equal reports give equal bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache

from jinja2 import Template

from accountants.certificate import chance_in_words
from accountants.events import ADD_OR_REMOVE
from dpsynth.release.report.budget import Look
from dpsynth.release.report.charts import bars, percent, shorten
from dpsynth.release.report.promise import in_a_hundred
from dpsynth.release.report.report import ReleaseReport
from dpsynth.release.report.verdicts import ALPHA, CONFIDENCE, MATERIAL, Fit, Verdict
from dpsynth.release.template import template

MOST_LOOKS = 300
MOST_FITS = 200
MOST_NAMES = 12
NAME = 60
_THIN = "\u202f"
"""Between thousands; no line breaks there."""
_RANK = {Verdict.CONTRADICTS: 0, Verdict.TOO_NOISY: 1, Verdict.AGREES: 2}


def page(report: ReleaseReport) -> str:
    """The page."""
    spent = report.spending
    judged = [*(c.fit for c in report.columns if c.fit is not None), *report.joint]
    return _template().render(
        report=report,
        draw=report.draw,
        promise=report.promise,
        cap_is_blank=report.promise.relation != ADD_OR_REMOVE,
        spent=spent,
        shares=[
            ("all", "rows in all", spent.totals),
            ("one", "single columns", spent.ones),
            ("more", "columns together", spent.more),
            ("moment", "how ordered columns go together", spent.moments),
            ("choice", "choosing what to measure", spent.choices),
            ("check", "checking the model", spent.checks),
            ("rest", "charged, not used", spent.unused),
        ],
        looks=_costliest(spent.looks),
        hidden_looks=max(0, len(spent.looks) - MOST_LOOKS),
        tally=Counter(fit.verdict.value for fit in judged),
        judged=len(judged),
        widest=max((fit.bound for fit in judged if fit.verdict is Verdict.AGREES), default=0.0),
        joint=_worst(report.joint),
        hidden_fits=max(0, len(report.joint) - MOST_FITS),
        unseen=_worst(report.unseen.fits) if report.unseen else [],
        outside=[margin for margin in report.columns if margin.outside is not None],
        alpha=ALPHA,
        confidence=CONFIDENCE,
        material=MATERIAL,
        most=MOST_NAMES,
    )


def _costliest(looks: Sequence[Look]) -> list[tuple[int, Look]]:
    """Numbered from 1, in order; where there are too many, those with the largest shares."""
    numbered = list(enumerate(looks, start=1))
    kept = sorted(numbered, key=lambda pair: (-(pair[1].share or 0.0), pair[0]))[:MOST_LOOKS]
    return sorted(kept, key=lambda pair: pair[0])


def _worst(joint: Iterable[Fit]) -> list[Fit]:
    """Contradictions first, then what nobody can tell; each by what may be wrong."""
    return sorted(joint, key=lambda fit: (_RANK[fit.verdict], -fit.least, -fit.bound, fit.clique))[:MOST_FITS]


def _rows(value: float) -> str:
    """A number of rows, for people."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.replace(",", _THIN).replace("-", "−")


def _whole(value: int) -> str:
    return f"{value:,}".replace(",", _THIN)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _tiny(value: Decimal) -> str:
    return f"{value.normalize():e}"


def _odds(value: Decimal) -> str:
    return f"{value:f}" if value < 10**9 else f"{value:.2e}"


def _columns(clique: Iterable[str]) -> str:
    return " × ".join(shorten(name, NAME) for name in clique)


@cache
def _template() -> Template:
    return template(
        __file__,
        bars=bars,
        chance=chance_in_words,
        columns=_columns,
        hundred=in_a_hundred,
        odds=_odds,
        percent=percent,
        plain=_plain,
        rows=_rows,
        short=lambda text: shorten(text, NAME),
        tiny=_tiny,
        whole=_whole,
    )


__all__ = ["page"]

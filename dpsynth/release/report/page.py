"""The report as one self-contained HTML page. Equal facts give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from accountants import Claim, numerical_slack
from accountants.certificate import (
    Draw,
    chance_in_words,
    describes,
    given_assumptions,
    guarantee_in_words,
    lifetime_in_words,
    not_protected,
    protected,
)
from accountants.exact import UP
from accountants.lifetime import Lifetime
from accountants.reading import Reading, read
from dpsynth.constraints.checking import Checked
from dpsynth.domain import Codes
from dpsynth.release.report.budget import Look, spending
from dpsynth.release.report.charts import bars, percent, shorten
from dpsynth.release.report.margins import BLURRED, Fit, columns, fits, unmeasured
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

MOST_LOOKS = 300
MOST_FITS = 200
MOST_NAMES = 12
NAME = 60
_THIN = "\u202f"
"""Between thousands; no line breaks there."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """All that the page may know.

    Attributes:
        dataset: its declared id.
        issued: ISO date.
        claim, charged: what was reserved, and the looks that ran as the ledger has them.
        lifetime, relation: the account's filter, and the neighbours that its releases together are about.
        draw: the table's digest, model, rows and given columns.
        schema, transcript: what was asked and answered.
        total: the model's noisy estimate of the number of rows.
        codes: the released rows, encoded.
        key_id: of the signer.
        held: the schema's constraints, checked on the released rows.
    """

    dataset: str
    issued: str
    claim: Claim
    charged: Mapping[str, Sequence[Mapping[str, Any]]]
    lifetime: Lifetime
    relation: str
    draw: Draw
    schema: Schema
    transcript: Transcript
    total: float
    codes: Codes
    key_id: str
    held: Sequence[Checked] = ()


def page(facts: Facts) -> str:
    """The page."""
    claim, draw = facts.claim, facts.draw
    spent = spending(claim, facts.charged, facts.transcript)
    margins = list(columns(facts.schema, facts.transcript, facts.codes, draw.rows, facts.total))
    fitted = list(fits(facts.transcript, facts.codes, draw.rows, facts.total))
    joint = [fit for fit in fitted if len(fit.clique) > 1]
    apart = unmeasured(facts.schema.domain, facts.transcript)
    return _template().render(
        facts=facts,
        claim=claim,
        draw=draw,
        name=facts.schema.name,
        labels={column.name: column.label for column in facts.schema.columns},
        guarantee=guarantee_in_words(claim.budget, claim.unit),
        whole=lifetime_in_words(facts.lifetime.budget, facts.relation),
        reading=_figures(_reading(claim)),
        cap=_figures(read(facts.lifetime.budget, facts.lifetime.mu_squared, delta0=facts.lifetime.delta0)),
        describes=describes(claim.unit),
        protected=protected(claim.unit),
        unprotected=not_protected(claim.unit, draw.given),
        assumptions=[*claim.assumptions, *given_assumptions(draw.given)],
        spent=spent,
        shares=[
            ("all", "rows in all", spent.totals),
            ("one", "single columns", spent.ones),
            ("more", "columns together", spent.more),
            ("choice", "choosing what to measure", spent.choices),
            ("rest", "charged, not used", spent.unused),
        ],
        looks=_costliest(spent.looks),
        hidden_looks=max(0, len(spent.looks) - MOST_LOOKS),
        margins=margins,
        one_way={fit.clique[0]: fit for fit in reversed(fitted) if len(fit.clique) == 1},
        joint=_worst(joint),
        blurred=BLURRED,
        hidden_fits=max(0, len(joint) - MOST_FITS),
        outside=[margin for margin in margins if margin.outside is not None],
        apart=apart,
        pairs_apart=sum(len(others) for others in apart.values()) // 2,
        pairs=len(margins) * (len(margins) - 1) // 2,
        most=MOST_NAMES,
    )


def _costliest(looks: Sequence[Look]) -> list[tuple[int, Look]]:
    """Numbered from 1, in order; where there are too many, those with the largest shares."""
    numbered = list(enumerate(looks, start=1))
    kept = sorted(numbered, key=lambda pair: (-(pair[1].share or 0.0), pair[0]))[:MOST_LOOKS]
    return sorted(kept, key=lambda pair: pair[0])


def _worst(joint: Iterable[Fit]) -> list[Fit]:
    """The worst fits first."""
    return sorted(joint, key=lambda fit: (-(fit.distance - fit.noise), fit.clique))[:MOST_FITS]


def _reading(claim: Claim) -> Reading:
    mu_squared, delta0 = claim.domination
    return read(claim.budget, mu_squared, numerical_slack(claim.budget.epsilon), delta0)


def _figures(reading: Reading) -> dict[str, str]:
    percent_of = UP.multiply(reading.true_positives, 100).normalize()
    return {"odds": f"{reading.odds:f}" if reading.odds < 10**9 else f"{reading.odds:.2e}", "found": f"{percent_of:f}"}


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


def _columns(clique: Iterable[str]) -> str:
    return " × ".join(shorten(name, NAME) for name in clique)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        bars=bars,
        chance=chance_in_words,
        columns=_columns,
        percent=percent,
        plain=_plain,
        rows=_rows,
        short=lambda text: shorten(text, NAME),
        tiny=_tiny,
        whole=_whole,
    )
    return environment.get_template("template.html")


__all__ = ["Facts", "page"]

"""The certificate as one self-contained HTML page: a pure function of the predicate. Equal predicates, equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Template

from dpsynth.release.certificate.chart import trade_off_chart
from dpsynth.release.certificate.outline import figures, outline, shown
from dpsynth.release.template import template


def certificate_page(predicate: Mapping[str, Any]) -> str:
    """The page. It says what the predicate says, whoever wrote that; nothing is loaded and nothing runs."""
    release, lifetime = figures(predicate, "guarantee"), figures(predicate, "lifetime")
    return _template().render(
        dataset=shown(predicate.get("dataset")),
        issued=shown(predicate.get("issued")),
        software=shown(predicate.get("software")),
        sections=outline(predicate),
        readings=(("This release", release), ("All releases of this dataset together", lifetime)),
        chart=trade_off_chart(release.curve, lifetime.curve),
    )


@cache
def _template() -> Template:
    return template(__file__)


__all__ = ["certificate_page"]

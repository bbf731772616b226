"""Inline SVG: bars of what was released, dots and whiskers of what was measured. Colours come from the page's CSS."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

from markupsafe import Markup, escape

from dpsynth.encoding import OUTSIDE_LABEL
from dpsynth.release.report.margins import ColumnMargin

_ROW, _WIDTH, _LEFT, _RIGHT = 20, 350, 132, 50
_NAME = _LEFT - 10
_LONG = 120
_SPAN = re.compile(
    r"\[(?P<day>\d{4}-\d\d-\d\d)(?P<time> [\d:]{8})?, (?P<end>\d{4}-\d\d-\d\d)(?: [\d:]{8})?[)\]](?P<more>.*)"
)
"""An interval of days or of seconds, perhaps followed by others merged with it."""


def shorten(text: str, most: int) -> str:
    """`text` in at most `most` characters, those that do not print replaced."""
    shown = "".join(c if c.isprintable() else "·" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def bars(column: ColumnMargin) -> Markup:
    """The column's cells, one row each: share released as a bar, share measured as a dot with 2 sigma whiskers."""
    scaled = [bar for bar in column.bars if not bar.rest] or column.bars
    top = max(0.01, *(max(bar.released, (bar.measured or 0.0) + 2 * (bar.sigma or 0.0)) for bar in scaled))
    scale = (_WIDTH - _LEFT - _RIGHT) / top
    rows = []
    for i, bar in enumerate(column.bars):
        y, middle = i * _ROW, i * _ROW + _ROW / 2
        label = "not in codebook" if bar.label == OUTSIDE_LABEL else bar.label
        tip = f"{shorten(label, _LONG)}: {percent(bar.released)} of the table"
        parts = []
        if bar.released <= top:
            parts.append(
                f'<rect class="bar" x="{_LEFT}" y="{y + 4}" width="{bar.released * scale:.1f}" height="{_ROW - 8}"/>'
            )
        if bar.measured is not None and bar.sigma is not None:
            tip += f"; measured {percent(bar.measured)}, plus or minus {percent(2 * bar.sigma)}"
            low, at, high = (_LEFT + scale * min(max(bar.measured + d * bar.sigma, 0.0), top) for d in (-2.0, 0.0, 2.0))
            if bar.measured <= top:
                parts.append(f'<path class="whisker" d="M{low:.1f} {middle:g}H{high:.1f}"/>')
                parts.append(f'<circle class="dot" cx="{at:.1f}" cy="{middle:g}" r="3"/>')
        rows.append(
            f"<g><title>{escape(tip)}</title>"
            f'<rect class="hit" x="0" y="{y}" width="{_WIDTH}" height="{_ROW}"/>'
            f'<text class="name" x="{_LEFT - 8}" y="{middle + 4:g}">{escape(_fitting(label))}</text>'
            f"{''.join(parts)}"
            f'<text class="figure" x="{_WIDTH}" y="{middle + 4:g}">{percent(bar.released)}</text></g>'
        )
    height = len(column.bars) * _ROW
    name = escape(f"Shares of {shorten(column.name, _LONG)}: released, and measured with noise")
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}">{"".join(rows)}</svg>'
    )


def _fitting(text: str) -> str:
    """As much of a label as fits beside the bars, in any of the usual fonts at 12 px; of dates, where they start."""
    shown = shorten(text, _LONG)
    if _fits(shown) < len(shown):
        shown = _SPAN.sub(_start, shown)
    fits = _fits(shown)
    return shown if fits == len(shown) else f"{shown[:fits]}…"


def _fits(text: str) -> int:
    """How many of its characters fit."""
    used = 0.0
    for fits, character in enumerate(text):
        used += _width(character)
        if used > _NAME - 12:
            return fits
    return len(text)


def _start(span: re.Match[str]) -> str:
    """Where an interval starts: its day, or the time on that day if it ends on the same; the tooltip has all of it."""
    if span["more"]:
        return f"{span['day']} or …"
    return f"from {span['day']}" if span["day"] != span["end"] else f"{span['day'][5:]}{span['time'] or ''}"


def _width(character: str) -> float:
    if east_asian_width(character) in "WF":
        return 12.5
    if character in " .,:;|!'()[]ijltfrI":
        return 4.8
    return 11.0 if character in "mwMW@%" or ord(character) > 0x2FFF else 7.6


def percent(share: float) -> str:
    """With as many digits as a reader needs. Beside few rows noise may make more than all of them."""
    value = 100 * share
    if abs(value) >= 100.5:
        return "over 100 %" if value > 0 else "below −100 %"
    if value == 0:
        return "0 %"
    if abs(value) < 0.01:
        return "<0.01 %" if value > 0 else ">−0.01 %"
    text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 0.995 else f"{value:.2f}"
    return f"{text.replace('-', '−')} %"


__all__ = ["bars", "percent", "shorten"]

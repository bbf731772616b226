"""Inline SVG: one strip for each finding, all of a measure on one scale. Colours come from the page's CSS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from markupsafe import Markup, escape

from dpsynth.evaluation.custodian.finding import Finding

_WIDTH, _HEIGHT, _MARGIN = 220, 22, 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a figure lies on a strip: from `low` at its left end to `high` at its right."""

    low: float
    high: float

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Scale | None:
        """The scale that holds every figure, None where there is none. Zero is on it if anything is near."""
        known = [
            figure
            for each in findings
            for figure in (each.value, each.low, each.high, each.baseline, each.control)
            if isfinite(figure)
        ]
        if not known:
            return None
        low, high = min(known), max(known)
        if low > 0 and low < 0.6 * high:
            low = 0.0
        if low == high:
            low, high = low - 0.5, high + 0.5
        return cls(low, high)

    def at(self, figure: float) -> float:
        """In pixels."""
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * (figure - self.low) / (self.high - self.low)


def strip(finding: Finding, scale: Scale | None) -> Markup:
    """Dot and whiskers for the figure, a bar for the baseline, a diamond for the planted control."""
    if scale is None:
        return Markup("")
    y = _HEIGHT / 2
    parts = [f'<path class="rule" d="M{_MARGIN} {y:g}H{_WIDTH - _MARGIN}"/>']
    if scale.low < 0 < scale.high:
        parts.append(f'<path class="zero" d="M{scale.at(0):.1f} 2V{_HEIGHT - 2}"/>')
    if isfinite(finding.control):
        x = scale.at(finding.control)
        parts.append(f'<path class="control" d="M{x:.1f} {y - 6:g}l5 6l-5 6l-5 -6z"/>')
    if isfinite(finding.baseline):
        parts.append(f'<path class="baseline" d="M{scale.at(finding.baseline):.1f} 3V{_HEIGHT - 3}"/>')
    if isfinite(finding.low) and isfinite(finding.high):
        parts.append(f'<path class="whisker" d="M{scale.at(finding.low):.1f} {y:g}H{scale.at(finding.high):.1f}"/>')
    if isfinite(finding.value):
        parts.append(f'<circle class="dot" cx="{scale.at(finding.value):.1f}" cy="{y:g}" r="4"/>')
    return Markup(
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said(finding))}">'
        f"{''.join(parts)}</svg>"
    )


def said(finding: Finding) -> str:
    """The figures in words."""
    words = [f"{number(finding.value)}"]
    if isfinite(finding.low):
        words.append(f"between {number(finding.low)} and {number(finding.high)}")
    if isfinite(finding.baseline):
        words.append(f"baseline {number(finding.baseline)}")
    if isfinite(finding.control):
        words.append(f"control {number(finding.control)}")
    return ", ".join(words)


def number(figure: float) -> str:
    """Three significant digits; a dash where there is no figure."""
    if not isfinite(figure):
        return "–"
    if figure == 0 or abs(figure) >= 1000:
        return f"{figure:,.0f}".replace(",", "\u202f").replace("-", "−")
    return f"{figure:.3g}".replace("-", "−") if abs(figure) >= 1e-4 else f"{figure:.1e}".replace("-", "−")


__all__ = ["Scale", "number", "said", "strip"]

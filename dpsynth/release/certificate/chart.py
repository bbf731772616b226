"""The trade-off curve as inline SVG: what any test for one unit's presence can find, for what it wrongly accuses."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 300, 58, 12, 26, 48
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

Curve = Sequence[tuple[float, float]]


def trade_off_chart(release: Curve, lifetime: Curve) -> Markup:
    """Both curves above the line of guessing. Colours and strokes come from the page's CSS."""
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    parts = [
        f'<path class="grid" d="M{_x(0)} {_y(t)}H{_x(1)}M{_x(t)} {_y(0)}V{_y(1)}"/>'
        f'<text class="tick y" x="{_LEFT - 6}" y="{float(_y(t)) + 4:.1f}">{100 * t:g} %</text>'
        f'<text class="tick x" x="{_x(t)}" y="{_TOP + _SIDE + 16}">{100 * t:g} %</text>'
        for t in _TICKS
    ]
    parts += [
        f'<path class="guess" d="{_line(((0.0, 0.0), (1.0, 1.0)))}"/>',
        f'<path class="whole" d="{_line(lifetime)}"/>' if lifetime else "",
        f'<path class="one" d="{_line(release)}"/>' if release else "",
        f'<text class="axis" x="{_x(0.5)}" y="{height - 8}">outsiders wrongly accused</text>',
        f'<text class="axis" transform="translate(13 {_y(0.5)}) rotate(-90)">members found, at most</text>',
    ]
    return Markup(
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="Trade-off curves: share of members '
        f'found against share of outsiders accused. The figures are in the tables below.">{"".join(parts)}</svg>'
    )


def _x(rate: float) -> str:
    return f"{_LEFT + _SIDE * rate:.1f}"


def _y(rate: float) -> str:
    return f"{_TOP + _SIDE * (1 - rate):.1f}"


def _line(curve: Curve) -> str:
    return "M" + "L".join(f"{_x(x)} {_y(y)}" for x, y in curve)


__all__ = ["trade_off_chart"]

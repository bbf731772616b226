"""Numbers as people read them, never rounded in the spender's favour."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

_UP, _DOWN = Context(prec=4, rounding=ROUND_CEILING), Context(prec=4, rounding=ROUND_FLOOR)


def small(figure: Decimal) -> str:
    """A delta: ``1e-9``."""
    return f"{figure.normalize():e}" if figure else "0"


def plain(figure: Decimal) -> str:
    """An epsilon as declared: ``3``."""
    return f"{figure.normalize():f}"


def up(figure: float | Decimal) -> str:
    """Four digits, rounded up: what is charged."""
    return plain(_UP.create_decimal(figure))


def down(figure: float | Decimal) -> str:
    """Four digits, rounded down: what is left."""
    return plain(_DOWN.create_decimal(figure))

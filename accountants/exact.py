"""Exact and directed-rounding arithmetic on declared numbers: nothing here ever rounds in the spender's favour."""

from __future__ import annotations

import math
import numbers
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Any

from mpmath import MPContext

UP = Context(prec=40, rounding=ROUND_CEILING)
DOWN = Context(prec=40, rounding=ROUND_FLOOR)
WORKING_DIGITS = 60
"""Digits that mpmath carries; results are then padded by 1e-30 and rounded to 40 digits in the safe direction."""

PAD = Decimal("1e-30")

_LEAST = "1e-100000"
"""mpmath's exponents have no end, those of decimals have."""
_MEMO_DIGITS = 2000
_own = threading.local()


@contextmanager
def precise(digits: int = WORKING_DIGITS) -> Iterator[Any]:
    """mpmath at `digits` decimal digits, in a context of this thread's own.

    The library's shared context has one precision for the whole process: another thread that plans, or a user's
    own mpmath code, would change it under a sampler at work. What contexts still share is the memo of constants
    (pi, ln 2, e, ln 10), which is written only when more digits are asked for than it holds: it is filled here
    beforehand, far beyond what is used, so that only code asking for 2,000 digits and more could touch it.
    """
    if not hasattr(_own, "context"):
        context = MPContext()
        with context.workdps(_MEMO_DIGITS):
            for constant in (context.pi, context.ln2, context.ln10, context.e):
                context.mpf(constant)
        _own.context = context
    context = _own.context
    with context.workdps(digits):
        yield context


def real(name: str, value: object, error: type[ValueError]) -> Decimal:
    """`value` as an exact finite Decimal. A float means the shortest decimal that prints as it.

    Raises:
        error: not a number, NaN, or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal | str):
        raise error(f"{name} must be a number, got {value!r}")
    try:
        exact = Decimal(value) if isinstance(value, Decimal | str) else Decimal(repr(float(value)))
    except (InvalidOperation, OverflowError, ValueError):
        exact = Decimal("NaN")
    if not exact.is_finite():
        raise error(f"{name} must be a finite number, got {value!r}; write it like 1, 0.5 or 1e-9")
    return exact


def positive(name: str, value: object, error: type[ValueError]) -> Decimal:
    """As `real`, and above zero."""
    exact = real(name, value, error)
    if exact <= 0:
        raise error(f"{name} must be above 0, got {value!r}; give a number like 1 or 0.5")
    return exact


def positive_float(name: str, value: object, error: type[ValueError]) -> float:
    """`value` as a finite float above zero, exactly as given."""
    number = float(positive(name, value, error)) if isinstance(value, Decimal | str) else value
    positive(name, number, error)
    result = float(number)  # type: ignore[arg-type]
    if not (0.0 < result < math.inf):
        raise error(f"{name} must be a finite number above 0, got {value!r}")
    return result


def to_mp(mp: Any, value: Decimal | float) -> Any:
    """An exact Decimal or float at the precision of the context `mp`."""
    return mp.mpf(str(value)) if isinstance(value, Decimal) else mp.mpf(value)


def ceil_decimal(value: Any) -> Decimal:
    """An mpmath value rounded up, beyond any working error."""
    if 0 < value < value.context.mpf(_LEAST):
        return Decimal(_LEAST)
    exact = Decimal(value.context.nstr(value, 50, strip_zeros=False))
    return UP.add(exact, UP.multiply(UP.abs(exact), PAD))


def floor_decimal(value: Any) -> Decimal:
    """An mpmath value rounded down, beyond any working error."""
    if 0 < value < value.context.mpf(_LEAST):
        return Decimal(0)
    exact = Decimal(value.context.nstr(value, 50, strip_zeros=False))
    return DOWN.subtract(exact, UP.multiply(UP.abs(exact), PAD))


def ceil_float(value: Decimal) -> float:
    """A float not below `value`, nor is the shortest decimal that prints as it."""
    result = float(value)
    while min(Decimal(result), Decimal(repr(result))) < value:
        result = math.nextafter(result, math.inf)
    return result


def floor_float(value: Decimal) -> float:
    """A float not above `value`, nor is the shortest decimal that prints as it."""
    result = float(value)
    while max(Decimal(result), Decimal(repr(result))) > value:
        result = math.nextafter(result, -math.inf)
    return result

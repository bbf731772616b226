"""Arithmetic on declared numbers: nothing is ever rounded in the spender's favour, and nothing odd is a number."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountants import Budget, BudgetError
from accountants.exact import (
    DOWN,
    PAD,
    UP,
    ceil_decimal,
    ceil_float,
    floor_decimal,
    floor_float,
    positive,
    positive_float,
    precise,
    real,
)

FIGURES = st.decimals("1e-30", "1e30", allow_nan=False, allow_infinity=False)


@given(FIGURES, FIGURES)
def test_costs_are_rounded_up_and_allowances_down(a, b):
    x, y = Fraction(a), Fraction(b)
    for up, down, exact in (
        (UP.add(a, b), DOWN.add(a, b), x + y),
        (UP.multiply(a, b), DOWN.multiply(a, b), x * y),
        (UP.divide(a, b), DOWN.divide(a, b), x / y),
        (UP.subtract(a, b), DOWN.subtract(a, b), x - y),
    ):
        assert Fraction(down) <= exact <= Fraction(up)
    third = Decimal(1), Decimal(3)
    assert 3 * Fraction(DOWN.divide(*third)) < 1 < 3 * Fraction(UP.divide(*third))


def test_figures_of_mpmath_are_padded_beyond_its_working_error():
    with precise() as mp:
        root, one = mp.sqrt(2), mp.mpf(1)
        assert Fraction(floor_decimal(root)) ** 2 < 2 < Fraction(ceil_decimal(root)) ** 2
        assert Fraction(floor_decimal(-root)) < -Fraction(ceil_decimal(root)) + Fraction(1, 10**20)
        for value in (one, -one):
            assert ceil_decimal(value) - int(value) >= PAD
            assert int(value) - floor_decimal(value) >= PAD


@given(st.decimals("-1e300", "1e300", allow_nan=False, allow_infinity=False))
def test_floats_are_rounded_both_as_binary_and_as_they_print(value):
    up, down = ceil_float(value), floor_float(value)
    assert min(Decimal(up), Decimal(repr(up))) >= value >= max(Decimal(down), Decimal(repr(down)))
    assert up <= math.nextafter(math.nextafter(float(value), math.inf), math.inf)
    assert down >= math.nextafter(math.nextafter(float(value), -math.inf), -math.inf)


def test_a_float_means_the_decimal_it_prints_as():
    assert real("x", 0.1, ValueError) == Decimal("0.1")
    assert Budget(0.1).epsilon * 3 == Budget(0.3).epsilon
    assert Budget(1, 1e-9).delta == Decimal("1e-9")


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "nan", "inf", Decimal("sNaN"), "x", "", None, True, 1j]
)
def test_what_is_no_finite_number_is_refused(value):
    for read in (real, positive, positive_float):
        with pytest.raises(BudgetError, match="x must be"):
            read("x", value, BudgetError)


@pytest.mark.parametrize("value", [0, -1, 0.0, -1e-300, "0", "-0.5", Decimal("-1e-400"), np.float64(-1)])
def test_zero_and_negative_figures_are_refused(value):
    for read in (positive, positive_float):
        with pytest.raises(BudgetError, match="above 0"):
            read("x", value, BudgetError)
    with pytest.raises(BudgetError, match="epsilon must be above 0"):
        Budget(value)


@pytest.mark.parametrize("delta", [0, 1, 2, -1e-9, "1.0", Decimal("1e-400") * 0])
def test_a_delta_lies_between_0_and_1(delta):
    with pytest.raises(BudgetError, match="delta must be above 0 and below 1"):
        Budget(1, delta)

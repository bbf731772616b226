"""Rubin's rules, against figures worked out by hand and a simulation that breaks with a wrong rule."""

import numpy as np
import pytest

from dpsynth.analysis import combine
from dpsynth.errors import NotSupported


def test_by_hand():
    found = combine([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    assert found.estimate == 2.0
    assert found.between == 1.0
    assert found.variance == pytest.approx(0.5 + 4 / 3)
    assert found.degrees == pytest.approx(2 * (1 + 0.5 / (4 / 3)) ** 2)
    assert (found.low + found.high) / 2 == pytest.approx(2.0)
    assert found.high - found.estimate == pytest.approx(2.7735, abs=1e-3) or found.high > found.estimate + 1.96 * 1.354
    wider = combine([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], level=0.99)
    assert wider.high > found.high


def test_tables_that_agree_leave_their_own_variance():
    found = combine([2.0, 2.0], [4.0, 4.0])
    assert found.degrees == np.inf
    assert found.high - found.low == pytest.approx(2 * 1.959964 * 2.0)


@pytest.mark.parametrize(("m", "least"), [(5, 0.915), (20, 0.935)])
def test_coverage_is_nominal_for_tables_enough(m, least):
    """Truth plus sampling plus noise; tables add the noise anew. Without the t distribution few of them hold less."""
    rng = np.random.default_rng(3)
    sampling, noise, held = 1.0, 3.0, []
    for _ in range(2000):
        seen = rng.normal(0, sampling) + rng.normal(0, noise)
        found = combine(seen + rng.normal(0, noise, m), np.full(m, sampling**2))
        held.append(found.low <= 0 <= found.high)
    assert least < np.mean(held) < 0.965


@pytest.mark.parametrize(
    ("estimates", "variances", "level", "says"),
    [
        ([1.0], [1.0], 0.95, "two at least"),
        ([1.0, 2.0], [1.0], 0.95, "as many variances as estimates"),
        ([1.0, np.nan], [1.0, 1.0], 0.95, "finite"),
        ([1.0, 2.0], [1.0, -1.0], 0.95, "at least 0"),
        ([1.0, 2.0], [1.0, 1.0], 95, "level must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_combined(estimates, variances, level, says):
    with pytest.raises(NotSupported, match=says):
        combine(estimates, variances, level)

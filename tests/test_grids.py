"""Fine public grids: they cover the range, stay small, end at round points and leave atoms alone."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth import grids
from dpsynth.schema import Schema

LOWS = st.integers(-(10**9), 10**9) | st.integers(-3, 3)
SPANS = st.integers(1, 200) | st.integers(1, 10**9)
ATOMS = st.lists(st.integers(-(10**9), 10**9), max_size=5)


def edges_of(day: str, until: str) -> list[date]:
    low, high = ((date.fromisoformat(each) - date(1970, 1, 1)).days for each in (day, until))
    return [date(1970, 1, 1) + timedelta(days=edge) for edge in grids.days(low, high, ()).edges]


@settings(deadline=None, max_examples=300)
@given(LOWS, SPANS, ATOMS, st.sampled_from(["linear", "log", "days", "moments"]), st.integers(1, 1000))
def test_a_grid_covers_its_range_with_few_cells_and_leaves_atoms_alone(low, span, atoms, kind, unit):
    high = low + span
    if kind == "log":
        low, high = abs(low), abs(low) + span
    inside = {a for a in atoms if low <= a <= high}
    if kind in ("linear", "log"):
        found = grids.numbers(low, high, unit if kind == "log" else None, atoms)
        inside |= {0} if low <= 0 <= high else set()
        most = grids.MOST_CELLS
    else:
        found = (grids.days if kind == "days" else grids.moments)(
            low // 100, high // 100 + 1, [a // 100 for a in atoms]
        )
        low, high, inside = low // 100, high // 100 + 1, {a // 100 for a in atoms if low <= a <= high}
        most = grids.MOST_TURNS + grids.MOST_CELLS
    edges = found.edges
    assert (edges[0], edges[-1]) == (low, high + 1)
    assert len(found) <= most + 2 * (len(inside) + 2)
    for atom in {low, high, *inside}:
        assert atom in edges
        assert atom + 1 in edges
    assert (np.diff(found.positions) > 0).all()
    points = found.draw(np.arange(len(found)), np.random.default_rng(0))
    assert (np.searchsorted(edges, points, side="right") - 1 == np.arange(len(found))).all()


def test_few_points_have_a_cell_each():
    assert grids.numbers(17, 90, None, ()).edges == tuple(range(17, 92))
    assert len(grids.numbers(0, grids.MOST_CELLS - 1, 1, ())) == grids.MOST_CELLS


def test_wide_ranges_end_at_round_numbers():
    edges = grids.numbers(0, 1_500_000, None, ()).edges
    assert edges[:4] == (0, 1, 20_000, 40_000)
    assert edges[-3:] == (1_480_000, 1_500_000, 1_500_001)
    assert grids.numbers(-37, 964, None, ()).edges[:4] == (-37, -36, -30, -20)


def test_a_calendar_gets_coarser_with_its_span():
    assert edges_of("2020-01-01", "2020-03-01")[:2] == [date(2020, 1, 1), date(2020, 1, 2)]
    months = edges_of("2015-01-01", "2019-12-31")
    assert date(2017, 3, 1) in months and date(2017, 3, 2) in months and date(2017, 3, 16) in months  # noqa: PT018
    quarters = edges_of("1990-05-05", "2019-12-31")
    assert date(1995, 4, 1) in quarters and date(1995, 4, 2) in quarters  # noqa: PT018
    years = edges_of("1920-01-01", "2019-12-31")
    assert date(1950, 1, 1) in years and date(1950, 1, 2) in years and date(1950, 4, 1) not in years  # noqa: PT018
    assert len(edges_of("0001-01-01", "9999-12-30")) <= grids.MOST_CELLS + 5


@pytest.mark.parametrize("until", ["2020-01-01 00:01:00", "2020-01-02", "2020-02-01", "2029-01-01"])
def test_moments_end_where_clocks_and_days_turn(until):
    column = Schema.loads(f"columns: {{a: {{type: datetime, min: 2020-01-01, max: {until}, bins: auto}}}}").columns[0]
    steps = np.diff(column.partition.edges[2:-2])
    assert len(column.partition) <= grids.MOST_TURNS + 4
    assert (86400 % steps[steps < 86400] == 0).all()
    assert (steps[steps >= 86400] % 86400 == 0).all()

"""Distances are close to Gower's, ties exact and the width bounded."""

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.attacks import space as module
from dpsynth.evaluation.custodian.attacks.neighbours import nearest
from dpsynth.evaluation.custodian.attacks.space import COLUMN, MOST_LEVELS, Space
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.schema import Schema
from tests.evaluation.custodian.attacks.visits import schema, tables


def of(frame: pd.DataFrame, declared: str, **others: pd.DataFrame) -> Tables:
    real = {"train": frame, "holdout": frame} | others
    return read_tables(Schema.loads(declared), frame, real["train"], real["holdout"], np.random.default_rng(0))[0]


def space_of(read: Tables) -> Space:
    return Space(read, np.random.default_rng(0))


def gower(space: Space, frame: pd.DataFrame) -> np.ndarray:
    """Mean over columns: 1 for another level, the distance of places for numbers."""
    total = np.zeros((len(frame), len(frame)))
    for axis in space.axes:
        cells = axis.scaled(frame[axis.name])
        apart = cells[:, None] - cells[None, :]
        total += np.abs(apart) if axis.ordered else apart != 0
    return total


def test_squared_distances_are_nearly_gowers():
    read = tables(0.0, 0, patients=60)
    space = space_of(read)
    frame = read.train[read.train.notna().all(axis=1)]
    points = space.embed(frame).astype(np.float64)
    squared = ((points[:, None] - points[None, :]) ** 2).sum(axis=2) / COLUMN
    exact = gower(space, frame)
    assert np.corrcoef(squared.ravel(), exact.ravel())[0, 1] > 0.995
    assert np.abs(squared - exact).max() < 0.5  # of ten columns


def test_an_empty_cell_is_another_value():
    space = space_of(tables(0.0, 0, patients=60))
    frame = tables(0.0, 0, patients=60).train.iloc[:1]
    for column in ("ward", "cost"):
        full = frame.assign(**{column: pd.Series(frame[column]).fillna("north" if column == "ward" else 500.0)})
        empty = full.assign(**{column: pd.Series(frame[column]).where(np.zeros(1, dtype=bool))})
        apart = nearest(space.embed(full), space.embed(empty), 1)[0][0, 0]
        assert 0.7 <= apart <= 1.5
        assert nearest(space.embed(empty), space.embed(empty), 1)[0][0, 0] == 0


def test_neighbours_are_those_of_brute_force_and_equal_records_have_distance_zero():
    read = tables(0.0, 1, patients=200)
    space = space_of(read)
    rows, queries = space.embed(read.synthetic), space.embed(read.train.iloc[:40])
    squared = ((queries[:, None].astype(np.float64) - rows[None, :].astype(np.float64)) ** 2).sum(axis=2) / COLUMN
    distances, places = nearest(rows, queries, 3)
    assert distances == pytest.approx(np.sort(squared, axis=1)[:, :3], abs=1e-12)
    assert np.take_along_axis(squared, places, axis=1) == pytest.approx(distances, abs=1e-12)
    assert (nearest(rows, rows[:50], 1)[0] == 0).all()


def test_fewer_rows_than_neighbours_leave_the_rest_infinitely_far():
    points = np.zeros((2, 3), dtype=np.float32)
    distances, places = nearest(points, points, 4)
    assert distances.tolist() == [[0, 0, np.inf, np.inf]] * 2
    assert places.shape == (2, 4)
    assert nearest(points[:0], points, 1)[0].tolist() == [[np.inf], [np.inf]]
    assert nearest(points, points[:0], 1)[0].shape == (0, 1)


def test_many_levels_take_bounded_width_and_stay_apart():
    codes = pd.DataFrame({"a": np.arange(3000) % 3000, "b": np.arange(3000) % 2})
    space = space_of(of(codes, "columns: {a: {type: coded, cardinality: 3000}, b: {type: coded, cardinality: 2}}"))
    assert space.width == MOST_LEVELS + 1
    points = space.embed(pd.DataFrame({"a": codes["a"].astype(str), "b": "0"}).astype("category")[["a", "b"]])
    assert len(np.unique(points, axis=0)) > 2950
    apart = ((points[:500, None] - points[None, 500:900]) ** 2).sum(axis=2) / COLUMN
    assert apart.mean() == pytest.approx(1, abs=0.05)


def test_columns_without_two_values_are_left_out():
    frame = pd.DataFrame({"a": [1, 1, 1], "b": [None, None, None], "c": [1.0, 2.0, 1.0], "d": [5.0, None, 5.0]})
    number = "{type: float, min: 0, max: 9, missing: true}"
    read = of(frame, f"columns: {{a: {{type: integer, min: 0, max: 9}}, b: {number}, c: {number}, d: {number}}}")
    assert space_of(read).names == ("c", "d")


def test_outliers_are_far_and_dense_values_resolved():
    values = np.concatenate([np.linspace(0, 1, 1001), [1000.0]])
    read = of(pd.DataFrame({"a": values}), "columns: {a: {type: float, min: 0, max: 1000}}")
    (axis,) = space_of(read).axes
    places = axis.scaled(pd.Series([0.0, 0.5, 1.0, 1000.0]))
    assert places[1] - places[0] == pytest.approx(0.25, abs=0.01)
    assert places[3] - places[2] > 0.45


def test_released_digits_count_as_copies():
    declared = "columns: {a: {type: float, min: 0, max: 9, decimals: 1}, b: {type: integer, min: 0, max: 9}}"
    real = pd.DataFrame({"a": [1.2499, 3.0, -0.0], "b": [1, 2, 3]})
    read = of(pd.DataFrame({"a": [1.2, 3.1, 0.0], "b": [1, 2, 3]}), declared, train=real)
    space = space_of(read)
    assert (space.hashes(read.synthetic) == space.hashes(read.train)).tolist() == [True, False, True]


def test_coordinates_of_columns_are_theirs():
    read = tables(0.0, 2, patients=60)
    space = space_of(read)
    parts = [space.coordinates([name]) for name in space.names]
    assert np.concatenate(parts).tolist() == list(range(space.width))
    changed = read.train.assign(age=read.train["age"] + 30)
    moved = np.flatnonzero((space.embed(changed) != space.embed(read.train)).any(axis=0))
    assert set(moved) <= set(space.coordinates(["age"]))


def test_infinite_and_huge_numbers_are_numbers_or_empty():
    cells = pd.Series([np.inf, -np.inf, 1e308, -1e308, np.nan])
    assert np.isnan(module.numbers(cells)).tolist() == [True, True, False, False, True]
    frame = pd.DataFrame({"a": [1e308, -1e308, 3.0, 4.0]})
    space = space_of(of(frame, "columns: {a: {type: float, min: 0, max: 9}}"))
    assert np.isfinite(space.embed(frame)).all()


def test_the_schema_of_the_tests_is_wholly_in_use():
    assert set(space_of(tables(0.0, 0, patients=60)).names) == set(schema().names)

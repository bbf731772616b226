"""Neighbours grouped in ordered columns, and told apart again by the one-way."""

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.generators.denoising import Denoised
from dpsynth.generators.grouping import FEWEST_GROUPS, grouped
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import Measurement


def group(values, *, sigma=1.0, order=0.0, ordered=(), least=70.0, merge_below=3.0):
    base = Domain.of({"a": len(values)})
    one_way = Measurement(("a",), np.asarray(values, dtype=float), sigma)
    rare = Recoding.merging_rare(base, [one_way], {}, merge_below)
    return rare, grouped(rare, [Denoised(one_way, order)], ordered, least)


def test_groups_are_runs_of_neighbours_that_hold_enough():
    _, found = group(np.full(40, 50.0), ordered={"a"}, least=100.0)
    np.testing.assert_array_equal(found.maps["a"], np.arange(40) // 2)
    np.testing.assert_allclose(found.weights["a"], 0.5)


def test_there_are_never_too_few_groups():
    _, found = group(np.full(64, 50.0), ordered={"a"}, least=1e6)
    assert found.domain["a"] == FEWEST_GROUPS


def test_a_cell_of_that_size_stays_alone():
    values = np.full(41, 10.0)
    values[20] = 5_000.0
    _, found = group(values, ordered={"a"})
    assert np.bincount(found.maps["a"])[found.maps["a"][20]] == 1
    assert found.maps["a"][19] < found.maps["a"][20] < found.maps["a"][21]


def test_what_was_rare_stays_together():
    values = np.full(40, 50.0)
    values[[3, 17, 30]] = 1.0
    rare, found = group(values, ordered={"a"}, least=100.0)
    held = np.flatnonzero(found.maps["a"] == found.maps["a"][3])
    np.testing.assert_array_equal(held, [3, 17, 30])
    np.testing.assert_allclose(found.weights["a"][held], rare.weights["a"][held])
    np.testing.assert_allclose(np.bincount(found.maps["a"], found.weights["a"]), 1.0)


@pytest.mark.parametrize(("order", "groups"), [(0.0, False), (2.9, False), (3.1, True)])
def test_undeclared_columns_are_grouped_where_their_counts_say_they_are_in_order(order, groups):
    rare, found = group(np.full(40, 50.0), order=order, least=100.0)
    assert (found.domain["a"] < rare.domain["a"]) == groups


@pytest.mark.parametrize(("cells", "least"), [(20, 70.0), (40, 0.0), (40, 1.0)])
def test_small_columns_and_cells_that_hold_enough_are_left_alone(cells, least):
    rare, found = group(np.full(cells, 50.0), ordered={"a"}, least=least)
    np.testing.assert_array_equal(found.maps["a"], rare.maps["a"])


def test_a_column_of_nothing_but_noise_stays_one_cell():
    rare, found = group(np.full(40, 0.5), ordered={"a"})
    assert rare.domain["a"] == found.domain["a"] == 1

"""Partitions into runs against every way to cut a row of cells."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from dpsynth.generators.partition import partitions


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cuts_lose_less(seed):
    cells, rng = 7, np.random.default_rng(seed)
    lost = rng.random((cells + 1, cells + 1)) * np.arange(1, cells + 2)
    lost[np.tril_indices(cells + 1)] = np.inf
    found = list(partitions(lost))
    assert len(found) == cells
    for runs, (loss, codes) in enumerate(found, start=1):
        every = [(0, *inner, cells) for inner in combinations(range(1, cells), runs - 1)]
        costs = [sum(lost[a, b] for a, b in pairwise(cuts)) for cuts in every]
        assert loss == pytest.approx(min(costs))
        best = every[int(np.argmin(costs))]
        np.testing.assert_array_equal(codes, np.searchsorted(best, np.arange(cells), side="right") - 1)


def test_one_cell_is_one_run():
    ((loss, codes),) = partitions(np.array([[np.inf, 0.5], [np.inf, np.inf]]))
    assert (loss, codes.tolist()) == (0.5, [0])

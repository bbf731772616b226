"""Merging rare cells and telling them apart again."""

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import Measurement


def recode(values, sigma=1.0, outside=None, threshold=3.0):
    base = Domain.of({"a": len(values)})
    counts = Measurement(("a",), np.array(values, dtype=float), sigma)
    return Recoding.merging_rare(base, [counts], {} if outside is None else {"a": outside}, threshold)


def test_rare_cells_are_merged_and_the_rest_kept_in_order():
    found = recode([50, 1, 20, 2, -3, 0], outside=5)
    np.testing.assert_array_equal(found.maps["a"], [0, 2, 1, 2, 2, 2])
    assert found.domain.sizes == {"a": 3}


def test_weights_are_the_projection_onto_counts_of_the_same_sum():
    found = recode([50, 2.5, 2.0, -2.0, -0.5], outside=4)
    # the merged cell holds 2.0 rows; of its in-domain cells (2.5, 2.0, -2.0) the closest counts are (1.25, 0.75, 0)
    np.testing.assert_allclose(found.weights["a"], [1, 0.625, 0.375, 0, 0])


def test_merged_cells_without_a_positive_sum_are_even():
    np.testing.assert_allclose(recode([50, -2.0, 1.0, -1.5], outside=3).weights["a"], [1, 0.5, 0.5, 0])


def test_a_column_of_nothing_but_noise_is_uniform_inside_its_domain():
    found = recode([-4, 2, 1, 2.9], outside=3)
    assert found.domain.sizes == {"a": 1}
    np.testing.assert_allclose(found.weights["a"], [1 / 3, 1 / 3, 1 / 3, 0])


def test_an_insignificant_cell_outside_joins_the_smallest_inside():
    found = recode([50, 9, 30, 1], outside=3)
    np.testing.assert_array_equal(found.maps["a"][3], found.maps["a"][1])
    assert found.weights["a"][3] == 0


def test_a_significant_cell_outside_stays():
    found = recode([50, 9, 30, 8], outside=3)
    assert found.domain.sizes == {"a": 4}
    np.testing.assert_array_equal(found.weights["a"], np.ones(4))


def test_all_rows_out_of_domain():
    found = recode([0, -1, 2, 500], outside=3)
    np.testing.assert_array_equal(found.maps["a"], [1, 1, 1, 0])


def test_an_attribute_of_one_cell():
    assert recode([-7], outside=0).domain.sizes == {"a": 1}
    assert recode([7]).domain.sizes == {"a": 1}


def test_one_way_carries_the_noise_of_merged_cells():
    found = recode([50, 1, 20, 2, -3], sigma=2.0)
    merged = found.one_way(Measurement(("a",), np.array([50.0, 1, 20, 2, -3]), 2.0))
    np.testing.assert_allclose(merged.values, [50, 20, 0])
    np.testing.assert_allclose(merged.sigma, [2, 2, 2 * np.sqrt(3)])


def test_decoding_inverts_encoding_and_follows_the_weights():
    found = recode([50, 2.5, 2.0, -2.0, -0.5, 20], outside=4)
    merged = {"a": np.random.default_rng(0).integers(0, found.domain["a"], 3000)}
    decoded = found.decode(merged, np.random.default_rng(1))
    np.testing.assert_array_equal(found.encode(decoded)["a"], merged["a"])
    inside = decoded["a"][merged["a"] == 2]
    np.testing.assert_allclose(np.bincount(inside, minlength=6) / len(inside), [0, 0.625, 0.375, 0, 0, 0], atol=1e-3)


def test_spread_keeps_sums_and_follows_the_weights():
    base = Domain.of({"a": 3, "b": 2})
    maps = {"a": np.array([0, 1, 1]), "b": np.array([0, 1])}
    weights = {"a": np.array([1.0, 0.25, 0.75]), "b": np.ones(2)}
    found = Recoding.of(base, maps, weights)
    wide = found.spread(np.array([[1.0, 2.0], [4.0, 8.0]]), ("a", "b"))
    np.testing.assert_allclose(wide, [[1, 2], [1, 2], [3, 6]])
    np.testing.assert_allclose(found.spread(np.array([[1.0, 4.0], [2.0, 8.0]]), ("b", "a")), wide.T)


@pytest.mark.parametrize(
    ("maps", "weights"),
    [([0, 1], [1.0, 0.5]), ([0, 0], [1.0, 1.0]), ([0, 2], [1.0, 1.0]), ([0], [1.0]), ([0, 0], [1.5, -0.5])],
)
def test_improper_recodings_are_refused(maps, weights):
    with pytest.raises(ValueError, match="recoding of 'a'"):
        Recoding.of(Domain.of({"a": 2}), {"a": np.array(maps)}, {"a": np.array(weights)})


def on_grid(values, sigma=1.0, missing=False, total=None):
    """A recoding of one fine column: cells of width 1, then the missing one if asked, then the one outside."""
    cells = len(values) - 1 - missing
    rest = Measurement(("n",), np.array([float(sum(values) if total is None else total)]), 0.01)
    base = Domain.of({"a": len(values), "n": 1})
    counts = Measurement(("a",), np.array(values, dtype=float), sigma)
    outside = {"a": len(values) - 1}
    return Recoding.merging_rare(base, [counts, rest], outside, 3.0, {"a": tuple(range(cells + 1))}), counts


def test_fine_cells_are_merged_with_neighbours_alone():
    found, _ = on_grid([500, 500, 500, 500, 0, 0, 0, 0, 500, 500, 1], sigma=20.0)
    assert (np.diff(found.maps["a"][:10]) >= 0).all()
    assert found.domain["a"] == found.maps["a"][:10].max() + 1


def test_a_rare_missing_cell_joins_the_smallest_bin_with_its_noisy_share():
    found, _ = on_grid([900.0, 900, 900, 20, 20, 20, 2, 0], missing=True)
    small = found.maps["a"] == found.maps["a"][6]
    assert small[6] and small[7]  # noqa: PT018
    assert found.weights["a"][6] == pytest.approx(2 / (2 + 20 * (small.sum() - 2)), rel=0.3)
    assert found.weights["a"][7] == 0
    assert found.weights["a"][small].sum() == pytest.approx(1)


def test_seen_missing_and_outside_cells_of_a_grid_stay_apart():
    found, _ = on_grid([900.0, 900, 900, 300, 50], missing=True)
    assert len(set(found.maps["a"][3:]) | set(found.maps["a"][:3])) == found.maps["a"][:3].max() + 3
    np.testing.assert_array_equal(found.weights["a"][3:], [1, 1])


def test_cells_taken_to_be_empty_add_no_noise():
    found, counts = on_grid([*[900.0] * 4, *[0.1, -0.2] * 20, 0], sigma=2.0)
    assert found.empty["a"][4:44].all()
    one_way = found.one_way(counts)
    assert one_way.values.sum() == pytest.approx(3600)
    assert np.square(one_way.sigma).sum() == pytest.approx(5 * 4)


@pytest.mark.parametrize("values", [[0.0] * 12, [-3.0, 2.5, 1] * 4], ids=["no rows", "noise"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_grid_of_nothing_but_noise_is_even_inside_its_domain(values, missing):
    found, _ = on_grid(values, sigma=10.0, missing=missing, total=1.0)
    assert found.domain["a"] == 1
    np.testing.assert_allclose(found.weights["a"], [*[1 / 11] * 11, 0])


def test_merging_again_keeps_the_bins_of_fine_grids():
    found, counts = on_grid([500, 500, 400, 300, 0, 0, 0, 0, 500, 500, 1], sigma=20.0)
    other = Measurement(("n",), np.array([4000.0]), 1.0)
    again = found.again([counts, other], {"a": 10}, 3.0, {"a"})
    np.testing.assert_array_equal(again.maps["a"], found.maps["a"])
    np.testing.assert_array_equal(again.weights["a"], found.weights["a"])
    np.testing.assert_array_equal(again.empty["a"], found.empty["a"])

"""Sums from noisy margins: unbiased, with the variance they say, and none better among unbiased ones."""

import numpy as np
import pytest

from dpsynth.analysis.evidence import Evidence
from dpsynth.domain import Domain
from dpsynth.measurement import NoisyCounts

DOMAIN = Domain.of({"a": 5, "b": 2, "c": 3})
MERGED = np.array([0, 1, 1, 2, 1])
TABLE = np.random.default_rng(0).integers(0, 200, DOMAIN.shape)
LOOKS = [
    (("a",), 2.0, None),
    (("b",), 1.0, None),
    (("a", "b"), 4.0, {"a": MERGED}),
    (("c", "b"), 3.0, None),  # axes need not be in domain order
    (("a", "c"), 7.0, {"a": MERGED}),
    (("a", "b"), 9.0, {"a": MERGED}),
]


def counted(clique, recoding):
    counts = TABLE.sum(axis=tuple(i for i, a in enumerate(DOMAIN.attributes) if a not in clique))
    names = [a for a in DOMAIN.attributes if a in clique]
    for axis, a in enumerate(names):
        if recoding and a in recoding:
            merged = np.zeros((recoding[a].max() + 1, counts.shape[axis]))
            merged[recoding[a], np.arange(counts.shape[axis])] = 1
            counts = np.moveaxis(np.tensordot(merged, counts, axes=(1, axis)), 0, axis)
    return counts.transpose([names.index(a) for a in clique])


def answers(looks=LOOKS, rng=None, shift=None):
    found = []
    for i, (clique, sigma, recoding) in enumerate(looks):
        values = counted(clique, recoding).astype(float)
        if rng is not None:
            values = values + rng.normal(0, sigma, values.shape)
        if shift is not None and shift[0] == i:
            values[np.unravel_index(shift[1], values.shape)] += 1.0
        found.append(NoisyCounts(clique, values, sigma, recoding))
    return found


def functional():
    rng = np.random.default_rng(1)
    merged = {("a", "b"): rng.normal(size=(3, 2)), ("b", "c"): rng.normal(size=(2, 3)), ("c",): rng.normal(size=3)}
    return merged, {"a": rng.normal(size=5)}


def exact(merged, base):
    total = sum(float((counted(c, {"a": MERGED} if "a" in c else None) * w).sum()) for c, w in merged.items())
    return total + sum(float(counted((a,), None) @ w) for a, w in base.items())


def test_without_noise_every_margin_and_sum_is_exact():
    evidence = Evidence(DOMAIN, answers())
    for clique in [("a",), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("a", "c"), ()]:
        np.testing.assert_allclose(evidence.margin(clique), counted(clique, {"a": MERGED}), atol=1e-8)
    np.testing.assert_allclose(evidence.column("a"), counted(("a",), None), atol=1e-8)
    assert evidence.sum(*functional()).value == pytest.approx(exact(*functional()))


def test_the_variance_is_that_of_a_sum_of_independent_counts():
    """The estimate is linear: move every count by one in turn, and add up the squares."""
    start, variance = Evidence(DOMAIN, answers()).sum(*functional()).value, 0.0
    for i, (clique, sigma, recoding) in enumerate(LOOKS):
        for cell in range(counted(clique, recoding).size):
            moved = Evidence(DOMAIN, answers(shift=(i, cell))).sum(*functional()).value
            variance += (sigma * (moved - start)) ** 2
    assert Evidence(DOMAIN, answers()).sum(*functional()).variance == pytest.approx(variance)


def test_where_cells_are_alike_no_unbiased_estimate_is_better():
    """Against generalised least squares over the whole table, by a dense inverse."""
    looks = [(("a",), 2.0, None), (("a", "b"), 4.0, None), (("b", "c"), 3.0, None), (("b",), 1.0, None)]
    rows, noise = [], []
    for clique, sigma, _ in looks:
        held = [DOMAIN.attributes.index(a) for a in clique]
        for cell in np.ndindex(*DOMAIN.shape_of(clique)):
            rows.append([all(at[i] == cell[k] for k, i in enumerate(held)) for at in np.ndindex(*DOMAIN.shape)])
            noise.append(sigma)
    design = np.array(rows, dtype=float) / np.array(noise)[:, None]
    covariance = np.linalg.pinv(design.T @ design)
    weights = np.random.default_rng(2).normal(size=(5, 2))
    spread = np.broadcast_to(weights[:, :, None], DOMAIN.shape).ravel()
    found = Evidence(DOMAIN, answers(looks)).sum({("a", "b"): weights})
    assert found.variance == pytest.approx(float(spread @ covariance @ spread))


def test_what_was_never_counted_together_is_refused():
    evidence = Evidence(DOMAIN, answers(LOOKS[:3]))
    assert evidence.covers(("b", "a"))
    assert not evidence.covers(("a", "c"))
    assert evidence.measured == (("a", "b"),)
    with pytest.raises(KeyError, match="never counted"):
        evidence.margin(("b", "c"))


def test_counts_over_cells_that_do_not_fit_are_left_out():
    odd = NoisyCounts(("a",), np.array([100, 0]), 1.0, {"a": np.array([0, 0, 1, 1, 1])})
    merged = [(("a", "b"), 4.0, {"a": MERGED})]
    alone, both = Evidence(DOMAIN, answers(merged)), Evidence(DOMAIN, [odd, *answers(merged)])
    np.testing.assert_array_equal(alone.margin(("a",)), both.margin(("a",)))
    assert not np.isfinite(both.base_variance("a"))

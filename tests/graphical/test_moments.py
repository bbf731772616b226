"""Moments: sums over a tree and over particles against enumeration, and what fits of them recover."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import GraphicalModel, JunctionTree, Measurement, ModelTooLarge
from dpsynth.graphical.estimation import fitted
from dpsynth.graphical.moments import (
    MOMENTS,
    MomentPassing,
    Moments,
    WeightedMoments,
    paired,
    significant,
    with_room,
)
from dpsynth.graphical.particles import Particles
from dpsynth.graphical.raking import rake

DOMAIN = Domain.of({"a": 3, "b": 4, "c": 2, "d": 3})
SCORES = {"a": np.array([-1.2, 0.1, 1.1]), "b": np.array([-1.5, -0.5, 0.5, 1.5]), "d": np.array([1.0, 0.0, -1.0])}
NAMES = tuple(SCORES)
PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in paired(NAMES))
CLIQUES = [("a",), ("b",), ("c",), ("d",), ("a", "c"), ("a", "b")]


def moments(values, sigma=1.0, names=NAMES, pairs=None):
    pairs = paired(names) if pairs is None else pairs
    scores = tuple(SCORES[a] for a in names)
    return Moments(names, scores, pairs, np.asarray(values, float), np.full(len(pairs), float(sigma)))


def every_cell(domain=DOMAIN):
    codes = np.array(list(product(*map(range, domain.shape))))
    return Particles(domain, dict(zip(domain.attributes, codes.T, strict=True)))


def joint(cliques, potentials, coefficients):
    """The distribution, by enumeration: shape of the domain."""
    log = np.zeros(DOMAIN.shape)
    grid = dict(zip(DOMAIN.attributes, np.indices(DOMAIN.shape), strict=True))
    for clique, potential in zip(cliques, potentials, strict=True):
        log += potential[tuple(grid[a] for a in clique)]
    for (a, b), coefficient in zip(PAIRS, coefficients, strict=True):
        log += coefficient * SCORES[a][grid[a]] * SCORES[b][grid[b]]
    weights = np.exp(log)
    return weights.sum(), weights / weights.sum(), grid


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(CLIQUES), min_size=1, unique=True))
def test_a_tree_and_particles_sum_as_enumeration_does(seed, cliques):
    rng = np.random.default_rng(seed)
    cliques = sorted(cliques, key=lambda c: (len(c), DOMAIN.axes(c)))
    potentials = [rng.normal(0, 1, DOMAIN.project(c).shape) for c in cliques]
    coefficients = rng.normal(0, 0.7, len(PAIRS))
    mass, expected, grid = joint(cliques, potentials, coefficients)
    asked = moments(np.zeros(len(PAIRS)))
    tree = MomentPassing(JunctionTree.of(DOMAIN, [*cliques, *PAIRS]), cliques, asked)
    cells = WeightedMoments(every_cell(), cliques, {}, asked)
    assert tree.cliques == cells.cliques == (*cliques, MOMENTS)
    assert tree.shapes == cells.shapes
    for passing, constant in ((tree, 0.0), (cells, np.log(DOMAIN.size()))):
        log_partition, _, beliefs = passing.run([*potentials, coefficients])
        assert log_partition + constant == pytest.approx(np.log(mass), abs=1e-5)
        *margins, means = passing.marginals(beliefs)
        for clique, found in zip(cliques, margins, strict=True):
            gone = tuple(i for i, a in enumerate(DOMAIN.attributes) if a not in clique)
            np.testing.assert_allclose(found, expected.sum(axis=gone), atol=1e-6)
        true = [(expected * SCORES[a][grid[a]] * SCORES[b][grid[b]]).sum() for a, b in PAIRS]
        np.testing.assert_allclose(means, true, atol=1e-5)


def planted(rows=10_000.0, seed=0):
    """A distribution whose scored columns go together, what one-ways of it say, and its moments."""
    rng = np.random.default_rng(seed)
    _, p, grid = joint([("a", "c")], [rng.normal(0, 1, (3, 2))], [0.8, -0.6, 0.5])
    ones = [
        Measurement((x,), rows * p.sum(axis=tuple(i for i in range(4) if i != j)), 1.0) for j, x in enumerate("abcd")
    ]
    return ones, np.array([rows * (p * SCORES[a][grid[a]] * SCORES[b][grid[b]]).sum() for a, b in PAIRS])


def expected_of(model):
    return np.array([float(np.sum(model.project(p) * np.outer(SCORES[p[0]], SCORES[p[1]]))) for p in PAIRS])


def test_exact_moments_are_recovered_where_every_pair_has_room():
    ones, truth = planted()
    model, potentials = fitted(DOMAIN, ones, moments(truth, 5.0), smoothing=1e-3, tolerance=1e-3)
    np.testing.assert_allclose(expected_of(model), truth, atol=2.0)
    assert potentials[MOMENTS].shape == (3,)
    for one in ones:
        np.testing.assert_allclose(model.project(one.clique), one.values, atol=2.0)
    again, _ = fitted(DOMAIN, ones, moments(truth, 5.0), smoothing=1e-3, warm=potentials, max_evaluations=1)
    np.testing.assert_allclose(expected_of(again), expected_of(model), atol=1e-6)


def test_noisier_moments_give_way_and_sharp_ones_do_not():
    ones, truth = planted()
    sharp = expected_of(fitted(DOMAIN, ones, moments(truth, 5.0), tolerance=0.01)[0])
    blunt = expected_of(fitted(DOMAIN, ones, moments(truth, 3000.0), tolerance=0.01)[0])
    alone = expected_of(fitted(DOMAIN, ones, None)[0])
    assert np.abs(sharp - truth).max() < 0.02 * np.abs(truth).max()
    assert (np.abs(blunt - alone) < np.abs(sharp - alone)).all()
    assert (np.sign(blunt - alone) == np.sign(truth - alone)).all()


def test_particles_of_one_ways_are_weighted_to_fit_moments():
    ones, truth = planted()
    prior, potentials = fitted(DOMAIN, ones, None)
    particles = Particles(DOMAIN, prior.sample(50_000, np.random.default_rng(0)))
    found, _ = rake(prior, particles, ones, moments(truth, 20.0), drawn_at=potentials | {MOMENTS: np.zeros(3)})
    np.testing.assert_allclose(expected_of(found), truth, atol=0.05 * np.abs(truth).max())
    assert set(PAIRS) <= set(found.cliques)  # drawn rows keep them close


def test_particles_weigh_the_same_at_the_coefficients_they_were_drawn_at():
    ones, truth = planted()
    asked = moments(truth, 5.0)
    prior, potentials = fitted(DOMAIN, ones, asked)
    particles = Particles(DOMAIN, prior.sample(1000, np.random.default_rng(0)))
    sums = WeightedMoments(particles, [m.clique for m in ones], potentials, asked)
    log_partition, _, weights = sums.run([potentials[c] for c in sums.cliques])
    assert log_partition == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(weights, 1e-3, rtol=1e-4)


def test_the_order_of_columns_changes_nothing():
    ones, truth = planted()
    model, _ = fitted(DOMAIN, ones, moments(truth, 5.0), tolerance=0.01)
    turned = Domain.of({a: DOMAIN[a] for a in "dcba"})
    asked = moments(truth[::-1], 5.0, names=NAMES[::-1])
    assert asked.cliques == (("d", "b"), ("d", "a"), ("b", "a"))
    other, _ = fitted(turned, ones[::-1], asked, tolerance=0.01)
    for pair in combinations("abcd", 2):
        np.testing.assert_allclose(model.project(pair), other.project(pair), atol=2.0)


def test_no_moments_are_no_moments():
    ones, _ = planted()
    none = moments([], pairs=())
    one, two = fitted(DOMAIN, ones, none)[0], fitted(DOMAIN, ones, None)[0]
    np.testing.assert_array_equal(one.project(("a", "b")), two.project(("a", "b")))


def test_significant_ones_come_first_and_the_rest_not_at_all():
    asked = replace(moments([3.0, -10.0, 5.0]), sigma=np.array([1.0, 2.0, 4.0]))
    assert significant(asked, 0.1) == [1, 0]
    assert asked.only([1, 0]).cliques == (PAIRS[1], PAIRS[0])
    assert asked.only([1, 0]).values.tolist() == [-10.0, 3.0]
    assert significant(moments([], pairs=()), 0.1) == []


def test_of_many_pairs_few_false_ones_are_found():
    """300 of noise alone and 100 of four deviations, seeded: a fixed two deviations would take 14 of the first."""
    rng, names = np.random.default_rng(0), [f"c{i}" for i in range(29)]

    def asked(values):
        pairs = paired(names)[:400]
        return Moments(tuple(names), (np.zeros(2),) * 29, pairs, values, np.ones(400))

    found = significant(asked(np.r_[rng.normal(size=300), 4 + rng.normal(size=100)]), 0.1)
    assert sum(i < 300 for i in found) <= 12
    assert sum(i >= 300 for i in found) >= 95
    assert len(significant(asked(rng.normal(size=400)), 0.1)) <= 1


def test_moments_of_one_pair_stand_out_together():
    """A weak one beside a clear one of the same columns is kept, as measured; alone it would be noise."""
    names, pairs = ("a", "a", "b", "c"), ((0, 2), (1, 2), (0, 3), (1, 3))
    asked = Moments(names, (np.zeros(2),) * 4, pairs, np.array([1.0, 6.0, 1.0, 1.0]), np.ones(4))
    assert significant(asked, 0.1) == [1, 0]


def test_pairs_are_taken_while_there_is_room_and_stay_in_trees_that_grow():
    asked = moments([1.0, 2.0, 3.0])
    tree, taken = with_room(JunctionTree.of(DOMAIN, ()), asked, [2, 0, 1], 26)
    assert taken == [2, 0]  # b-d and a-b: 12 + 12 + 2 cells; with a-d there would be a bag of 36
    grown = tree.covering([("a", "c"), ("c", "d")])
    assert all(grown.bag_of(asked.cliques[i]) is not None for i in taken)


@pytest.mark.parametrize(
    ("values", "sigma"), [([1.0, 2.0], [1.0] * 3), ([np.nan, 1.0, 1.0], [1.0] * 3), ([1.0] * 3, [1.0, 0.0, 1.0])]
)
def test_bad_moments_are_refused(values, sigma):
    with pytest.raises(ValueError, match=r"pairs|finite"):
        Moments(NAMES, tuple(SCORES.values()), paired(NAMES), np.array(values), np.array(sigma))


def test_a_tree_that_is_too_large_is_refused():
    ones, truth = planted()
    with pytest.raises(ModelTooLarge):
        fitted(DOMAIN, ones, moments(truth), max_cells=20)


def test_a_model_of_moments_is_a_graphical_model():
    ones, truth = planted()
    model, _ = fitted(DOMAIN, ones, moments(truth, 5.0))
    same = GraphicalModel(DOMAIN, model.potentials, model.total, model.tree)
    np.testing.assert_allclose(same.project(("a", "d")), model.project(("a", "d")))


def test_a_column_may_be_scored_twice():
    ones, _ = planted()
    names, own = ("a", "a", "b"), (SCORES["a"], np.array([0.0, 0.0, 2.0]), SCORES["b"])
    pairs = paired(names)
    assert pairs == ((0, 2), (1, 2))
    asked = Moments(names, own, pairs, np.array([900.0, -700.0]), np.full(2, 5.0))
    model, _ = fitted(DOMAIN, ones, asked, smoothing=1e-3, tolerance=1e-3)
    found = model.project(("a", "b"))
    for value, product_ in zip(asked.values, asked.products, strict=True):
        assert np.sum(found * product_) == pytest.approx(value, abs=3.0)


@pytest.mark.parametrize("sigma", [2.0, 40.0])
def test_a_sigma_moves_a_coefficient_alike_however_noisy_moments_are(sigma):
    """Cells have noise of 1 row: with one weight for all, moments of 40 would be held back 40 times as hard."""
    ones, truth = planted()
    asked = moments(truth, sigma)
    model, potentials = fitted(DOMAIN, ones, asked, tolerance=1e-4, max_evaluations=500)
    np.testing.assert_allclose((truth - expected_of(model)) / sigma, 0.2 * potentials[MOMENTS], atol=0.02)

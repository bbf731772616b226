"""Weighted particles: sums over them against enumeration, what raking recovers, what is drawn from it."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import GraphicalModel, JunctionTree, Measurement, MessagePassing, RakedModel, estimate
from dpsynth.graphical.constrained import constrain_particles
from dpsynth.graphical.herding import herded
from dpsynth.graphical.particles import Particles, WeightedSums
from dpsynth.graphical.raking import rake

DOMAIN = Domain.of({"a": 3, "b": 4, "c": 2, "d": 3})
SUBSETS = [c for size in (1, 2, 3, 4) for c in combinations(DOMAIN.attributes, size)]


def every_cell():
    """Each combination of codes once: sums over these particles are sums over the domain."""
    codes = np.array(list(product(*map(range, DOMAIN.shape))))
    return Particles(DOMAIN, dict(zip(DOMAIN.attributes, codes.T, strict=True)))


def random_potentials(seed, cliques, domain=DOMAIN, scale=1.5):
    rng = np.random.default_rng(seed)
    return {domain.clique(c): rng.normal(0, scale, domain.project(c).shape) for c in cliques}


def tvd(one, two):
    return 0.5 * float(np.abs(one / one.sum() - two / two.sum()).sum())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(SUBSETS), min_size=1, max_size=7, unique=True))
def test_sums_over_every_cell_are_belief_propagation(seed, cliques):
    potentials = random_potentials(seed, cliques)
    sums = WeightedSums(every_cell(), cliques, {})
    tree = MessagePassing(JunctionTree.of(DOMAIN, cliques), cliques)
    given_potentials = [potentials[c] for c in sums.cliques]
    log_partition, _, weights = sums.run(given_potentials)
    exact, _, beliefs = tree.run(given_potentials)
    assert log_partition == pytest.approx(exact - np.log(DOMAIN.size()))
    for one, two in zip(sums.marginals(weights), tree.marginals(beliefs), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_particles_drawn_from_a_model_weigh_the_same_at_its_potentials(seed):
    potentials = random_potentials(seed, [("a", "b"), ("b", "c"), ("d",)])
    model = GraphicalModel(DOMAIN, potentials, 500.0)
    particles = Particles(DOMAIN, model.sample(2000, np.random.default_rng(seed)))
    sums = WeightedSums(particles, [*potentials, ("a", "d")], potentials)
    at = [potentials.get(c, np.zeros(shape)) for c, shape in zip(sums.cliques, sums.shapes, strict=True)]
    log_partition, _, weights = sums.run(at)
    assert log_partition == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(weights, 1 / 2000)


def planted(seed=0, rows=20_000):
    """A table with a cycle of dependences, its model of one-ways and two pairs, and exact counts to measure."""
    rng = np.random.default_rng(seed)
    truth = GraphicalModel(DOMAIN, random_potentials(seed, [("a", "b"), ("b", "d"), ("a", "d"), ("c", "d")]), rows)

    def exact(clique, sigma=2.0):
        return Measurement(clique, truth.project(clique), sigma)

    known = [exact(c) for c in (("a", "b"), ("b", "d"), ("c",))]
    prior = estimate(DOMAIN, known, tolerance=0.01)
    return truth, known, prior, Particles(DOMAIN, prior.sample(60_000, rng)), exact


def test_what_the_tree_has_no_room_for_is_recovered():
    truth, known, prior, particles, exact = planted()
    assert prior.tree.bag_of(("a", "d")) is None
    before = tvd(prior.project(("a", "d")), truth.project(("a", "d")))
    found, _ = rake(
        prior, particles, [*known, exact(("a", "d")), exact(("c", "d"))], tolerance=0.01, max_evaluations=300
    )
    assert before > 0.1
    for clique in (("a", "b"), ("b", "d"), ("a", "d"), ("c", "d")):
        assert tvd(found.project(clique), truth.project(clique)) < 0.004
        assert tvd(found.project(clique[::-1]), truth.project(clique).T) < 0.004
    assert found.project(("a", "c", "d")).sum() == pytest.approx(found.total)


def test_nothing_new_leaves_the_weights_alone():
    _, known, prior, particles, _ = planted(2)
    found, _ = rake(prior, particles, known)
    assert 1 / np.square(found.weights).sum() > 0.99 * particles.rows


def test_drawn_rows_keep_the_fitted_margins_closer_than_fresh_draws():
    _, known, prior, particles, exact = planted(3)
    found, _ = rake(prior, particles, [*known, exact(("a", "d")), exact(("c", "d"))])
    rows, rng = 5000, np.random.default_rng(0)
    kept, fresh = found.sample(rows, rng), rng.choice(particles.rows, rows, p=found.weights)
    for clique in found.cliques:
        shape = DOMAIN.project(clique).shape
        counts = np.zeros(shape)
        np.add.at(counts, tuple(kept[a] for a in clique), 1)
        plain = np.bincount(particles.cells(clique)[fresh], minlength=counts.size).reshape(shape)
        assert tvd(counts, found.project(clique)) < 0.1 * tvd(plain, found.project(clique))


def test_rows_are_drawn_by_their_weights_and_never_without_one():
    rng = np.random.default_rng(0)
    weights = np.where(np.arange(4000) % 3 == 0, 0.0, rng.random(4000))
    cells = [rng.integers(0, 5, 4000).astype(np.int32), rng.integers(0, 7, 4000).astype(np.int32)]
    chosen = herded(weights / weights.sum(), cells, 30_000, rng)
    assert len(chosen) == 30_000
    assert (weights[chosen] > 0).all()
    share = np.bincount(chosen, minlength=4000) / 30_000
    assert 0.5 * np.abs(share - weights / weights.sum()).sum() < 0.3
    assert len(herded(weights / weights.sum(), [], 1, rng)) == 1
    assert len(herded(weights / weights.sum(), cells, 1, rng)) == 1


def test_given_codes_are_kept_and_the_rest_follows_the_weights():
    _, known, prior, particles, exact = planted(4)
    found, _ = rake(prior, particles, [*known, exact(("a", "d")), exact(("c", "d"))])
    rng, rows = np.random.default_rng(0), 30_000
    given_codes = {"d": rng.integers(0, 3, rows), "c": np.ones(rows, dtype=int)}
    drawn = found.sample(rows, rng, given_codes)
    for a in given_codes:
        np.testing.assert_array_equal(drawn[a], given_codes[a])
    for code in range(3):
        counts = np.bincount(drawn["a"][given_codes["d"] == code], minlength=3)
        assert tvd(counts, found.project(("c", "d", "a"))[1, code]) < 0.03


def test_given_codes_that_few_particles_have_come_from_the_model():
    prior = GraphicalModel(DOMAIN, random_potentials(5, [("a", "b"), ("c", "d")]), 100.0)
    codes = {a: np.zeros(500, dtype=int) for a in DOMAIN.attributes}
    found = RakedModel(prior, Particles(DOMAIN, codes), np.full(500, 1 / 500), [("a", "b")])
    drawn = found.sample(20_000, np.random.default_rng(0), {"a": np.full(20_000, 2)})
    assert tvd(np.bincount(drawn["b"], minlength=4), prior.project(("a", "b"))[2]) < 0.03
    assert (found.sample(50, np.random.default_rng(0), {"a": np.zeros(50, dtype=int)})["b"] == 0).all()
    with pytest.raises(ValueError, match="outside its domain"):
        found.sample(2, np.random.default_rng(0), {"a": np.array([0, 9])})
    with pytest.raises(ValueError, match="at least 0"):
        found.sample(-1, np.random.default_rng(0))
    assert all(len(c) == 0 for c in found.sample(0, np.random.default_rng(0)).values())


def test_what_cannot_occur_gets_no_weight_and_margins_stay():
    _, known, prior, particles, exact = planted(6)
    found, _ = rake(prior, particles, [*known, exact(("a", "d"))])
    table, share = np.ones((3, 3)), found.project(("a", "d")) / found.total
    table[np.unravel_index(np.argmin(np.abs(share - 0.05)), (3, 3))] = 0.0
    told = constrain_particles(found, prior, {("a", "d"): table})
    under = told.project(("a", "d"))
    assert under[table == 0].max() == 0.0
    conditioned = RakedModel(prior, particles, found.weights * table.ravel()[particles.cells(("a", "d"))], [])

    def worst(model):
        return max(tvd(model.project((a,)), found.project((a,))) for a in DOMAIN.attributes)

    assert worst(told) < 0.7 * worst(conditioned)
    assert constrain_particles(found, prior, {("a", "d"): np.zeros((3, 3))}) is found


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.ones(3), "expected 72"), (np.full(72, np.nan), "finite"), (np.full(72, -1.0), "non-negative")],
)
def test_weights_are_checked(weights, message):
    prior = GraphicalModel(DOMAIN, {}, 10.0)
    with pytest.raises(ValueError, match=message):
        RakedModel(prior, every_cell(), weights, [])
    with pytest.raises(ValueError, match="the model is over"):
        RakedModel(GraphicalModel(Domain.of({"a": 3}), {}, 1.0), every_cell(), np.ones(72), [])

"""Every path of inference against brute-force enumeration of the full table."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import Factor, GraphicalModel, JunctionTree, MessagePassing, ModelTooLarge

FIVE = Domain.of({"a": 3, "b": 4, "c": 2, "d": 5, "e": 1})

AWKWARD = {
    "none": [],
    "single": [("b",)],
    "chain": [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")],
    "cycle": [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")],
    "nested": [("a", "b", "c"), ("a", "b"), ("b",), ("d",)],
    "disconnected": [("a", "b"), ("c", "d")],
    "star": [("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")],
    "full": [("a", "b", "c", "d", "e"), ("c", "e")],
}


def brute(domain, potentials):
    log_values = Factor.zeros(domain)
    for clique, values in potentials.items():
        log_values = log_values + Factor(domain.project(clique), values)
    peak = log_values.values.max()
    weights = np.exp(log_values.values - peak)
    return Factor(domain, weights / weights.sum()), np.log(weights.sum()) + peak


def random_potentials(domain, cliques, rng, scale=3.0):
    return {c: scale * rng.normal(size=domain.project(c).shape) for c in cliques}


@pytest.mark.parametrize("cliques", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_all_marginals_equal_enumeration(cliques, scale):
    potentials = random_potentials(FIVE, cliques, np.random.default_rng(1), scale)
    model = GraphicalModel(FIVE, potentials, total=100.0)
    joint, log_partition = brute(FIVE, potentials)
    assert model.calibrated.log_partition == pytest.approx(log_partition)
    for size in range(6):
        for clique in combinations(FIVE.attributes, size):
            expected = 100 * joint.project(clique).values
            np.testing.assert_allclose(model.project(clique), expected, atol=1e-9, err_msg=str(clique))


@st.composite
def models(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    domain = Domain.of({f"x{i}": size for i, size in enumerate(sizes)})
    clique = st.lists(st.sampled_from(domain.attributes), min_size=1, max_size=4, unique=True).map(domain.clique)
    cliques = draw(st.lists(clique, max_size=8, unique=True))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0, 2000.0]))
    return domain, cliques, scale, draw(st.integers(0, 2**32 - 1))


@given(models())
@settings(deadline=None)
def test_fuzzed_models_equal_enumeration(drawn):
    domain, cliques, scale, seed = drawn
    rng = np.random.default_rng(seed)
    potentials = random_potentials(domain, cliques, rng, scale)
    model = GraphicalModel(domain, potentials, total=1.0)
    joint, log_partition = brute(domain, potentials)
    assert model.calibrated.log_partition == pytest.approx(log_partition, rel=1e-9, abs=1e-9)
    for factor in model.calibrated.beliefs:
        expected = joint.project(factor.domain.attributes).values
        np.testing.assert_allclose(factor.values, expected, atol=1e-9)
    picked = tuple(rng.permutation(domain.attributes)[: int(rng.integers(0, len(domain) + 1))].tolist())
    np.testing.assert_allclose(model.project(picked), joint.project(picked).values, atol=1e-9)
    passing = MessagePassing(model.tree, tuple(model.potentials))
    _, conditionals, beliefs = passing.run(list(model.potentials.values()))
    for clique, marginal in zip(passing.cliques, passing.marginals(beliefs), strict=True):
        np.testing.assert_allclose(marginal, joint.project(clique).values, atol=1e-9)
    for index, conditional in enumerate(conditionals):
        separator = model.tree.separators[index]
        table = Factor(model.calibrated.conditionals[index].domain, conditional)
        np.testing.assert_allclose(table.project(separator).values, 1.0, atol=1e-9)


@given(models())
@settings(deadline=None)
def test_grown_trees_give_the_same_inference(drawn):
    """A tree that took up its cliques one at a time, against enumeration: every bag, clique and pair."""
    domain, cliques, scale, seed = drawn
    potentials = random_potentials(domain, cliques, np.random.default_rng(seed), scale)
    tree = JunctionTree.of(domain, []).covering(cliques)
    model = GraphicalModel(domain, potentials, total=1.0, tree=tree)
    joint, log_partition = brute(domain, potentials)
    assert model.calibrated.log_partition == pytest.approx(log_partition, rel=1e-9, abs=1e-9)
    asked = [*tree.bags, *tree.separators, *cliques, *combinations(domain.attributes, 2)]
    for clique in asked:
        np.testing.assert_allclose(model.project(clique), joint.project(clique).values, atol=1e-9)


def test_bags_between_attributes_are_the_fewest_that_connect_them():
    domain = Domain.of({f"x{i}": 2 for i in range(9)})
    chain = list(zip(domain.attributes, domain.attributes[1:], strict=False))
    tree = JunctionTree.of(domain, [*chain[:6], ("x1", "x7")])
    named = {tree.bags[i] for i in tree.between(("x2", "x5"))}
    assert named == {("x2", "x3"), ("x3", "x4"), ("x4", "x5")}
    assert {tree.bags[i] for i in tree.between(("x7", "x0"))} == {("x0", "x1"), ("x1", "x7")}
    assert len(tree.between(("x4",))) == 1
    assert len(tree.between(())) == 1


def test_column_order_does_not_matter():
    potentials = random_potentials(FIVE, AWKWARD["cycle"], np.random.default_rng(2))
    model = GraphicalModel(FIVE, potentials, total=1.0)
    for order in list(permutations(FIVE.attributes))[::17]:
        turned = FIVE.project(order)
        moved = {
            turned.clique(c): values.transpose([c.index(a) for a in turned.clique(c)])
            for c, values in potentials.items()
        }
        other = GraphicalModel(turned, moved, total=1.0)
        for clique in combinations(FIVE.attributes, 2):
            np.testing.assert_allclose(other.project(clique), model.project(clique), atol=1e-12)


def test_axes_come_in_the_order_asked():
    model = GraphicalModel(FIVE, random_potentials(FIVE, AWKWARD["chain"], np.random.default_rng(3)), total=1.0)
    np.testing.assert_allclose(model.project(("d", "a")), model.project(("a", "d")).T)
    np.testing.assert_allclose(model.project(("b", "a")), model.project(("a", "b")).T)


def test_limits_are_honoured():
    model = GraphicalModel(FIVE, random_potentials(FIVE, AWKWARD["chain"], np.random.default_rng(4)), total=1.0)
    assert model.project(("a", "d"), max_cells=60).shape == (3, 5)
    with pytest.raises(ModelTooLarge, match="15 cells, allowed are 14"):
        model.project(("a", "d"), max_cells=14)
    # eliminating c joins (b, c) and (c, d): 4 * 2 * 5 cells on the way to 15
    with pytest.raises(ModelTooLarge, match="eliminating"):
        model.project(("a", "d"), max_cells=16)


def test_bad_potentials_are_refused():
    tree = JunctionTree.of(FIVE, [("a", "b")])
    passing = MessagePassing(tree, [("a", "b")])
    with pytest.raises(ValueError, match="finite"):
        passing.calibrate([np.full((3, 4), np.nan)])
    with pytest.raises(ValueError, match="shapes"):
        passing.calibrate([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="twice"):
        MessagePassing(tree, [("a", "b"), ("b", "a")])
    with pytest.raises(ValueError, match="no bag"):
        MessagePassing(tree, [("c", "d")])
    with pytest.raises(ValueError, match="total"):
        GraphicalModel(FIVE, {}, total=0.0)


def test_a_hundred_columns_in_a_chain():
    domain = Domain.of({f"x{i}": 3 for i in range(100)})
    rng = np.random.default_rng(5)
    cliques = list(zip(domain.attributes, domain.attributes[1:], strict=False))
    potentials = random_potentials(domain, cliques, rng, 1.0)
    model = GraphicalModel(domain, potentials, total=1.0)
    assert model.tree.cells == 99 * 9
    ends = model.project(("x0", "x99"), max_cells=100)
    # the same by multiplying transfer matrices
    product = np.eye(3)
    for clique in cliques:
        product = product @ np.exp(potentials[clique])
        product /= product.sum()
    np.testing.assert_allclose(ends, product, atol=1e-12)

from itertools import permutations

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.generators.expected import Expected
from dpsynth.graphical import GraphicalModel, JunctionTree
from dpsynth.graphical.pairs import two_way, two_way_cost

CLIQUES = [
    [],
    [("a",)],
    [("a", "b"), ("c", "d")],
    [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")],
    [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")],
    [("b", "a"), ("b", "c"), ("b", "d"), ("b", "e"), ("e", "f")],
    [("a", "b", "c"), ("b", "c", "d"), ("d", "e", "f")],
    [("a", "b", "c", "d", "e", "f")],
]
SIZES = {"a": 2, "b": 3, "c": 1, "d": 4, "e": 2, "f": 3}


def fitted(cliques: list[tuple[str, ...]], seed: int = 0) -> GraphicalModel:
    rng = np.random.default_rng(seed)
    domain = Domain.of(SIZES)
    potentials = {domain.clique(c): rng.normal(scale=2.0, size=domain.shape_of(domain.clique(c))) for c in cliques}
    return GraphicalModel(domain, potentials, 500.0)


@pytest.mark.parametrize("cliques", CLIQUES, ids=lambda c: "+".join("".join(x) for x in c) or "none")
def test_every_pair_agrees_with_the_enumerated_joint(cliques):
    model = fitted(cliques)
    whole = np.zeros(model.domain.shape)
    for clique, table in model.potentials.items():
        whole = whole + table.reshape([s if a in clique else 1 for a, s in SIZES.items()])
    whole = np.exp(whole - whole.max())
    whole /= whole.sum()
    joint = two_way(model.calibrated)
    ends = dict(zip(SIZES, np.cumsum(list(SIZES.values())), strict=True))
    for i, j in permutations(range(len(SIZES)), 2):
        a, b = list(SIZES)[i], list(SIZES)[j]
        summed = whole.sum(axis=tuple(k for k in range(len(SIZES)) if k not in (i, j)))
        block = joint[ends[a] - SIZES[a] : ends[a], ends[b] - SIZES[b] : ends[b]]
        np.testing.assert_allclose(block, summed if i < j else summed.T, atol=1e-12)
    np.testing.assert_allclose(joint, joint.T, atol=1e-12)


def test_cost_counts_all_bags_and_the_largest():
    tree = JunctionTree.of(Domain.of({"a": 2, "b": 3, "c": 4}), [("a", "b"), ("b", "c")])
    assert two_way_cost(tree) == (18 * 9, 12 * 9)


@pytest.mark.parametrize("pairs", [10**6, 0], ids=["exactly", "sampled"])
def test_expected_counts_are_the_models_own(pairs):
    model = fitted(CLIQUES[4])
    expected = Expected(model, np.random.default_rng(0), pairs)
    for clique in [("a", "b"), ("a", "e"), ("b", "d"), ("a", "b", "f")]:
        sampled = not pairs or len(clique) > 2
        # A sample of 500 rows: a cell is off by less than six standard deviations.
        np.testing.assert_allclose(expected.project(clique), model.project(clique), atol=60 if sampled else 1e-9)

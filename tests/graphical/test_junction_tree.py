"""Junction trees over fuzzed clique sets: coverage, running intersection, sizes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import JunctionTree


@st.composite
def domains(draw, most=7):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=most))
    return Domain.of({f"x{i}": size for i, size in enumerate(sizes)})


@st.composite
def graphs(draw):
    domain = draw(domains())
    clique = st.lists(st.sampled_from(domain.attributes), max_size=4, unique=True).map(domain.clique)
    return domain, draw(st.lists(clique, max_size=9))


def check(tree):
    domain = tree.domain
    assert set().union(*map(set, tree.bags)) == set(domain.attributes)
    assert tree.parents[0] == -1
    assert tree.separators[0] == ()
    for i, (bag, parent) in enumerate(zip(tree.bags, tree.parents, strict=True)):
        assert bag == domain.clique(bag)
        if i:
            assert 0 <= parent < i
            assert set(tree.separators[i]) == set(bag) & set(tree.bags[parent])
    for a, b in combinations(tree.bags, 2):
        assert not set(a) <= set(b)
        assert not set(b) <= set(a)
    # running intersection: the bags holding an attribute form one subtree, so all but one have a parent among them
    for attribute in domain.attributes:
        holding = {i for i, bag in enumerate(tree.bags) if attribute in bag}
        tops = [i for i in holding if tree.parents[i] not in holding]
        assert len(tops) == 1


@given(graphs())
@settings(deadline=None)
def test_any_clique_set_gives_a_junction_tree(graph):
    domain, cliques = graph
    tree = JunctionTree.of(domain, cliques)
    check(tree)
    for clique in cliques:
        assert tree.bag_of(clique) is not None
    assert tree.cells == sum(domain.size(bag) for bag in tree.bags)
    again = JunctionTree.of(domain, reversed(cliques))
    assert (again.bags, again.parents) == (tree.bags, tree.parents)


def small_cliques(domain, most=3):
    return st.lists(st.sampled_from(domain.attributes), min_size=1, max_size=most, unique=True).map(domain.clique)


@given(graphs(), st.data())
@settings(deadline=None)
def test_a_grown_tree_is_a_junction_tree_within_what_was_said(graph, data):
    """Never larger than `cells_with`, nor than a tree triangulated from scratch, whatever was added before."""
    domain, cliques = graph
    tree = JunctionTree.of(domain, cliques)
    for candidate in data.draw(st.lists(small_cliques(domain, 4), min_size=1, max_size=8)):
        for _ in range(2):  # asked again, it is remembered
            said = tree.cells_with(candidate)
        assert tree.fits(candidate, said)
        assert not tree.fits(candidate, said - 1)
        held = tree.bag_of(candidate) is not None
        grown = tree.grown(candidate)
        check(grown)
        assert all(grown.bag_of(c) is not None for c in grown.cliques)
        assert candidate in grown.cliques
        assert grown.cells <= said
        if held:
            assert (grown.bags, said) == (tree.bags, tree.cells)
        else:
            assert grown.cells <= JunctionTree.of(domain, grown.cliques).cells
        assert JunctionTree.of(domain, grown.bags).bags == grown.bags  # a tree is known by its bags
        assert JunctionTree.of(domain, grown.bags).parents == grown.parents
        tree = grown


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(0, 40), st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=60)
def test_bounds_of_many_candidates_are_kept(seed, columns, edges, size):
    """What `fitting` admits in bulk does fit, and it admits no less than the bound of each candidate."""
    rng = np.random.default_rng(seed)
    domain = Domain.of({f"x{i}": int(s) for i, s in enumerate(rng.integers(1, 6, columns))})
    pairs = {domain.clique(rng.choice(domain.attributes, 2, replace=False).tolist()) for _ in range(edges)}
    tree = JunctionTree.of(domain, []).covering(sorted(pairs))
    check(tree)
    everything = list(combinations(domain.attributes, min(size, columns)))
    asked = [everything[i] for i in rng.permutation(len(everything))[:80]]
    bounds = tree.bounds(asked)
    assert np.array_equal(bounds, tree.growth.bounds(np.array([domain.axes(c) for c in asked])))
    for clique, bound in zip(asked, bounds, strict=True):
        assert tree.cells <= tree.cells_with(clique) <= bound or tree.cells_with(clique) < tree.cells
        assert tree.grown(clique).cells <= bound
        if tree.bag_of(clique) is not None:
            assert bound == tree.cells
    limit = int(np.median(bounds))
    fitting = tree.fitting(asked, limit)
    assert fitting == [c for c in asked if tree.fits(c, limit)]


def test_larger_cliques_and_single_attributes_are_decided_too():
    domain = Domain.of({f"x{i}": 3 for i in range(6)})
    tree = JunctionTree.of(domain, [("x0", "x1")])
    asked = [("x2",), domain.attributes, ("x0", "x1", "x2", "x3"), ("x4", "x5")]
    assert tree.fitting(asked, 100) == [("x2",), ("x0", "x1", "x2", "x3"), ("x4", "x5")]
    assert tree.fitting([], 100) == []
    assert np.isfinite(tree.bounds(asked)).tolist() == [False, False, False, True]
    assert len(tree.bounds([])) == 0


def test_only_the_closest_of_those_refused_are_triangulated():
    domain = Domain.of({f"x{i}": 10 for i in range(40)})
    tree = JunctionTree.of(domain, [])
    pairs = list(combinations(domain.attributes, 2))
    assert tree.fitting(pairs, tree.cells + 80) == pairs[:256]  # each takes two bags of 10 away
    assert tree.fitting(pairs, tree.cells + 100) == pairs
    assert tree.fitting(pairs, tree.cells + 79) == []


def test_attributes_far_apart_in_a_chain_are_carried_towards_each_other():
    sizes = {f"x{i}": 9 for i in range(8)} | {"x4": 2}
    domain = Domain.of(sizes)
    chain = list(zip(domain.attributes, domain.attributes[1:], strict=False))
    tree = JunctionTree.of(domain, chain)
    grown = tree.grown(("x0", "x7"))
    check(grown)
    assert grown.cells < 6 * 9**3  # a cycle: five or six bags of three, and x4 in some of them


def test_a_cycle_is_triangulated():
    domain = Domain.of({"a": 2, "b": 9, "c": 2, "d": 9})
    tree = JunctionTree.of(domain, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert set(tree.bags) == {("a", "b", "c"), ("a", "c", "d")}  # the cheap chord, a to c
    assert tree.cells == 2 * 36


def test_nested_cliques_share_a_bag_and_loose_attributes_get_their_own():
    domain = Domain.of({"a": 2, "b": 3, "c": 4})
    tree = JunctionTree.of(domain, [("a", "b"), ("a",)])
    assert set(tree.bags) == {("a", "b"), ("c",)}
    assert set(JunctionTree.of(domain, []).bags) == {("a",), ("b",), ("c",)}


def test_sizes_are_exact_far_beyond_64_bits():
    domain = Domain.of({f"x{i}": 1000 for i in range(40)})
    tree = JunctionTree.of(domain, [])
    assert tree.cells_with(domain.attributes) == 1000**40
    assert not tree.fits(domain.attributes, 10**9)


def test_unknown_attributes_and_empty_domains_are_refused():
    with pytest.raises(KeyError, match="z"):
        JunctionTree.of(Domain.of({"a": 2}), [("z",)])
    with pytest.raises(ValueError, match="at least one attribute"):
        JunctionTree.of(Domain.of({}), [])

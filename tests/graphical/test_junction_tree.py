"""Junction trees over fuzzed clique sets: coverage, running intersection, sizes."""

from itertools import combinations

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


@given(graphs(), st.data())
@settings(deadline=None)
def test_size_with_a_candidate_is_the_size_of_the_grown_tree(graph, data):
    domain, cliques = graph
    tree = JunctionTree.of(domain, cliques)
    candidate = domain.clique(data.draw(st.lists(st.sampled_from(domain.attributes), min_size=1, max_size=3)))
    grown = JunctionTree.of(domain, [*cliques, candidate])
    for _ in range(2):  # asked again, it is remembered
        assert tree.cells_with(candidate) == grown.cells
    assert tree.fits(candidate, grown.cells)
    assert not tree.fits(candidate, grown.cells - 1)


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

"""Models under structural zeros: no mass where there must be none, marginals kept where they can be, numbers sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.domain import Domain
from dpsynth.graphical import GraphicalModel
from dpsynth.graphical.constrained import constrain, holding

DOMAIN = Domain.of({"a": 3, "b": 4, "c": 2, "d": 3})


def random_model(seed, cliques):
    rng = np.random.default_rng(seed)
    return GraphicalModel(DOMAIN, {c: rng.normal(0, 1, DOMAIN.project(c).shape) for c in cliques}, 100.0)


def joint(model):
    return model.project(DOMAIN.attributes) / model.total


def zeros(seed, clique, share=0.3):
    """Random zeros that leave something of every axis."""
    rng = np.random.default_rng(seed)
    shape = DOMAIN.project(clique).shape
    table = (rng.random(shape) > share).astype(float)
    for place in range(max(shape)):
        table[tuple(place % size for size in shape)] = 1.0
    return table


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from(
        [[("a",), ("b",), ("c",), ("d",)], [("a", "b"), ("b", "c"), ("d",)], [("a", "b", "c"), ("c", "d")]]
    ),
    st.sampled_from([("a", "b"), ("a", "d"), ("b", "d"), ("b", "c", "d")]),
)
def test_zeros_have_no_mass_and_marginals_stay(seed, cliques, where):
    model, table = random_model(seed, cliques), zeros(seed, where)
    found = constrain(model, {where: table}, max_evaluations=400)
    under = found.project(where)
    assert under[table == 0].max(initial=0.0) == 0.0
    assert np.isfinite(joint(found)).all()
    assert joint(found).sum() == pytest.approx(1.0)
    # no farther from the model's marginals, all in all, than conditioning alone leaves them
    conditioned = joint(model) * table.reshape([DOMAIN[a] if a in where else 1 for a in DOMAIN.attributes])
    assert far(joint(found), model, cliques) <= far(conditioned / conditioned.sum(), model, cliques) + 1e-6


def far(q, model, cliques):
    """Sum of squared differences of the cliques' marginals."""
    others = {c: tuple(i for i, a in enumerate(DOMAIN.attributes) if a not in c) for c in cliques}
    return sum(float(np.square(q.sum(others[c]) - model.project(c) / model.total).sum()) for c in cliques)


def test_the_fit_is_the_minimum_of_what_it_says():
    """Any other distribution on the support, near or far, is worse."""
    model, table, slack = random_model(3, [("a", "b"), ("b", "c"), ("d",)]), zeros(5, ("a", "d")), 1e-3
    found = constrain(model, {("a", "d"): table}, slack=slack, tolerance=1e-9, max_evaluations=2000)
    weighted = joint(model) * table[:, None, None, :]

    def value(q):
        inside = q > 0
        entropy = float((q[inside] * np.log(q[inside] / weighted[inside])).sum())
        return entropy + far(q, model, [("a", "b"), ("b", "c"), ("d",)]) / (2 * slack)

    best, rng = joint(found), np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 0.5):
        for _ in range(20):
            other = best * np.exp(size * rng.normal(size=best.shape))
            assert value(other / other.sum()) >= value(best) - 1e-9


def test_marginals_that_the_zeros_allow_are_kept_and_those_they_do_not_are_not():
    model = random_model(1, [("a",), ("b",), ("c",), ("d",)])
    table = np.ones((3, 4))
    table[0, 1:] = 0.0  # a = 0 only with b = 0
    found = constrain(model, {("a", "b"): table}, slack=1e-6, max_evaluations=500)
    for name in ("c", "d"):
        np.testing.assert_allclose(found.project((name,)), model.project((name,)), atol=0.05)
    alone = np.ones((3,))
    alone[0] = 0.0
    gone = constrain(model, {("a",): alone})
    assert gone.project(("a",))[0] == 0.0


def test_a_model_of_nothing_takes_weights():
    found = constrain(GraphicalModel(DOMAIN, {}, 10.0), {("a", "c"): np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])})
    np.testing.assert_allclose(found.project(("a", "c")), [[2.5, 0], [0, 2.5], [2.5, 2.5]])


def test_a_chain_of_zeros_leaves_messages_sound():
    """Each of 40 columns must equal the one before: all mass on two rows."""
    domain = Domain.of({f"x{i}": 2 for i in range(40)})
    pairs = list(zip(domain.attributes, domain.attributes[1:], strict=False))
    model = GraphicalModel(domain, {(a,): np.array([0.0, 0.1]) for a in domain.attributes}, 1000.0)
    found = constrain(model, {pair: np.eye(2) for pair in pairs})
    codes = found.sample(500, np.random.default_rng(0))
    assert all((codes[a] == codes["x0"]).all() for a in domain.attributes)
    assert np.isfinite(found.calibrated.log_partition)
    ends = found.project(("x0", "x39"))
    assert ends[0, 1] == ends[1, 0] == 0.0


def test_only_what_fits_is_taken_in():
    model = random_model(0, [("a", "b"), ("b", "c")])
    assert holding(model, [("a", "b"), ("a", "c"), ("c", "d")], 1000) == [("a", "c"), ("c", "d"), ("a", "b")]
    assert holding(model, [("a", "b"), ("a", "c"), ("c", "d")], model.tree.cells) == [("a", "b")]

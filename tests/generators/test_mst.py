"""MST on a planted tree."""

import numpy as np
import pytest

from accountants import ExponentialMechanism, Gaussian
from dpsynth.generators import MST
from dpsynth.measurement import NoisyCounts, Selected


def test_it_finds_the_planted_edges(fitted, chain):
    run = fitted(MST(), *chain)
    chosen = [answer.clique for answer in run.private.transcript if isinstance(answer, Selected)]
    assert {("a", "b"), ("b", "c")} <= set(chosen)
    measured = [answer.clique for answer in run.private.transcript if isinstance(answer, NoisyCounts)]
    assert measured[4:] == chosen


def test_the_plan_is_one_ways_choices_pairs(fitted, chain):
    events = fitted(MST.paper(), *chain).plan.events
    assert [type(e) for e in events] == [Gaussian, *[ExponentialMechanism] * 3, Gaussian]
    spent = np.array([float(e.mu_squared) for e in events])
    np.testing.assert_allclose([spent[0], spent[1:4].sum(), spent[4]], spent.sum() / 3, rtol=1e-6)


def test_connected_candidates_are_not_asked_about(fitted, chain):
    run = fitted(MST(), *chain)
    component = {a: a for a in "abcd"}
    for answer in run.private.transcript:
        if isinstance(answer, Selected):
            assert all(component[a] != component[b] for a, b in answer.candidates)
            kept, merged = (component[a] for a in answer.clique)
            component = {a: kept if c == merged else c for a, c in component.items()}


@pytest.mark.parametrize("max_cells", [30, 40])
def test_pairs_too_large_are_left_out_and_the_plan_is_kept(fitted, chain, max_cells):
    run = fitted(MST(max_cells=max_cells), *chain)
    assert run.meter.charged == run.plan.events
    assert run.model.graphical.tree.cells <= max_cells


def test_the_model_has_the_dependence(fitted, chain):
    frame, _ = chain
    codes = fitted(MST(), *chain).sample(20_000)
    for pair in (("a", "b"), ("b", "c")):
        drawn, true = (np.mean(t[pair[0]] % 3 == t[pair[1]] % 3) for t in (codes, frame))
        assert drawn == pytest.approx(true, abs=0.03)

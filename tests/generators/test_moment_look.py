"""Moments of ordered columns: what cells are worth, what norms cost, and that AIM fits what it asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, FixedPlan, Gaussian, Meter
from dpsynth.domain import Domain
from dpsynth.generators import AIM
from dpsynth.generators.moment_look import UNIT, moments_of, noise_of_a_correlation, read, scored
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import RakedModel
from dpsynth.graphical.moments import MOMENTS
from dpsynth.graphical.raking import rake
from dpsynth.hints import Hints
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.moments import exact_moments
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyMoments, Score
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

QUIET = Gaussian(1e-9)


def identity(sizes):
    domain = Domain.of(sizes)
    return Recoding.of(domain, {a: np.arange(s) for a, s in sizes.items()}, {a: np.ones(s) for a, s in sizes.items()})


def test_scores_are_standard_and_special_cells_are_the_mean():
    hints = Hints(ordered=frozenset({"n"}), missing={"n": 20}, out_of_domain={"n": 21, "plain": 4})
    mass = np.r_[np.full(20, 50.0), 300.0, 10.0]
    one_ways = {"n": mass, "plain": np.ones(5), "o": mass}
    hints = replace(hints, ordered=hints.ordered | {"o"})
    found = scored(identity({"n": 22, "plain": 5, "o": 22}), hints, one_ways, QUIET)
    assert [score.attribute for score in found] == ["n", "o"]
    scores = found[0].values
    assert scores[20] == scores[21] == 0
    assert (np.diff(scores[:20]) > 0).all()
    assert scores.dtype == np.int64
    share = mass[:20] / mass[:20].sum()
    assert abs(share @ scores[:20]) < 1
    assert share @ scores[:20] ** 2 == pytest.approx(UNIT**2, rel=0.02)


def test_scores_follow_the_grid_and_stop_at_three_deviations():
    edges = (0.0, 1.0, 2.0, 3.0, 1000.0)
    hints = Hints(fine={"n": edges, "o": edges}, out_of_domain={"n": 4, "o": 4})
    one_ways = dict.fromkeys("no", np.array([400.0, 400.0, 400.0, 1.0, 0.0]))
    scores = scored(identity({"n": 5, "o": 5}), hints, one_ways, QUIET)[0].values
    assert scores.max() == pytest.approx(3 * UNIT, abs=5)  # and then moved, so that the mean is 0
    assert np.diff(scores[:3]).max() < 20  # one far cell makes the rest look alike


def test_values_far_out_have_scores_of_their_own():
    """A column of zeros, some values, and one a hundred times as large: its first score tells them from zeros only."""
    edges = tuple(np.log1p([0.0, 1.0, 90.0, 110.0, 900.0, 1100.0, 99_000.0, 100_000.0]))
    mass = np.array([9000.0, 0.0, 500.0, 0.0, 450.0, 0.0, 50.0, 0.0])
    hints = Hints(
        fine={"n": edges, "o": edges},
        out_of_domain={"n": 7, "o": 7},
        logarithmic=frozenset({"n"}),
        ordered=frozenset("no"),
    )
    found = scored(identity({"n": 8, "o": 8}), hints, dict.fromkeys("no", mass), QUIET)
    mine = np.stack([s.values for s in found if s.attribute == "n"], axis=1)[:7]
    assert [s.attribute for s in found] == ["n", "n", "n", "o"]
    noisy = scored(identity({"n": 8, "o": 8}), hints, dict.fromkeys("no", mass), Gaussian(100.0))
    assert [s.attribute for s in noisy] == ["n", "o"]
    assert np.square(mine / UNIT).sum(axis=1).max() < 3.2**2 + 2.2**2
    root, values = np.sqrt(mass[:7]), np.exp((np.array(edges[1:]) + edges[:-1]) / 2)
    known = np.stack([np.ones(7), *mine.T], axis=1) * root[:, None]
    rest = values * root - known @ np.linalg.lstsq(known, values * root, rcond=None)[0]
    assert np.square(rest).sum() < 1e-3 * np.square(values * root).sum()


def test_nothing_is_scored_where_it_would_drown_or_there_is_no_pair():
    hints, recoding = Hints(ordered=frozenset("nop")), identity({"n": 1, "o": 3, "p": 3})
    one_ways = {"n": np.array([5.0]), "o": np.array([0.0, 0.0, 0.0]), "p": np.array([500.0, 100.0, 9.0])}
    assert scored(recoding, hints, one_ways, QUIET) == ()
    one_ways["o"] = one_ways["p"]
    assert len(scored(recoding, hints, one_ways, QUIET)) == 2
    assert scored(recoding, hints, one_ways, Gaussian(200.0)) == ()


def table(rows=20_000, columns=6, seed=0, steps=9):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 1))
    values = 0.7 * common + np.sqrt(0.51) * rng.normal(size=(rows, columns))
    values[:, ::2] *= -1
    codes = np.clip(np.rint(values * 1.5 + (steps - 1) / 2), 0, steps - 1).astype(int)
    return pd.DataFrame(codes, columns=[f"n{i}" for i in range(columns)])


def opened(frame, plan, steps=9, at_most=1, seed=0):
    sizes = dict.fromkeys(frame.columns, steps)
    data, unit = (frame, None) if at_most == 1 else (frame.assign(who=np.arange(len(frame))), "who")
    schema = Schema.from_domain(sizes, ordered=list(frame.columns), unit=unit, at_most=at_most)
    return PrivateTable(Rows(data, schema), Meter(plan), Noise(SeededBits(seed))), schema


def exact_one_ways(frame, domain):
    return {a: np.bincount(frame[a], minlength=domain[a]).astype(float) for a in domain.attributes}


@pytest.mark.parametrize("noise", [1e-9, 3.0, 60.0])
def test_answers_are_correlations_whatever_rows_are_held_to(noise):
    """With next to no noise no row is held, with much of it most are, and what that takes is made good."""
    frame = table()
    private, schema = opened(frame, FixedPlan([Gaussian(noise)]))
    one_ways = exact_one_ways(frame, schema.domain)
    scores = scored(identity(schema.domain.sizes), schema.hints, one_ways, QUIET)
    found = moments_of(private, scores, one_ways, Gaussian(noise), 1)
    (answer,) = private.transcript
    assert isinstance(answer, NoisyMoments)
    mean = sum(float(one_ways[s.attribute] @ s.values**2) for s in scores) / len(frame)
    longest = sum(int(np.square(s.values).max()) for s in scores)
    assert np.sqrt(mean) <= answer.max_norm <= np.sqrt(longest) + 1
    assert (answer.max_norm**2 >= longest) == (noise < 10)
    assert (answer.max_norm**2 < 2 * mean) == (noise > 10)
    values = np.stack([s[frame[a]] for a, s in zip(found.attributes, found.scores, strict=True)], axis=1)
    rows, columns = np.triu_indices(len(frame.columns), 1)
    true = (values.T @ values)[rows, columns]
    np.testing.assert_allclose(found.values, true, atol=0.08 * np.abs(true).max() + 5 * found.sigma.max())
    rough = noise_of_a_correlation(scores, one_ways, Gaussian(noise), 1) * len(frame)
    assert 0.9 * rough < found.sigma.min()
    assert found.sigma.max() < 1.1 * rough * max(longest / mean, 2)


def test_k_rows_a_unit_cost_k_times_the_noise():
    frame = table(2000)
    sigmas = []
    for at_most in (1, 3):
        private, schema = opened(frame, FixedPlan([Gaussian(50.0)]), at_most=at_most)
        one_ways = exact_one_ways(frame, schema.domain)
        scores = scored(identity(schema.domain.sizes), schema.hints, one_ways, QUIET)
        moments_of(private, scores, one_ways, Gaussian(50.0), at_most)
        (answer,) = private.transcript
        sigmas.append(answer.sigma / answer.max_norm**2)
    assert sigmas[1] == pytest.approx(3 * sigmas[0])


def fit(recipe, frame, epsilon="1", steps=9, seed=0):
    schema = Schema.from_domain(dict.fromkeys(frame.columns, steps), ordered=list(frame.columns))
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, "1e-9")), schema.hints)
    private = PrivateTable(Rows(frame, schema), Meter(plan), Noise(SeededBits(seed)))
    return recipe.fit(private, plan, schema.hints), private


def correlations(frame):
    values = np.corrcoef(np.stack([np.asarray(frame[a]) for a in frame]))
    return values[np.triu_indices(len(values), 1)]


def test_many_columns_of_few_rows_keep_their_correlations():
    """20 columns, 190 pairs and 6,000 rows at epsilon 1: cells of pairs drown, moments do not (bins keep .82)."""
    frame = table(6000, columns=20)
    true = correlations(frame)
    slopes = {}
    for share in (0.0, 0.2):
        model, _ = fit(AIM(moment_share=share), frame)
        found = correlations(model.sample(6000, np.random.default_rng(0)))
        slopes[share] = float(found @ true / (true @ true))
    assert slopes[0.2] > 0.6
    assert slopes[0.0] < 0.45


def test_moments_without_room_in_the_tree_are_fitted_by_weights():
    frame = table(30_000, columns=3)
    model, _ = fit(AIM(max_cells=60, beyond_share=0.0), frame)  # no pair fits
    assert isinstance(model.graphical, RakedModel)
    true = correlations(frame)
    np.testing.assert_allclose(correlations(model.sample(30_000, np.random.default_rng(0))), true, atol=0.15)


@pytest.mark.parametrize(("rows", "epsilon", "asked"), [(6000, "1", 1), (300, "0.1", 0), (0, "1", 0)])
def test_moments_are_asked_where_they_can_be_told_from_noise(rows, epsilon, asked):
    _, private = fit(AIM(), table(rows), epsilon)
    assert sum(isinstance(a, NoisyMoments) for a in private.transcript) == asked
    assert private.remaining < 1e-6


def test_without_ordered_columns_or_a_share_none_are_asked():
    frame = table(2000)
    assert not any(isinstance(a, NoisyMoments) for a in fit(AIM(moment_share=0.0), frame)[1].transcript)
    assert not any(isinstance(a, NoisyMoments) for a in fit(AIM(), frame[["n0"]])[1].transcript)


def test_what_holding_rows_takes_is_made_good(monkeypatch):
    """Rows held to .7 of their mean square lose two fifths of every product; the diagonal tells of a part of it.

    Where one factor drives all columns long rows are those of large products, so that some of the loss stays.
    """
    monkeypatch.setattr("dpsynth.generators.moment_look._MOST_ROOM", 0.7)
    monkeypatch.setattr("dpsynth.generators.moment_look._NOISE_UNHELD", 0.0)
    frame = table()
    private, schema = opened(frame, FixedPlan([Gaussian(1e-6)]))
    one_ways = exact_one_ways(frame, schema.domain)
    scores = scored(identity(schema.domain.sizes), schema.hints, one_ways, QUIET)
    found = moments_of(private, scores, one_ways, Gaussian(1e-6), 1)
    values = np.stack([s[frame[a]] for a, s in zip(found.attributes, found.scores, strict=True)], axis=1)
    rows, columns = np.triu_indices(len(frame.columns), 1)
    true = (values.T @ values)[rows, columns]
    (answer,) = private.transcript
    held = answer.values[rows, columns] / UNIT**2
    assert held @ true / (true @ true) < 0.65
    assert 0.7 < found.values @ true / (true @ true) < 1.15


def test_scores_that_are_large_in_few_rows_lose_the_most():
    """Rows far out in one column are long, so that holding them takes twice as much from it: told without its own sum.

    The noise of the diagonal is said to be so large that only its trace is of use.
    """
    rng = np.random.default_rng(0)
    rows, columns = 50_000, 6
    far = rng.random(rows) < 0.01
    codes = {f"n{i}": np.clip(np.rint(2 * rng.normal(size=rows) + 5 + far), 0, 10).astype(int) for i in range(columns)}
    codes["far"] = far.astype(int)
    values = np.rint(UNIT * (np.arange(11) - 5) / 2).astype(np.int64)
    scores = [*(Score(f"n{i}", values) for i in range(columns)), Score("far", np.array([0, 4 * UNIT]))]
    whole = exact_moments(codes, scores, 100 * UNIT)
    held = exact_moments(codes, scores, round(2.2 * UNIT))
    lost = 1 - np.diagonal(held) / np.diagonal(whole)
    assert lost[-1] > 2 * lost[:-1].max()
    one_ways = {a: np.bincount(c).astype(float) for a, c in codes.items()}
    found = read(NoisyMoments(tuple(scores), round(2.2 * UNIT), held, 1.0, 1e12), one_ways)
    with_far = np.array([j == columns for _, j in found.pairs])
    true = np.array([whole[pair] for pair in found.pairs]) / UNIT**2
    raw = np.array([held[pair] for pair in found.pairs]) / UNIT**2
    slope = lambda these: these[with_far] @ true[with_far] / (true[with_far] @ true[with_far])  # noqa: E731
    assert slope(raw) < 0.4
    assert 0.85 < slope(found.values) < 1.1  # far rows are longer than those of independent columns


@pytest.mark.parametrize("at_most", [1, 400])
def test_noise_is_never_more_than_the_kernel_makes(at_most):
    """A norm that would ask for more is lowered before anything is charged, however many rows a unit has."""
    frame = table(4000)
    noise = Gaussian(1500.0)
    private, schema = opened(frame, FixedPlan([noise]), at_most=at_most)
    one_ways = {a: 1e9 * counts for a, counts in exact_one_ways(frame, schema.domain).items()}  # as if of many rows
    scores = scored(identity(schema.domain.sizes), schema.hints, one_ways, noise)
    assert scores
    moments_of(private, scores, one_ways, noise, at_most)
    (answer,) = private.transcript
    assert answer.sigma_diagonal <= 2**30


def rakes(monkeypatch):
    """What every call of `rake` is given: moments, and what the particles were drawn at."""
    asked = []

    def noted(prior, particles, measurements, moments, *, drawn_at, **how):
        asked.append((moments, drawn_at))
        return rake(prior, particles, measurements, moments, drawn_at=drawn_at, **how)

    monkeypatch.setattr("dpsynth.generators.raked_rounds.rake", noted)
    return asked


def test_particles_are_weighted_from_the_coefficients_of_the_tree(monkeypatch):
    asked = rakes(monkeypatch)
    fit(AIM(), table(20_000, columns=4))
    (moments, drawn_at) = asked[0]
    assert drawn_at[MOMENTS].shape == (len(moments.pairs),)
    in_tree = drawn_at[MOMENTS] != 0
    assert in_tree.any()
    assert (np.sign(drawn_at[MOMENTS]) == np.sign(moments.values))[in_tree].all()


def test_columns_that_do_not_go_together_have_few_moments_fitted(monkeypatch):
    """66 pairs of noise alone: at a false discovery rate of a tenth hardly any is taken, of two deviations three."""
    asked, rng = rakes(monkeypatch), np.random.default_rng(0)
    frame = pd.DataFrame({f"n{i}": rng.integers(0, 9, 4000) for i in range(12)})
    _, private = fit(AIM(), frame)  # noise of .06, correlations of the sample are .016
    assert sum(isinstance(a, NoisyMoments) for a in private.transcript) == 1
    assert all(len(moments.pairs) <= 2 for moments, _ in asked if moments)

"""What every generator owes: its plan is kept and used up, its model is whole, and no table can upset it."""

import json
import math

import numpy as np
import pytest

from accountants import Allowance, Budget, FixedPlan, PlanError
from dpsynth.domain import Domain
from dpsynth.generators import AIM, GENERATORS, MST, Independent, generator_from
from dpsynth.generators.base import Model
from dpsynth.hints import Hints
from dpsynth.progress import listening

EVERY = [Independent(), MST(), AIM(), AIM(workload="all-3way", max_cells=500)]
NAMES = ["independent", "mst", "aim", "aim-3way"]
every_generator = pytest.mark.parametrize("generator", EVERY, ids=NAMES)

rng = np.random.default_rng(0)
TABLES = {
    "no rows": ({"a": [], "b": [], "c": []}, {"a": 3, "b": 2, "c": 4}),
    "one row": ({"a": [1], "b": [0], "c": [2]}, {"a": 3, "b": 2, "c": 4}),
    "one column": ({"a": rng.integers(0, 3, 500)}, {"a": 3}),
    "two columns": ({"a": rng.integers(0, 3, 500), "b": rng.integers(0, 9, 500)}, {"a": 3, "b": 9}),
    "cells of one": ({"a": np.zeros(500, int), "b": np.zeros(500, int)}, {"a": 1, "b": 1}),
    "nothing decodes": ({"a": np.full(500, 99), "b": np.full(500, -1), "c": np.full(500, 7)}, {"a": 3, "b": 2, "c": 4}),
    "spread thin": ({a: rng.integers(0, 400, 300) for a in "abc"}, dict.fromkeys("abc", 400)),
}


@every_generator
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("epsilon", [0.001, 1, 15])
def test_no_table_upsets_it(fitted, generator, table, epsilon):
    if generator == EVERY[3] and table is TABLES["spread thin"]:
        generator = AIM(workload="all-3way", max_cells=1300)  # room for the one-ways, not for a pair
    run = fitted(generator, *table, epsilon=epsilon)
    model, sizes = run.model, run.model.domain.sizes
    assert isinstance(model, Model)
    assert math.isfinite(model.total)
    assert model.total >= 1
    for rows in (0, 1, 50):
        codes = run.sample(rows)
        assert list(codes) == list(sizes)
        for attribute, column in codes.items():
            assert column.shape == (rows,)
            assert not rows or (column.min() >= 0 and column.max() < sizes[attribute])
    for attribute in sizes:
        counts = model.project((attribute,))
        assert np.isfinite(counts).all()
        assert (counts >= 0).all()
        assert counts.sum() == pytest.approx(model.total)
    _, arrays = model.dump()
    assert all(np.isfinite(a).all() for a in arrays.values())


@every_generator
def test_the_plan_is_used_up_and_never_exceeded(fitted, generator, chain):
    run = fitted(generator, *chain)
    if isinstance(run.plan, FixedPlan):
        assert run.meter.charged == run.plan.events
    assert run.meter.remaining <= run.plan.capacity / 10**9


@every_generator
def test_looks_depend_on_answers_alone(fitted, generator, chain):
    """Equal answers, equal model and sample, to the last bit."""
    one, two = fitted(generator, *chain, seed=5), fitted(generator, *chain, seed=5)
    assert one.meter.charged == two.meter.charged
    header, arrays = one.model.dump()
    other_header, other_arrays = two.model.dump()
    assert header == other_header
    assert list(arrays) == list(other_arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name])
    for attribute, column in one.sample().items():
        np.testing.assert_array_equal(column, two.sample()[attribute])


@every_generator
def test_cells_nobody_is_in_stay_empty(fitted, generator, chain):
    """The out-of-domain cell of a clean column is noise alone: it must not be sampled."""
    run = fitted(generator, *chain, epsilon=1)
    for attribute, column in run.sample(20_000).items():
        assert column.max() < chain[1][attribute]


@every_generator
def test_a_wrong_codebook_shows_as_rows_out_of_domain(fitted, generator, chain):
    frame, sizes = chain
    run = fitted(generator, frame, {**sizes, "b": 3})
    outside = np.mean(np.asarray(frame["b"]) >= 3)
    assert np.mean(run.sample(20_000)["b"] == 3) == pytest.approx(outside, abs=0.02)


@every_generator
def test_one_ways_are_near_the_truth(fitted, generator, chain):
    frame, sizes = chain
    codes = fitted(generator, frame, sizes).sample(20_000)
    for attribute, size in sizes.items():
        drawn, true = (np.bincount(c, minlength=size + 1) / 20_000 for c in (codes[attribute], frame[attribute]))
        assert 0.5 * np.abs(drawn - true).sum() < 0.02


@every_generator
def test_given_columns_are_kept(fitted, generator, chain):
    run = fitted(generator, *chain)
    given = {"b": np.tile([0, 5, 2, 4], 250)}  # 5 is the out-of-domain code
    codes = run.sample(1000, given=given)
    np.testing.assert_array_equal(codes["b"], given["b"])


@every_generator
def test_parameters_rebuild_it(generator):
    again = generator_from(generator.name, json.loads(json.dumps(generator.parameters())))
    assert again == generator


@every_generator
def test_progress_only_rises_to_one(fitted, generator, chain):
    heard = []
    with listening(heard.append):
        fitted(generator, *chain)
    done = [step.done for step in heard if step.stage in ("Independent", "MST", "AIM")]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


def test_registry():
    assert set(GENERATORS) == {"independent", "mst", "aim", "made", "vae", "gan"}
    with pytest.raises(ValueError, match="allowed are aim, gan, independent, made, mst, vae"):
        generator_from("swift")
    with pytest.raises(ValueError, match="has no setting"):
        generator_from("mst", {"epsilon": 1})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("aim", {"workload": "all-9way"}),
        ("aim", {"one_way_share": 1.0}),
        ("aim", {"one_way_share": math.nan}),
        ("aim", {"select_share": 0}),
        ("aim", {"anneal": 1.0}),
        ("aim", {"max_cells": 0}),
        ("aim", {"max_cells": 1e5}),
        ("aim", {"smoothing": "much"}),
        ("mst", {"one_way_share": 0.7, "select_share": 0.4}),
        ("mst", {"max_cells": True}),
        ("independent", {"merge_below": -1}),
        ("independent", {"merge_below": math.inf}),
    ],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(ValueError, match=r"must be .*got"):
        generator_from(name, settings)


@pytest.mark.parametrize("generator", [MST(max_cells=10), AIM(max_cells=10)])
def test_a_limit_below_the_one_ways_is_refused_before_any_look(generator):
    with pytest.raises(PlanError, match="11 cells, max_cells is 10"):
        generator.plan(Domain.of({"a": 5, "b": 6}), Allowance(Budget("1", "1e-9")), Hints())

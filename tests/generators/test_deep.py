"""What every generator that trains a network owes, beside the contract (`test_contract`)."""

import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dpsynth as dp
from accountants import Allowance, Budget, FixedPlan, Gaussian, Meter, PlanError, SubsampledGaussian
from dpsynth.generators import MADE, VAE, NetworkModel, generator_from
from dpsynth.generators.base import Model
from dpsynth.generators.constrained import constrained
from dpsynth.generators.deep import pace
from dpsynth.generators.deep.network_rows import NetworkRows
from dpsynth.graphical import RakedModel
from dpsynth.hints import Hints
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.progress import listening
from dpsynth.release import tensors
from dpsynth.release.store import load_model
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits
from tests.helpers import schema, table

SMALL = {"steps": 12, "batch": 200, "hidden": 8, "pair_share": 0.0}  # one pace, whose plan is calibrated once
EVERY = [MADE(**SMALL), VAE(latent=2, **SMALL), MADE(**SMALL | {"hidden": 0}, ordinal=True)]
NAMES = ["made", "vae", "made-ordinal"]
RAKED = MADE(**SMALL | {"pair_share": 0.3})
every_generator = pytest.mark.parametrize("generator", EVERY, ids=NAMES)

rng = np.random.default_rng(0)
TABLES = {
    "no rows": ({"a": [], "b": [], "c": []}, {"a": 3, "b": 2, "c": 4}),
    "one row": ({"a": [1], "b": [0], "c": [2]}, {"a": 3, "b": 2, "c": 4}),
    "one column": ({"a": rng.integers(0, 3, 500)}, {"a": 3}),
    "two columns": ({"a": rng.integers(0, 3, 500), "b": rng.integers(0, 9, 500)}, {"a": 3, "b": 9}),
    "cells of one": ({"a": np.zeros(500, int), "b": np.zeros(500, int)}, {"a": 1, "b": 1}),
    "nothing decodes": ({"a": np.full(500, 99), "b": np.full(500, -1), "c": np.full(500, 7)}, {"a": 3, "b": 2, "c": 4}),
    "spread thin": ({a: rng.integers(0, 99, 300) for a in "abc"}, dict.fromkeys("abc", 99)),
}


class Trained:
    """A generator fitted to a frame: the plan, the meter and the model."""

    def __init__(self, generator, frame, sizes, *, epsilon=1, seed=0, about_rows=500, ordered=()):
        described = Schema.from_domain(sizes, about_rows=about_rows, ordered=ordered)
        self.plan = generator.plan(described.domain, Allowance(Budget(str(epsilon), "1e-9")), described.hints)
        self.meter = Meter(self.plan)
        rows = Rows(pd.DataFrame(frame), described)
        self.private = PrivateTable(rows, self.meter, Noise(SeededBits(seed)))
        self.model = generator.fit(self.private, self.plan, described.hints)


@every_generator
@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_no_table_upsets_it(generator, content):
    frame, sizes = content
    run = Trained(generator, frame, sizes, ordered=["a"])
    model = run.model
    assert isinstance(model, Model)
    assert math.isfinite(model.total)
    assert model.total >= 1
    for rows in (0, 1, 50):
        codes = model.sample(rows, np.random.default_rng(0))
        assert list(codes) == list(model.domain.attributes)
        for attribute, column in codes.items():
            assert column.shape == (rows,)
            assert not rows or (column.min() >= 0 and column.max() < model.domain[attribute])
    for attribute in sizes:
        counts = model.project((attribute,))
        assert (counts >= 0).all()
        assert counts.sum() == pytest.approx(model.total)
    assert run.meter.charged == run.plan.events


@every_generator
def test_the_looks_are_the_same_whatever_the_rows_are(generator):
    frame, sizes = {"a": [0, 1] * 250, "b": [1, 1] * 250}, {"a": 2, "b": 3}
    neighbour = {name: [*column, 0] for name, column in frame.items()}
    charged = [Trained(generator, each, sizes, seed=s).meter.charged for s, each in enumerate((frame, neighbour))]
    assert charged[0] == charged[1]
    assert [type(event) for event in charged[0]] == [Gaussian, SubsampledGaussian]


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_pairs_after_training_are_asked_whatever_the_answers_were(content):
    run = Trained(RAKED, *content)
    assert run.meter.charged == run.plan.events
    columns = len(content[1])
    assert isinstance(run.model.rows, NetworkRows if columns == 1 else RakedModel)
    assert run.model.project(("a",)).sum() == pytest.approx(run.model.total)
    header, arrays = run.model.dump()
    again = load_model(json.loads(json.dumps(header)), tensors.unpack(tensors.pack(arrays)))
    for given in (None, {"a": np.zeros(40, np.int64)}):
        drawn = [each.sample(40, np.random.default_rng(3), given) for each in (run.model, again)]
        for attribute in run.model.domain.attributes:
            np.testing.assert_array_equal(drawn[0][attribute], drawn[1][attribute])


def test_pairs_mend_what_training_did_not_learn(chain):
    """Given columns too: from particles that have the code, and from the network where hardly any does."""
    settings = SMALL | {"pair_share": 0.7, "pairs_per_column": 2.0}
    run = Trained(MADE(**settings | {"steps": 2}), *chain, epsilon=4, about_rows=20_000)
    frame, model = chain[0], run.model
    drawn, alone = (each.sample(20_000, np.random.default_rng(0)) for each in (model, model.rows.prior))
    alone = model.recoding.decode(alone, np.random.default_rng(0))
    for pair in (("a", "b"), ("b", "c")):
        size = np.prod([chain[1][a] for a in pair])
        joint = [
            np.bincount(each[pair[0]] * chain[1][pair[1]] + each[pair[1]], minlength=size) / 20_000
            for each in (frame, drawn, alone)
        ]
        errors = [0.5 * np.abs(each - joint[0]).sum() for each in joint[1:]]
        assert errors[0] < 0.03 < 0.2 < errors[1]
    b = model.sample(4000, np.random.default_rng(1), {"a": np.full(4000, 2)})["b"]
    assert np.mean(b == 2) == pytest.approx(np.mean(frame["b"][frame["a"] == 2] == 2), abs=0.05)


def test_constraints_reach_weighted_rows(chain):
    settings = SMALL | {"pair_share": 0.7, "pairs_per_column": 2.0}
    model = Trained(MADE(**settings), *chain, epsilon=4, about_rows=20_000).model
    described = Schema.from_domain(chain[1]).with_constraints({"forbid": {"a": 0, "b": 1}})
    told = constrained(model, described.rules)
    assert model.project(("a", "b"))[0, 1] > 0
    assert told.project(("a", "b"))[0, 1] == 0
    assert told.project(("b",)) == pytest.approx(model.project(("b",)), rel=0.05)
    plain = NetworkModel(model.recoding, model.rows.prior)
    assert constrained(plain, described.rules) is plain


def test_tables_too_large_for_particles_have_no_pairs(monkeypatch):
    asked = []
    monkeypatch.setattr(pace, "_planned", lambda *arguments: asked.append(arguments[-2:]))
    domain, allowance = Schema.from_domain({"a": 3, "b": 2}).domain, Allowance(Budget("1", "1e-6"))
    for rows in (30_000, 3_000_000):
        RAKED.plan(domain, allowance, Hints(about_rows=rows))
    assert asked == [(1, 0.3), (0, 0.0)]


@every_generator
@pytest.mark.parametrize("epsilon", [0.001, 1, 10])
def test_the_plan_spends_the_budget_and_no_more(generator, epsilon):
    from accountants import compose

    budget = Budget(str(epsilon), "1e-6")
    plan = generator.plan(Schema.from_domain({"a": 3}).domain, Allowance(budget), Hints(about_rows=30_000))
    assert isinstance(plan, FixedPlan)
    assert 0.97 * epsilon <= compose(plan.events).epsilon(1e-6) <= epsilon


@pytest.mark.parametrize("epsilon", [0.0001, 0.01])
def test_noise_stays_within_what_can_be_drawn_exactly(epsilon):
    generator = MADE(one_way_share=0.5)
    plan = generator.plan(
        Schema.from_domain({"a": 3, "b": 2}).domain, Allowance(Budget(str(epsilon))), Hints(about_rows=9)
    )
    (training,) = (event for event in plan.events if isinstance(event, SubsampledGaussian))
    assert training.noise_multiplier <= 256


def test_one_ways_cost_about_their_share():
    allowance = Allowance(Budget("1", "1e-6"))
    hints = Hints(about_rows=30_000)
    looks = [MADE(one_way_share=s).plan(Schema.from_domain({"a": 3}).domain, allowance, hints) for s in (0.1, 0.4)]
    found = [float(plan.events[0].mu_squared / allowance.mu_squared) for plan in looks]
    assert found == pytest.approx([0.1, 0.4], rel=0.15)


@every_generator
def test_a_schema_that_says_nothing_of_its_size_is_refused(generator):
    with pytest.raises(PlanError, match="about_rows"):
        dp.plan(generator, Schema.from_domain({"a": 3}), dp.Budget(1.0))


@every_generator
def test_equal_answers_give_equal_models(generator):
    frame, sizes = {"a": [0, 1] * 250, "b": [1, 1] * 250}, {"a": 2, "b": 3}
    one, two = (Trained(generator, frame, sizes).model for _ in range(2))
    assert json.dumps(one.dump()[0]) == json.dumps(two.dump()[0])
    assert tensors.pack(one.dump()[1]) == tensors.pack(two.dump()[1])


@every_generator
def test_a_model_survives_storage_to_the_last_bit(generator):
    model = Trained(generator, *TABLES["spread thin"], ordered=["b"]).model
    header, arrays = model.dump()
    again = load_model(json.loads(json.dumps(header)), tensors.unpack(tensors.pack(arrays)))
    assert isinstance(again, NetworkModel)
    assert tensors.pack(again.dump()[1]) == tensors.pack(arrays)
    for given in (None, {"b": np.arange(40)}):
        drawn = [each.sample(40, np.random.default_rng(3), given) for each in (model, again)]
        for attribute in model.domain.attributes:
            np.testing.assert_array_equal(drawn[0][attribute], drawn[1][attribute])
    with pytest.raises(ValueError, match="missing"):
        load_model(header, {name: array for name, array in arrays.items() if name != "map_0"})


@pytest.fixture(scope="module")
def learnt():
    """4,000 rows of two columns that agree and one apart, at an epsilon at which that is learnt."""
    rows = 4000
    a = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    frame = {"a": a, "b": np.where(rng.random(rows) < 0.9, a, rng.integers(0, 3, rows)), "c": rng.integers(0, 2, rows)}
    kinds = {
        "made": MADE(steps=100, batch=1000, hidden=8, pair_share=0.0),
        "vae": VAE(steps=100, batch=1000, hidden=16, latent=2, learning_rate=0.03, pair_share=0.0),
    }
    sizes = {"a": 3, "b": 3, "c": 2}
    return frame, {n: Trained(g, frame, sizes, epsilon=8, about_rows=rows).model for n, g in kinds.items()}


@pytest.mark.parametrize("name", ["made", "vae"])
def test_it_learns_what_goes_together(learnt, name):
    frame, models = learnt
    codes = models[name].sample(20_000, np.random.default_rng(0))
    truth = np.mean(frame["a"] == frame["b"])
    apart = sum(np.mean(frame["a"] == v) * np.mean(frame["b"] == v) for v in range(3))
    assert np.mean(codes["a"] == codes["b"]) > apart + 0.7 * (truth - apart)
    for column in frame:
        shares, real = (np.bincount(each[column], minlength=4) / len(each[column]) for each in (codes, frame))
        assert 0.5 * np.abs(shares - real).sum() < 0.05
        assert (shares > 0)[: len(np.unique(frame[column]))].all()  # every class


@pytest.mark.parametrize("name", ["made", "vae"])
@pytest.mark.parametrize("column", ["a", "b"])
def test_given_columns_are_kept_and_draw_the_others_with_them(learnt, name, column):
    _, models = learnt
    other = "b" if column == "a" else "a"
    free = models[name].sample(50_000, np.random.default_rng(1))
    for value in (0, 1):
        codes = models[name].sample(3000, np.random.default_rng(2), {column: np.full(3000, value)})
        assert (codes[column] == value).all()
        expected = np.mean(free[other][free[column] == value] == value)
        assert np.mean(codes[other] == value) == pytest.approx(expected, abs=0.04)


@every_generator
def test_parameters_rebuild_it(generator):
    assert generator_from(generator.name, json.loads(json.dumps(generator.parameters()))) == generator


@pytest.mark.parametrize(
    "settings",
    [
        {"one_way_share": 1.0},
        {"hidden": -1},
        {"steps": 0},
        {"batch": 0.5},
        {"max_grad_norm": 0},
        {"learning_rate": math.nan},
        {"decay": 1.0},
        {"ordinal": 1},
        {"merge_below": -1},
    ],
)
@pytest.mark.parametrize("name", ["made", "vae"])
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(ValueError, match=r"must be .*got"):
        generator_from(name, settings)


@every_generator
def test_progress_tells_steps_and_rises_to_one(generator):
    heard = []
    with listening(heard.append):
        Trained(generator, *TABLES["one column"])
    done = [step.done for step in heard if step.stage == generator.name.upper()]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert f"step {generator.steps} of {generator.steps}" in heard[-1].note


def test_progress_tells_pairs():
    heard = []
    with listening(heard.append):
        Trained(RAKED, *TABLES["two columns"])
    done = [step.done for step in heard if step.stage == "MADE"]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert "pair 1 of 1" in heard[-1].note


@pytest.mark.parametrize("generator", [*EVERY[:2], RAKED], ids=["made", "vae", "raked"])
def test_from_a_table_of_patients_to_a_release(generator):
    account = dp.open_ledger().open("clinic", dp.Budget(3), filter="sum")
    planned = dp.plan(generator, schema(), dp.Budget(1.0))
    assert "steps on samples of" in repr(planned)
    model = dp.fit(planned, table(), account)
    (release,) = account.state.releases.values()
    (training,) = (event for event in release.charged["plan"] if event["kind"] == "subsampled_gaussian")
    assert training["steps"] == generator.steps
    assert "at_most" not in training  # a unit is sampled and clipped as one: no k in the event
    released = dp.admit(model.sample(100, given={"stage": "III"}), account)
    assert (released.frame["stage"] == "III").all()


def test_neither_import_nor_stored_models_need_pytorch():
    code = "import sys, dpsynth, dpsynth.cli, dpsynth.release.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0

"""Tier 0: every generator and every look replayed on worst-case neighbours, and what a replay must notice."""

from pathlib import Path

import numpy as np
import pytest

from accountants import Allowance, ExponentialMechanism, FixedPlan, Gaussian, Meter, SubsampledGaussian
from dpsynth.audit import run
from dpsynth.audit.looks import EveryLook
from dpsynth.audit.neighbours import SCHEMA, Surrogate
from dpsynth.audit.replay import Diverged, Faults, fit
from dpsynth.audit.replays import BUDGET, Recorder, audit_generator, audit_looks, used_share
from dpsynth.audit.watched import Watch, WatchedRows
from dpsynth.generators import AIM, GENERATORS, Independent
from dpsynth.kernel import PrivateTable
from dpsynth.schema import Schema
from dpsynth.testing import NoNoise

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def surrogate():
    return Surrogate.of(Schema.loads(SCHEMA))


def planned(recipe, surrogate):
    return recipe.plan(surrogate.schema.domain, Allowance(BUDGET), surrogate.schema.hints)


# --- what holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [lambda codes: codes[:1], lambda codes: np.concatenate([codes, codes])])
def test_codes_tell_when_they_are_read(surrogate, read):
    watch = Watch(Meter(FixedPlan([Gaussian(1.0)])))
    codes, *_ = WatchedRows(surrogate.base, watch)._open()
    watch.begin()
    read(codes["sex"])
    assert watch.early
    watch.begin()
    watch.meter.charge(Gaussian(1.0))
    read(codes["sex"])
    assert watch.touched > 0
    assert not watch.early


def test_worst_cases_attain_each_look(surrogate):
    """Counts, several at once, moments, both selections and both trainings: a sensitivity a hair smaller would show."""
    recipe = EveryLook()
    plan = planned(recipe, surrogate)
    base = fit(recipe, plan, surrogate.base)
    reached = np.zeros(len(base.looks))
    for pair in surrogate.neighbours():
        if pair.fewer is surrogate.base:
            other = fit(recipe, plan, pair.more, base.looks)
            reached = np.maximum(reached, [used_share(*looks) for looks in zip(base.looks, other.looks, strict=True)])
    assert reached == pytest.approx(np.ones(len(base.looks)), abs=0.02)
    assert (reached <= 1.0).all()
    kinds = [type(look.charged) for look in base.looks]
    assert kinds == [Gaussian] * 3 + [ExponentialMechanism] * 2 + [SubsampledGaussian] * 4 + [Gaussian]


@pytest.mark.parametrize("name", ["support2", "adult", "diabetes130"])
def test_tables_are_made_up_for_any_schema(name):
    schema = Schema.from_yaml(DATA / f"{name}.yaml")
    (finding,) = run([0], generators=["independent"], schema=schema)
    assert finding.verdict == "not refuted", finding
    surrogate, recipe = Surrogate.of(schema), EveryLook()
    found = Recorder(recipe, planned(recipe, surrogate)).compare(surrogate.neighbours()[0])
    assert found.problems == ()
    assert found.share == pytest.approx(1.0)


def test_the_neighbours_are_neighbours(surrogate):
    """They differ by one unit of at most k kept rows; the control differs by two."""

    def kept(rows):
        table = PrivateTable(rows, Meter(FixedPlan([Gaussian(1.0)])), NoNoise())
        return table.count(surrogate.schema.domain.attributes, Gaussian(1.0)).values

    k = surrogate.schema.at_most
    pairs = surrogate.neighbours()
    assert len(pairs) == 7
    for pair in pairs:
        change = kept(pair.more) - kept(pair.fewer)
        assert change.sum() == k, pair.name
        assert change.min() >= 0
    assert kept(pairs[-1].fewer).sum() == 0
    two = surrogate.two_units()
    assert (kept(two.more) - kept(two.fewer)).max() == 2 * k
    own = kept(pairs[1].more)[tuple(np.argwhere(kept(pairs[1].more) - kept(pairs[1].fewer))[0])]
    assert own == k  # nobody else is in that cell
    outside = np.array(surrogate.schema.domain.shape) - 1
    assert (np.argwhere(kept(pairs[2].more) - kept(pairs[2].fewer))[0] == outside).all()


def test_without_a_unit_each_row_is_one():
    schema = Schema.from_domain({"a": 3, "b": 4}, about_rows=50)
    pairs = Surrogate.of(schema).neighbours()
    assert "a unit of many more rows than k" not in [pair.name for pair in pairs]
    (finding,) = run([0], generators=["mst"], schema=schema)
    assert finding.verdict == "not refuted", finding


# --- what is noticed --------------------------------------------------------------------------------------------------


class Sloppy:
    """Independent columns, and something that it should not do."""

    name = "sloppy"

    def __init__(self, does):
        self._does, self._own = does, Independent()

    def parameters(self):
        return {}

    def plan(self, domain, allowance, hints):
        return self._own.plan(domain, allowance, hints)

    def fit(self, private, plan, hints):
        return self._does(self._own.fit(private, plan, hints), private)


def random_model(model, private):
    """Unseeded randomness in the fit."""
    return replace_total(model, model.total + np.random.default_rng().random())


def counting_model(model, private):
    """The number of rows in the model."""
    codes = private._view._PrivateTable__codes
    return replace_total(model, model.total + len(codes["sex"]))


def replace_total(model, total):
    class Changed:
        domain, sample, project = model.domain, model.sample, model.project

        def dump(self):
            header, arrays = model.dump()
            return {**header, "total": repr(total)}, arrays

    Changed.total = total
    return Changed()


def failing_fit(model, private):
    """An error that only some tables raise."""
    if len(private._view._PrivateTable__codes["sex"]) > 60:
        raise ZeroDivisionError("too many rows")
    return model


def test_a_recipe_that_fails_on_some_tables_is_noticed(surrogate):
    finding = audit_generator(Sloppy(failing_fit), surrogate)
    assert finding.verdict == "refuted"
    assert len(finding.violations) == 5
    assert all("failed with ZeroDivisionError" in violation for violation in finding.violations)


@pytest.mark.parametrize("does", [random_model, counting_model])
def test_a_model_that_is_no_function_of_the_answers_is_noticed(surrogate, does):
    finding = audit_generator(Sloppy(does), surrogate)
    assert finding.verdict == "refuted"
    assert all("equal answers gave another model" in violation for violation in finding.violations)
    assert len(finding.violations) == len(surrogate.neighbours()) + 1


def test_a_look_more_or_fewer_is_noticed(surrogate):
    recipe = EveryLook()
    plan = planned(recipe, surrogate)
    base = fit(recipe, plan, surrogate.base)
    with pytest.raises(Diverged, match="one more"):
        fit(recipe, plan, surrogate.base, base.looks[:-1])
    with pytest.raises(Diverged, match=f"only {len(base.looks)} looks of"):
        fit(recipe, plan, surrogate.base, [*base.looks, base.looks[0]])


def test_reading_rows_is_seen_wherever_the_kernel_reads_them(surrogate):
    """Or a charge that comes late would go unseen."""
    plan = FixedPlan([Gaussian(1.0), ExponentialMechanism(1.0), SubsampledGaussian(1.0, 0.5, 1)])
    watch = Watch(Meter(plan))
    private = PrivateTable(WatchedRows(surrogate.base, watch), watch.meter, NoNoise())
    touched = []

    def ask(look):
        watch.begin()
        look()
        touched.append(watch.touched)
        assert not watch.early

    class Flat:
        def project(self, clique):
            return np.zeros(private.domain.shape_of(clique))

    ask(lambda: private.count(("sex",), Gaussian(1.0)))
    ask(lambda: private.select([("age",)], Flat(), ExponentialMechanism(1.0)))
    import torch

    from dpsynth.training import Critic

    module = torch.nn.Sequential(torch.nn.Linear(sum(private.domain.shape), 1))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    steps = private.train(
        module,
        Critic(),
        SubsampledGaussian(1.0, 0.5, 1),
        optimizer=optimizer,
        max_grad_norm=1.0,
        expected_batch_size=1.0,
    )
    ask(lambda: next(steps))
    assert all(count > 0 for count in touched)


def test_noise_that_is_divided_by_the_number_of_units_is_noticed(surrogate, monkeypatch):
    """A published defect: the normaliser follows the rows. The exact sum then moves less, not more."""
    from dpsynth.kernel.train import Training

    honest, recipe = Training._noisy, EveryLook()
    few = next(pair for pair in surrogate.neighbours() if pair.name == "k rows beside k others")
    assert not Recorder(recipe, planned(recipe, surrogate)).compare(few).problems
    monkeypatch.setattr(
        Training, "_noisy", lambda self, units, noise: [p / max(1, len(units)) for p in honest(self, units, noise)]
    )
    found = Recorder(recipe, planned(recipe, surrogate)).compare(few)
    assert found.share > 5
    assert "SubsampledGaussian" in found.problems[0]


@pytest.mark.parametrize("faults", [Faults(late=True), Faults(apart=True), Faults(steepness=2.0)])
def test_a_fault_is_noticed_on_one_pair_alone(surrogate, faults):
    recipe = EveryLook()
    pair = surrogate.neighbours()[0]
    assert not Recorder(recipe, planned(recipe, surrogate)).compare(pair).problems
    assert Recorder(recipe, planned(recipe, surrogate), faults).compare(pair).problems


def test_a_recipe_that_cannot_plan_is_skipped(surrogate):
    (finding,) = run([0], generators=[GENERATORS["gan"](target="nobody")])
    assert finding.verdict == "skipped"
    assert "nobody" in finding.skipped


def test_impossible_runs_are_refused():
    for wrong, told in (({"tiers": []}, "tiers"), ({"tiers": [3]}, "tiers"), ({"draws": 10}, "draws")):
        with pytest.raises(ValueError, match=told):
            run(**wrong)
    with pytest.raises(ValueError, match="allowed are"):
        run([0], generators=["swift"])


# --- all of it, which takes longest -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_is_a_function_of_its_answers(name):
    (finding,) = run([0], generators=[name])
    assert finding.verdict == "not refuted", finding
    assert finding.bound == pytest.approx(1.0)  # what is charged is used: no more, and no less


def test_every_look_uses_what_it_is_charged_for_and_no_more(surrogate):
    found = audit_looks(surrogate)
    assert found.verdict == "not refuted", found
    assert found.bound == 1.0
    assert [control.fault for control in found.controls if not control.caught] == []
    assert len(found.controls) == 8


def test_a_generator_that_asks_moments_is_a_function_of_its_answers():
    """The surrogates above have too few rows for AIM to ask; on 3,000 it does, and a second unit shows as too much."""
    schema = Schema.from_domain(dict.fromkeys("uvw", 9), ordered=["u", "v", "w"], unit="who", at_most=2)
    surrogate, recipe = Surrogate.of(schema, rows=3000), AIM()
    recorder = Recorder(recipe, planned(recipe, surrogate))
    base = fit(recipe, planned(recipe, surrogate), surrogate.base)
    assert any(look.asked.startswith("moments") for look in base.looks)
    pairs = [pair for pair in surrogate.neighbours() if pair.fewer is surrogate.base]
    found = recorder.compare(*pairs)
    assert found.problems == ()
    assert found.share == pytest.approx(1.0, abs=1e-9)
    assert recorder.compare(surrogate.two_units()).problems

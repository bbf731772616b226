"""The evaluation share: planned, charged before the look, asked after the fit, and seen by no fit."""

import json

import numpy as np
import pandas as pd
import pytest

import dpsynth as dp
from accountants import Budget, FixedPlan, Gaussian, Ledger, Meter, SigningKey
from accountants.errors import PlanError, UnplannedEvent
from dpsynth.checking_looks import GROUPS, MOST_PAIRS, asked_pairs, evaluate, evaluation_look
from dpsynth.errors import ModelStoreError, PlanFileError
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.measurement import NoisyCounts
from dpsynth.planned import ReleasePlan
from dpsynth.release import FittedModel, ModelStore, StoredModel, admit, verify
from dpsynth.release.store import EVALUATION, FILES
from dpsynth.schema import Schema
from tests.helpers import schema, table

BUDGET = Budget(2)


def planned(share=0.1, generator="independent"):
    return dp.plan(generator, schema(), BUDGET, evaluation_share=share)


def account():
    return Ledger("sqlite://", SigningKey.generate()).open("visits", BUDGET)


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
def test_the_share_is_taken_off_the_generators_plan(generator):
    """Together they cost what the plan without a check costs; the check gets its share of mu squared."""
    whole, checked = planned(0, generator).claim, planned(0.1, generator).claim
    assert whole.frame == ()
    (look,) = checked.frame
    assert isinstance(look, Gaussian)
    assert float(checked.capacity) <= float(whole.capacity) * (1 + 1e-6)
    assert checked.profile.epsilon(BUDGET.delta) <= float(BUDGET.epsilon)
    assert float(look.mu_squared) == pytest.approx(0.1 * float(planned(0, "aim").claim.capacity), rel=1e-6)
    again = ReleasePlan.from_json(json.loads(json.dumps(planned(0.1, generator).to_json())))
    assert again.claim == checked
    assert again.evaluation == look
    assert any(line.startswith("check ") for line in again.describe())


@pytest.mark.parametrize("share", [-0.1, 0.51, float("nan"), float("inf")])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(PlanError, match="evaluation share"):
        planned(share)


def test_a_plan_with_other_looks_in_its_frame_is_refused():
    body = planned().to_json()
    body["claim"]["frame"] *= 2
    with pytest.raises(PlanFileError, match="no evaluation look"):
        ReleasePlan.from_json(body)


def test_a_run_charges_the_look_and_keeps_its_answers_from_the_fit():
    acc = account()
    model = dp.fit(planned(), table(), acc, store=ModelStore(None))
    (made,) = acc.state.releases.values()
    assert [event["count"] for event in made.charged["frame"]] == [1]
    assert made.charged["frame"][0]["kind"] == "gaussian"
    checks = model.stored.evaluation
    assert [answer.clique for answer in checks] == list(asked_pairs(schema()))
    assert all(len(answer.clique) == 1 for answer in model.transcript)
    sigma = planned().evaluation.noise_multiplier * schema().at_most * np.sqrt(len(checks))
    assert [answer.sigma for answer in checks] == pytest.approx([sigma] * len(checks))
    assert all(max(answer.values.shape) <= GROUPS + 1 for answer in checks)
    report = admit(model.sample(seed=1), acc).evidence
    assert report.spending.checks == pytest.approx(0.1, rel=1e-3)
    assert report.spending.unused < 1e-3
    assert len(report.unseen.fits) == len(checks)
    assert report.unmeasured.keys() == set(schema().names)  # a check is no measurement: nothing was fitted to it


def test_no_look_is_asked_where_none_was_planned():
    acc = account()
    model = dp.fit(planned(0), table(), acc, store=ModelStore(None))
    (made,) = acc.state.releases.values()
    assert made.charged["frame"] == []
    assert model.stored.evaluation == ()
    assert set(model.stored.to_files()) == set(FILES)
    assert admit(model.sample(seed=1), acc).evidence.unseen is None


PLAN = FixedPlan([Gaussian(5.0)])


def opened(frame, plan=PLAN):
    return PrivateTable(Rows(table(), schema()), Meter(plan), frame=frame)


def test_the_frames_view_is_charged_to_the_frames_meter_alone():
    look, frame = Gaussian(7.0), Meter(FixedPlan([Gaussian(7.0)]))
    private = opened(frame)
    private.for_frame.count(("sex",), look)
    assert frame.charged == (look,)
    assert private.remaining == pytest.approx(1 / 25)
    assert private.transcript == ()
    with pytest.raises(UnplannedEvent):
        private.for_frame.count(("sex",), look)
    with pytest.raises(UnplannedEvent):
        private.count(("sex",), look)
    with pytest.raises(ValueError, match="no looks beside"):
        _ = opened(None).for_frame


def test_both_views_see_the_same_rows_of_each_unit():
    """Bounded once: at hardly any noise the frame counts what the plan counts."""
    look = Gaussian(1e-3)
    private = opened(Meter(FixedPlan([look])), FixedPlan([look]))
    plain, checked = private.count(("sex", "age"), look), private.for_frame.count(("sex", "age"), look)
    assert (plain.values == checked.values).all()


def test_which_pairs_are_asked_follows_from_the_schema_alone():
    assert len(asked_pairs(schema())) == 10
    wide = Schema.from_domain({f"c{i}": 3 for i in range(40)})
    assert asked_pairs(wide) == asked_pairs(Schema.from_json(wide.to_json()))
    assert len(set(asked_pairs(wide))) == MOST_PAIRS
    assert asked_pairs(Schema.from_domain({"a": 3})) == (("a",),)
    other = Schema.from_domain({f"d{i}": 3 for i in range(40)})
    assert [tuple(a[1:] for a in p) for p in asked_pairs(other)] != [tuple(a[1:] for a in p) for p in asked_pairs(wide)]


def test_a_model_of_one_column_and_odd_groups_are_asked_too():
    """Every code has a group, whatever the model has drawn."""
    one = Schema.from_domain({"a": 7}, ordered=["a"])
    model = dp.fit(
        dp.plan("independent", one, BUDGET, evaluation_share=0.5),
        pd.DataFrame({"a": [3] * 500}),
        account(),
        store=ModelStore(None),
    )
    (answer,) = model.stored.evaluation
    assert answer.clique == ("a",)
    assert len(answer.recoding["a"]) == one.domain["a"]
    look = Gaussian(1.0)
    meter = Meter(FixedPlan([look]))
    rows = Rows(pd.DataFrame({"a": [1, 2, "x", None]}), one)
    (seen,) = evaluate(PrivateTable(rows, Meter(FixedPlan([look])), frame=meter).for_frame, look, model.model, one)
    assert isinstance(seen, NoisyCounts)
    assert meter.charged == (look,)


def test_the_answers_are_committed_with_the_model(tmp_path):
    acc, store = account(), ModelStore(tmp_path / "models")
    model = dp.fit(planned(), table(), acc, store=store)
    folder = tmp_path / "models" / model.digest
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, *EVALUATION))
    again = FittedModel.open(acc, store, model.release)
    assert [a.values.tolist() for a in again.stored.evaluation] == [a.values.tolist() for a in model.stored.evaluation]
    assert StoredModel.from_files(model.stored.to_files()).to_files() == model.stored.to_files()
    (folder / EVALUATION[1]).unlink()
    with pytest.raises(ModelStoreError):
        store.load(model.digest)


def test_a_release_with_a_check_verifies_and_says_what_it_cost(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", key := SigningKey.generate())
    acc = ledger.open("visits", BUDGET)
    model = dp.fit(planned(0.2, "aim"), table(2000), acc, store=ModelStore(None))
    made = admit(model.sample(seed=1), acc)
    assert verify(made.write(tmp_path / "release"), {key.public.key_id: key.public}).exit_code == 0
    assert [event["count"] for event in made.certificate["predicate"]["looks"]["frame"]] == [1]


def test_the_plan_of_nothing_has_no_frame():
    assert evaluation_look(BUDGET, 0) == ()

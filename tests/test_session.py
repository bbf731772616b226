"""The one path: plan, reserve, run, commit. What each stop along it costs."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import dpsynth as dp
from accountants import GateRefused, LedgerBusy, Status, UnplannedEvent
from dpsynth import session
from dpsynth.errors import KernelError, SourceError
from dpsynth.home import keyring
from dpsynth.progress import Step, listening
from dpsynth.testing import ReplayTable, Script
from tests.helpers import account, schema, table

ROOT = Path(__file__).parents[1]
GENERATORS = ["independent", "mst", "aim"]


def planned(epsilon=1.0, generator="independent"):
    return dp.plan(generator, schema(), dp.Budget(epsilon))


def statuses(acc):
    return [release.status for release in acc.state.releases.values()]


@pytest.mark.parametrize("generator", GENERATORS)
def test_from_table_to_bundle(generator, tmp_path):
    acc, told = account(), []
    with listening(told.append):
        model = dp.fit(planned(generator=generator), table(), acc)
    assert Step("fitting", note=f"{generator}, epsilon 1.0 at delta 1e-9") in told
    release = dp.admit(model.sample(rows=123), acc)
    assert list(release.frame.columns) == list(schema().names)
    assert len(release.frame) == 123
    folder = release.write(tmp_path / "release")
    assert sorted(p.name for p in folder.iterdir()) == [
        *("README.txt", "certificate.html", "certificate.json", "measurements.json", "report.html"),
        *("report.json", "schema.yaml", "synthetic.parquet"),
    ]
    assert dp.verify(folder, keyring().trusted()).exit_code == 0
    assert dp.verify(folder, {}).exit_code == 3
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "synthetic.parquet"), release.frame)
    assert statuses(acc) == [Status.COMMITTED]


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_one_liner(generator):
    release = dp.synthesize(table(), schema(), epsilon=2.0, generator=generator, rows=50, seed=1)
    assert len(release.frame) == 50
    assert release.frame["age"].dropna().between(0, 100).all()
    with pytest.raises(dp.DpsynthError, match="in memory"):
        release.write("anywhere")


def test_arguments_of_another_type_say_what_to_give():
    with pytest.raises(TypeError, match=r"schema must be a Schema, got str; load one with dpsynth.Schema"):
        dp.synthesize(table(), "patients.yaml", epsilon=1)
    with pytest.raises(TypeError, match=r"budget must be a Budget, got float"):
        dp.plan("aim", schema(), 1.0)
    with pytest.raises(TypeError, match=r"account must be a Account, got str; take one with"):
        dp.fit(planned(), table(), "hie-2026")
    with pytest.raises(TypeError, match="plan must be"):
        dp.fit("aim", table(), account())
    assert "generator  independent on 5 columns" in repr(planned())
    assert repr(schema()) == "Schema(5 columns, unit 'patient' of at most 2 rows)"


def test_rows_are_encoded_once_and_reused():
    rows = dp.Rows(table(), schema())
    acc = account(epsilon=5)
    for _ in range(2):
        dp.fit(planned(), rows, acc)
    assert statuses(acc) == [Status.COMMITTED] * 2
    other = dp.plan("independent", dp.Schema.from_domain({"age": 3}), dp.Budget(0.1))
    with pytest.raises(ValueError, match="another schema"):
        dp.fit(other, rows, acc)


def test_a_release_beyond_the_lifetime_is_refused_with_figures_and_a_way_out():
    acc = account(epsilon=1.2)
    dp.fit(planned(1.0), table(), acc)
    before = acc.ledger.head
    with pytest.raises(GateRefused) as caught:
        dp.fit(planned(1.0), table(), acc)
    assert caught.value.rule == "lifetime"
    assert "epsilon 1.2" in caught.value.reason
    assert "At most epsilon 0." in caught.value.way_out
    assert acc.ledger.head == before
    most = acc.remaining_epsilon("1e-9")
    dp.fit(dp.plan("independent", schema(), dp.Budget(most)), table(), acc)  # the way out is one
    assert acc.remaining_epsilon("1e-9") < 0.05


def test_a_stream_that_can_be_read_once_is_read_once():
    """Opened for its structure and again for its rows, it would arrive empty and cost a release of nothing."""
    acc = account()
    stream = pa.Table.from_pandas(table(4000)).to_reader()
    model = dp.fit(planned(3.0), stream, acc)
    assert abs(model.model.total - 4000) < 500


def test_structure_is_checked_before_anything_is_reserved():
    acc = account()
    before = acc.ledger.head
    with pytest.raises(SourceError, match="cost"):
        dp.fit(planned(), table().drop(columns="cost"), acc)
    with pytest.raises(SourceError, match="patient"):
        dp.fit(planned(), table().drop(columns="patient"), acc)
    assert acc.ledger.head == before


def test_a_damaged_file_is_voided_not_charged(tmp_path):
    path = tmp_path / "t.parquet"
    table(5000).to_parquet(path, row_group_size=500, compression=None)
    raw = bytearray(path.read_bytes())
    raw[200:4000] = bytes(3800)
    path.write_bytes(raw)
    acc = account()
    with pytest.raises(SourceError) as caught:
        dp.fit(planned(), path, acc)
    assert caught.value.__context__ is None
    assert statuses(acc) == [Status.VOIDED]
    assert acc.state.spent_epsilon == 0


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError, SystemExit, MemoryError])
def test_once_running_every_stop_is_charged_whole(fault, monkeypatch):
    acc = account()

    class Faulty(dp.Independent):
        def fit(self, private, plan, hints):
            super().fit(private, plan, hints)
            raise fault

    plan = planned()
    object.__setattr__(plan, "generator", Faulty())
    with pytest.raises(fault):
        dp.fit(plan, table(), acc)
    assert statuses(acc) == [Status.FORFEITED]
    reason = next(iter(acc.state.releases.values())).reason
    assert str(reason) == ("interrupted" if fault is KeyboardInterrupt else "failed")
    assert float(acc.state.spent_epsilon) == pytest.approx(1, abs=1e-6)
    dp.fit(planned(), table(), acc)  # the dataset is not left locked


def test_a_killed_run_is_found_and_charged(home):
    acc = account()
    script = textwrap.dedent(
        """
        import os, signal, sys
        import dpsynth as dp
        from tests.helpers import schema, table
        class Killed(dp.Independent):
            def fit(self, private, plan, hints):
                os.kill(os.getpid(), signal.SIGKILL)
        plan = dp.plan("independent", schema(), dp.Budget(1.0))
        object.__setattr__(plan, "generator", Killed())
        dp.fit(plan, table(), dp.open_ledger().account("visits"))
        """
    )
    dead = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=ROOT)
    assert dead.returncode == -9, dead.stderr
    assert statuses(acc) == [Status.RUNNING]
    dp.fit(planned(), table(), acc)
    assert statuses(acc) == [Status.FORFEITED, Status.COMMITTED]
    assert acc.state.spent_epsilon > 1


def test_one_running_session_a_dataset():
    acc = account()
    inner = []

    class Nested(dp.Independent):
        def fit(self, private, plan, hints):
            with pytest.raises(LedgerBusy):
                dp.fit(planned(0.5), table(), dp.open_ledger().account("visits"))
            inner.append(True)
            return super().fit(private, plan, hints)

    plan = planned()
    object.__setattr__(plan, "generator", Nested())
    dp.fit(plan, table(), acc)
    assert inner == [True]
    assert Status.COMMITTED in statuses(acc)
    assert float(acc.state.spent_epsilon) == pytest.approx(1, abs=1e-6)


def test_a_generator_that_asks_beyond_its_plan_gets_nothing():
    acc = account()

    class Greedy(dp.Independent):
        def fit(self, private, plan, hints):
            super().fit(private, plan, hints)
            return super().fit(private, plan, hints)

    plan = planned()
    object.__setattr__(plan, "generator", Greedy())
    with pytest.raises(UnplannedEvent, match="no further look"):
        dp.fit(plan, table(), acc)
    assert statuses(acc) == [Status.FORFEITED]


def test_a_plan_whose_parts_do_not_fit_is_refused():
    plan = planned()
    body = plan.to_json()
    assert dp.ReleasePlan.from_json(body) == plan
    body["claim"]["unit"]["at_most"] = 1
    with pytest.raises(dp.DpsynthError, match="privacy unit"):
        dp.ReleasePlan.from_json(body)
    body = plan.to_json()
    body["claim"]["plan"]["events"][0]["noise_multiplier"] = "0.5"
    cheat = dp.ReleasePlan.from_json(body)
    with pytest.raises(GateRefused) as caught:
        dp.fit(cheat, table(), account())
    assert caught.value.rule != "lifetime"


@pytest.mark.parametrize(("recipe", "other"), [("independent", "mst"), ("mst", "aim"), ("aim", "independent")])
def test_a_plan_with_another_recipes_looks_is_refused_before_anything_is_charged(recipe, other):
    body = planned(generator=recipe).to_json()
    body["claim"]["plan"] = planned(generator=other).to_json()["claim"]["plan"]
    with pytest.raises(dp.DpsynthError, match="not those that"):
        dp.ReleasePlan.from_json(body)


def test_draws_cost_nothing_and_can_be_conditioned(tmp_path):
    acc = account()
    model = dp.fit(planned(generator="mst"), table(), acc)
    spent = acc.state.spent_mu_squared
    for given in ({"stage": "III"}, pd.DataFrame({"stage": ["I", "III", "II"]})):
        rows = 3 if isinstance(given, pd.DataFrame) else 40
        frame = dp.admit(model.sample(rows, given=given), acc).frame
        assert len(frame) == rows
        assert set(frame["stage"]) <= {"I", "II", "III"} if rows == 3 else set(frame["stage"]) == {"III"}
    again = dp.FittedModel.open(acc, model.store, model.release)
    assert len(dp.admit(again.sample(7), acc).frame) == 7
    assert acc.state.spent_mu_squared == spent
    with pytest.raises(dp.DpsynthError, match="at least 1"):
        model.sample(0)


def test_a_look_that_fails_in_the_kernel_is_charged(monkeypatch):
    acc = account()
    monkeypatch.setattr("dpsynth.kernel.table.exact_counts", lambda *a: 1 / 0)
    with pytest.raises(KernelError):
        dp.fit(planned(), table(), acc)
    assert statuses(acc) == [Status.FORFEITED]


def test_utility_the_release_keeps_what_was_measured():
    """Cost follows age in the table, and does so in the release (seeded data; margin wide of the noise)."""
    data = table(6000)
    release = dp.synthesize(data, schema(), epsilon=4.0, generator="aim", seed=0)
    frame = release.frame.dropna(subset=["age", "cost"])
    assert np.corrcoef(frame["age"].astype(float), frame["cost"].astype(float))[0, 1] > 0.7
    assert abs(len(release.frame) - 6000) < 600


def test_a_replayed_run_is_committed_and_never_released(monkeypatch):
    acc = account()
    answers = dp.fit(planned(), table(), acc).transcript
    monkeypatch.setattr(session, "PrivateTable", lambda rows, meter: ReplayTable(rows, meter, Script(answers)))
    model = dp.fit(planned(), table(), acc)
    with pytest.raises(GateRefused) as caught:
        dp.admit(model.sample(5), acc)
    assert caught.value.rule == "numerics"
    assert statuses(acc) == [Status.COMMITTED] * 2


def test_session_is_the_only_opener(monkeypatch):
    opened = []
    real = session.PrivateTable
    monkeypatch.setattr(session, "PrivateTable", lambda *a: opened.append(1) or real(*a))
    dp.synthesize(table(), schema(), epsilon=1.0, generator="independent")
    assert opened == [1]


def test_the_report_says_whose_correlations_were_measured(tmp_path, home):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({a: rng.integers(0, 9, 4000) for a in "uvw"})
    ordered = dp.Schema.from_domain(dict.fromkeys("uvw", 9), ordered=["u", "v", "w"])
    account = dp.open_ledger().open("numbers", dp.Budget(3, "1e-8"))
    model = dp.fit(dp.plan(dp.AIM(), ordered, dp.Budget(2, "1e-9")), frame, account)
    release = dp.admit(model.sample(), account)
    assert release.evidence.moments == ("u", "v", "w")
    page = (release.write(tmp_path / "out") / "report.html").read_text()
    assert "Of 3 ordered columns second moments were measured" in page
    assert "second moments</td>" in page

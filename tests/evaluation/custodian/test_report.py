"""The whole way: a finished release, real rows, a report in a folder, a note on the ledger, a word in certificates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from accountants import Keyring, Ledger, UnknownDataset
from dpsynth import private
from dpsynth.cli import main
from dpsynth.errors import BundleError, QuestionError, SourceError
from dpsynth.evaluation.custodian.refitting import Refitting
from dpsynth.evaluation.custodian.report import JSON, PAGE, PARQUET, CustodianReport, Questions, evaluate
from dpsynth.progress import Step, listening
from dpsynth.release import admit, verify
from dpsynth.release.verification import INTACT
from tests.evaluation.custodian.conftest import Place, released, schema, tables_of

ROOT = Path(__file__).parents[3]
ALL = Questions(target="died", sensitive="ward", time="days", event="died")


def made(place: Place, questions: Questions = ALL, **changed) -> CustodianReport:
    what = {"folder": place.release, "train": place.train, "holdout": place.holdout, "ledger": place.ledger, **changed}
    return evaluate(trusted=place.keys.trusted(), questions=questions, rng=np.random.default_rng(0), **what)


@pytest.fixture(scope="module")
def report(place) -> CustodianReport:
    return made(place)


def test_every_section_has_figures(report):
    frame = report.frame
    assert set(frame["section"]) == {"fidelity", "utility", "fairness", "privacy"}
    assert not frame["note"].str.contains("defect").any(), frame[frame["note"].str.contains("defect")].to_string()
    known = frame.dropna(subset="value").set_index("measure")["value"]
    for measure in (
        "total variation distance, 1-way",
        "total variation distance, 2-way",
        "total variation distance, 3-way",
        "Pearson correlation, mean absolute difference",
        "Spearman correlation, mean absolute difference",
        "Cramér's V, mean absolute difference",
        "missingness, difference in share",
        "range of the training rows covered, share",
        "pMSE, ratio to its expectation",
        "area under the ROC curve",
        "confidence-interval overlap, mean over coefficients",
        "Kaplan-Meier divergence",
        "concordance index",
        "demographic parity difference",
        "equalised odds difference",
        "worst-stratum gap",
    ):
        assert measure in known.index, measure


def test_distances_stand_beside_the_holdouts(report):
    found = {each.measure: each for each in report.findings}
    for ways in (1, 2, 3):
        each = found[f"total variation distance, {ways}-way"]
        assert 0 < each.baseline < each.value < 1


def test_the_ledger_notes_it_before_anything_is_computed(at_home, monkeypatch):
    before = at_home.model.account.state.reads
    monkeypatch.setattr("dpsynth.evaluation.custodian.report.findings", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(at_home)
    state = at_home.model.account.state
    assert state.reads == before + 1
    row = at_home.ledger.rows("stays")[-1]
    assert row.kind == "read"
    assert set(row.body) == {"version", "on", "release", "table"}
    at_home.ledger.verify()


def test_nothing_is_noted_where_nothing_can_be_evaluated(at_home, tmp_path):
    before = at_home.model.account.state.reads
    with pytest.raises(SourceError, match="lacks"):
        made(at_home, holdout=pd.read_parquet(at_home.holdout).drop(columns="ward"))
    with pytest.raises(BundleError, match="no intact release"):
        made(at_home, folder=at_home.train.parent)
    broken = shutil.copytree(at_home.release, tmp_path / "broken")
    (broken / "synthetic.parquet").write_bytes((broken / "synthetic.parquet").read_bytes() + b"x")
    with pytest.raises(BundleError, match="not the file that was signed"):
        made(at_home, folder=broken)
    stranger = Ledger(f"sqlite:///{tmp_path / 'other.db'}", Keyring(tmp_path / "keys").signing_key(create=True))
    with pytest.raises(UnknownDataset):
        made(at_home, ledger=stranger)
    assert at_home.model.account.state.reads == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--target dead", "unknown column 'dead'; did you mean 'died'?"),
        ("--target warrd=north", "unknown column 'warrd'; did you mean 'ward'?"),
        ("--target ward=nort", "unknown level of 'ward' 'nort'; did you mean 'north'?"),
        ("--target ward=", "no level stands after 'ward='"),
        ("--target age=40", "has no levels, it is predicted as a number; write --target age"),
        ("--target patient", "'patient' is the unit, which is never released"),
        ("--target died --sensitive wards", "did you mean 'ward'?"),
        ("--target died --sensitive died", "is the target itself"),
        ("--target age --sensitive ward", "'age' is a number"),
        ("--sensitive ward", "--sensitive needs --target"),
        ("--time dayz --event died", "did you mean 'days'?"),
        ("--time days --event dyed", "did you mean 'died'?"),
        ("--time admitted --event died", "holds no numbers"),
        ("--time days --event ward", "is no flag"),
        ("--time days", "go together"),
    ],
)
def test_a_question_that_the_schema_cannot_answer_is_refused_before_it_is_noted(at_home, tmp_path, options, says):
    before = at_home.ledger.head
    args = ["evaluate", str(at_home.release), "--train", "nowhere.parquet", "--holdout", "nowhere.parquet"]
    result = CliRunner().invoke(main, [*args, "--out", str(tmp_path / "out"), *options.split()])
    assert (result.exit_code, says in result.output) == (2, True), result.output
    assert at_home.ledger.head == before
    with pytest.raises(QuestionError):
        Questions(target="height").check(schema())


@pytest.mark.parametrize("which", ["train", "holdout"])
def test_that_a_table_is_empty_is_told_after_it_was_noted(at_home, which):
    before = at_home.model.account.state.reads
    with pytest.raises(SourceError, match=f"given as --{which} has no rows to compare"):
        made(at_home, **{which: pd.read_parquet(getattr(at_home, which)).iloc[:0]})
    assert at_home.model.account.state.reads == before + 1


@pytest.mark.parametrize("lacking", ["sklearn", "statsmodels"])
def test_without_the_extra_it_says_what_to_install(at_home, lacking):
    """In a process whose importer does not find the package, as where it is not installed."""
    script = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == {lacking!r} else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if each is PathFinder else each for each in sys.meta_path]
from dpsynth.cli import main
main(["evaluate", {str(at_home.release)!r}, "--train", "t.parquet", "--holdout", "h.parquet"])
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, env=env)
    says = "Error: the report needs scikit-learn and statsmodels: pip install 'dpsynth[evaluation]'\n"
    assert (done.returncode, done.stderr) == (1, says)


def test_later_certificates_say_that_it_was_read(at_home, report, tmp_path):
    release = admit(at_home.model.sample(50), at_home.model.account)
    said = release.certificate["predicate"]["implementation"]
    reads = at_home.model.account.state.reads
    assert said["private_reports"] == reads >= 1
    assert "private report" in said["tuning"]
    assert "Private reports read before" in release.page
    folder = release.write(tmp_path / "more")
    assert verify(folder, at_home.keys.trusted()).exit_code == INTACT
    earlier = json.loads(at_home.release.joinpath("certificate.json").read_text())
    assert "private_reports" not in json.dumps(earlier)
    assert verify(at_home.release, at_home.keys.trusted()).exit_code == INTACT


def test_its_files(at_home, report, tmp_path):
    folder = report.write(tmp_path / "report")
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert "Choosing a release after reading this page is a look at the data" in page
    assert "The ledger notes that this report was made" in page
    assert "Attacks falsify, they never certify" in page
    assert private.STAMP in page
    assert "<b>west</b>" not in page  # a category with markup in it is text
    assert "&lt;b&gt;west&lt;/b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    frame = pd.read_parquet(folder / PARQUET)
    assert list(frame.columns) == list(report.frame.columns)
    assert [*frame.columns[:4], frame.columns[-1]] == ["section", "measure", "subject", "value", "note"]
    body = json.loads((folder / JSON).read_text(encoding="utf-8"))
    assert body["PRIVATE"] == private.STAMP
    assert len(body["findings"]) == len(frame) == len(report.findings)
    assert page == report_page(report)
    with pytest.raises(BundleError, match="not empty"):
        report.write(folder)


def report_page(report: CustodianReport) -> str:
    from dpsynth.evaluation.custodian.page import page

    return page(report.findings, report.about)


def test_the_command(at_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ["evaluate", str(at_home.release), "--train", str(at_home.train), "--holdout", str(at_home.holdout)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "PRIVATE-report" / PAGE).exists()
    figures = json.loads((tmp_path / "PRIVATE-report" / JSON).read_text())["findings"]
    assert not any(str(each["value"]) in result.output for each in figures if each["value"] not in (None, 0.0, 1.0))
    again = CliRunner().invoke(main, args)
    assert (again.exit_code, "not empty" in again.output) == (1, True)
    inside = CliRunner().invoke(main, [*args, "--out", str(at_home.release / "report")])
    assert (inside.exit_code, "handed out" in inside.output) == (1, True)
    assert verify(at_home.release, at_home.keys.trusted()).exit_code == INTACT
    shown = [CliRunner().invoke(main, ["ledger", "show", *name]).output for name in ([], ["stays"])]
    assert all("private report" in text for text in shown)
    for wrong in (["--time", "days"], ["--sensitive", "ward"]):
        assert CliRunner().invoke(main, [*args, *wrong, "--out", "other"]).exit_code == 2


def test_units_of_the_holdout_that_are_in_train_are_left_out(at_home):
    train, holdout = (pd.read_parquet(path) for path in (at_home.train, at_home.holdout))
    mixed = pd.concat([holdout, train.head(40)])
    found = made(at_home, Questions(), holdout=mixed)
    assert found.about["left_out"]["in_both"] == 40
    alone = tables_of(released(50), train, holdout)
    assert found.about["rows"]["holdout"] == len(alone.holdout)
    assert not set(alone.units["train"]) & set(alone.units["holdout"])


def test_real_rows_are_bounded_as_a_release_bounds_them(at_home):
    train, holdout = (pd.read_parquet(path) for path in (at_home.train, at_home.holdout))
    nobody = train.head(7).assign(patient=None)
    found = tables_of(released(50), pd.concat([train, nobody]), holdout)
    assert np.bincount(found.units["train"]).max() == schema().at_most
    sizes = train["patient"].value_counts().clip(upper=schema().at_most)
    assert len(found.train) == sizes.sum()


def test_the_generator_is_fitted_again_and_nothing_is_charged(at_home):
    """For attacks that refit: fresh noise at the release's own plan, on a meter that no ledger sees."""
    train = tables_of(released(), pd.read_parquet(at_home.train), pd.read_parquet(at_home.holdout)).train
    before = at_home.ledger.head
    refit, told = Refitting(schema(), at_home.model.claim), list[Step]()
    with listening(told.append):
        ours, again = (refit(train, np.arange(len(train)), np.random.default_rng(0)) for _ in range(2))
    assert not told  # what a fit tells is noisy answers that nobody paid for
    assert at_home.ledger.head == before
    assert dict(ours.dtypes) == dict(train.dtypes)
    assert not ours.equals(again)  # the noise is never the same
    share = [float((frame["ward"] == "north").mean()) for frame in (ours, train)]
    assert share[0] == pytest.approx(share[1], abs=0.15)

"""The report as a value: equal answers give equal reports, wrong things come first, and odd tables give sentences."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import dpsynth as dp
from accountants import Budget, Claim, FixedPlan, Gaussian, Ledger, PrivacyUnit, SigningKey
from accountants.certificate import Draw
from accountants.events import ADD_OR_REMOVE
from accountants.lifetime import Lifetime
from dpsynth import session
from dpsynth.columns import Boolean, Categorical, Integer
from dpsynth.constraints.checking import Checked
from dpsynth.measurement import NoisyCounts
from dpsynth.release import ModelStore, admit
from dpsynth.release.report.alerts import Kind
from dpsynth.release.report.document import KIND, VERSION, document
from dpsynth.release.report.facts import Facts
from dpsynth.release.report.page import page
from dpsynth.release.report.report import ReleaseReport
from dpsynth.release.report.verdicts import Verdict
from dpsynth.schema import Schema
from dpsynth.testing import ReplayTable, Script
from tests.helpers import schema, table
from tests.release.test_report import HOSTILE, harmless

KEY = SigningKey.generate()
PLAN = FixedPlan([Gaussian(30.0)])


def facts(schema, said, codes, total=1000.0, held=(), evaluation=(), given=()):
    claim = Claim(Budget(1), PrivacyUnit(schema.unit, schema.at_most), PLAN, "mst", schema.digest)
    return Facts(
        dataset="clinic",
        issued="2026-01-31",
        claim=claim,
        charged={"plan": PLAN.to_json()["events"], "frame": []},
        lifetime=Lifetime.of(Budget(3)),
        relation=ADD_OR_REMOVE,
        draw=Draw("a" * 64, "b" * 64, len(next(iter(codes.values()))), given),
        schema=schema,
        transcript=tuple(said),
        total=total,
        codes=codes,
        key_id="c" * 64,
        held=held,
        evaluation=tuple(evaluation),
    )


def report(schema, said, codes, **more):
    return ReleaseReport.of(facts(schema, said, codes, **more))


def counts(name, values, sigma=5.0):
    return NoisyCounts((name,), np.array(values), sigma)


def shown(found):
    """Both forms of a report, harmless as pages go."""
    text = " ".join(" ".join(harmless(page(found)).text).split())
    return text, json.loads(document(found))


# -- what it is made of ------------------------------------------------------


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
@pytest.mark.parametrize("share", [0, 0.1])
def test_neighbouring_tables_with_equal_answers_have_equal_reports(generator, share, monkeypatch):
    """All rows of one patient more or less, under one script of noisy answers: the same bytes."""
    data, taken, made = table(), [], []
    plan = dp.plan(generator, schema(), Budget(2), evaluation_share=share)

    def recorded(*args, **more):
        taken.append(real(*args, **more))
        return taken[-1]

    def run(rows):
        account = Ledger("sqlite://", KEY).open("clinic", Budget(2))
        model = dp.fit(plan, rows, account, store=ModelStore(None))
        return model, admit(model.sample(seed=5), account)

    real = session.PrivateTable
    monkeypatch.setattr(session, "PrivateTable", recorded)
    model, _ = run(data)
    answers = (*model.transcript, *model.stored.evaluation)
    assert len(model.stored.evaluation) == (10 if share else 0)
    monkeypatch.setattr(
        session,
        "PrivateTable",
        lambda rows, meter, frame=None: ReplayTable(rows, meter, Script(answers), numerics="exact", frame=frame),
    )
    for rows in (data, data[data["patient"] != "p7"], data.head(0)):
        _, release = run(rows)
        made.append((release.report.encode(), release._files["report.json"], repr(release.evidence)))
    assert made[0] == made[1] == made[2]


def test_other_answers_make_another_report():
    one = Schema.from_domain({"a": 2})
    codes = {"a": np.zeros(100, int)}
    reports = {document(report(one, [counts("a", [n, 0, 0])], codes)) for n in (1000, 990)}
    assert len(reports) == 2


def test_the_json_holds_what_the_page_says_under_a_version(release, folder):
    body = json.loads((folder / "report.json").read_bytes())
    assert (body["kind"], body["version"], body["synthetic"]) == (KIND, VERSION, True)
    assert body["promise"]["release"]["epsilon"] == "1"
    assert [column["name"] for column in body["columns"]] == ["ward", "age", "smokes"]
    assert {fit["verdict"] for fit in body["joint"]} <= {"agrees", "contradicts", "too-noisy"}
    assert body["pairs"] == 3
    assert body["draw"]["rows"] == 500
    assert document(release.evidence) == (folder / "report.json").read_bytes()
    assert page(release.evidence) == release.report
    with pytest.raises(AttributeError):
        release.evidence.total = 3.0


# -- what comes first --------------------------------------------------------


def test_a_contradiction_is_said_first_and_in_its_place():
    two = Schema.from_domain({"a": 3, "b": 3})
    codes = {"a": np.zeros(1000, int), "b": np.arange(1000) % 3}
    said = [counts("a", [0, 500, 500, 0]), counts("b", [330, 335, 330, 2])]
    found = report(two, said, codes)
    assert found.alerts[0].kind is Kind.CONTRADICTION
    assert found.alerts[0].about == (("a",),)
    assert [column.fit.verdict for column in found.columns] == [Verdict.CONTRADICTS, Verdict.AGREES]
    text, body = shown(found)
    assert body["alerts"][0]["kind"] == "contradiction"
    first = text.partition("Read this first")[2].partition("What is promised")[0]
    assert "The table contradicts what was measured" in first
    assert "1 agree , each within" in first
    assert "1 contradict what was measured" in first
    assert "contradicts its measurement: off by about" in text.partition("Column by column")[2]


def test_a_column_in_another_spelling_than_the_codebook_is_said_first():
    wards = Schema(columns=(Categorical(name="ward", values=("north", "south")), Boolean(name="b")))
    codes = {"ward": np.full(1000, 2), "b": np.arange(1000) % 2}
    found = report(wards, [counts("ward", [3, -4, 998]), counts("b", [510, 490, 3])], codes)
    assert [alert.kind for alert in found.alerts] == [Kind.CODEBOOK]
    assert found.alerts[0].about == (("ward",),)
    text, _ = shown(found)
    assert "so these columns come out empty" in text
    assert "Comes out empty : about 998 rows" in text
    few = report(wards, [counts("ward", [480, 400, 120]), counts("b", [510, 490, 3])], codes)
    assert Kind.CODEBOOK not in [alert.kind for alert in few.alerts]  # some cells are wrong, the column is not
    assert "Where the codebook may be wrong" in shown(few)[0]


def test_out_of_domain_rows_are_seen_wherever_they_were_counted_apart():
    """The one-way that is drawn has other cells merged into the last; another margin tells them apart."""
    wards = Schema(columns=(Categorical(name="ward", values=("north", "south")), Boolean(name="b")))
    codes = {"ward": np.full(1000, 2), "b": np.arange(1000) % 2}
    merged = NoisyCounts(("ward",), np.array([2, 999]), 5.0, {"ward": np.array([0, 1, 1])})
    joint = NoisyCounts(("ward", "b"), np.array([[2, 1, 0], [0, 3, 1], [500, 499, 2]]), 5.0)
    (column, _) = report(wards, [merged, joint], codes).columns
    assert column.wrong_codebook
    assert report(wards, [merged], codes).columns[0].outside is None  # nobody can tell


def test_a_broken_constraint_and_a_column_never_measured_are_said_first():
    two = Schema.from_domain({"a": 2, "b": 2})
    codes = {"a": np.arange(1000) % 2, "b": np.zeros(1000, int)}
    held = (Checked("stages", "a implies b", 7), Checked("fine", "b implies b", 0))
    found = report(two, [counts("a", [500, 500, 0])], codes, held=held)
    assert [(alert.kind, alert.about, alert.wrong) for alert in found.alerts] == [
        (Kind.CONSTRAINT, (("stages",),), True),
        (Kind.UNMEASURED, (("b",),), False),
    ]
    assert found.unmeasured == {"a": ("b",), "b": ("a",)}


def test_what_the_fit_did_not_see_may_contradict_it():
    two = Schema.from_domain({"a": 2, "b": 2})
    a = np.arange(1000) % 2
    codes = {"a": a, "b": a[::-1].copy()}  # measured apart, they were left unrelated to nothing: opposite
    ones = [counts(name, [500, 500, 0]) for name in "ab"]
    seen = NoisyCounts(("a", "b"), np.array([[500, 0, 0], [0, 500, 0], [0, 0, 0]]), 5.0)
    found = report(two, ones, codes, evaluation=[seen])
    assert [alert.kind for alert in found.alerts] == [Kind.UNSEEN]
    assert found.unseen.fits[0].verdict is Verdict.CONTRADICTS
    assert found.unseen.bound > 0.9
    text, body = shown(found)
    assert "Checked with counts the model did not see" in text
    assert body["unseen"]["fits"][0]["verdict"] == "contradicts"
    supplied = report(two, ones, codes, evaluation=[seen], given=("a",))
    assert (supplied.unseen, supplied.compared, supplied.alerts) == (None, False, ())


# -- odd tables --------------------------------------------------------------


def test_a_constant_and_an_empty_column_are_remarked_upon():
    odd = Schema(
        columns=(
            Categorical(name="constant", values=("x", "y", "z")),
            Categorical(name="empty", values=("x", "y"), missing=True),
            Integer(name="bound", min=0, max=99, bins=10),
            Categorical(name="rare", values=tuple("abcdef")),
        )
    )
    codes = {a: np.full(10_000, code) for a, code in {"constant": 1, "empty": 2, "bound": 0, "rare": 0}.items()}
    codes["rare"] = np.arange(10_000) % 3
    said = [
        counts("constant", [3, 10_002, -4, 0]),
        counts("empty", [0, 2, 9_991, 5]),
        counts("bound", [9_998, *[0] * 10]),
        counts("rare", [3_340, 3_330, 3_330, 1, -3, 6, 0]),
    ]
    constant, empty, bound, rare = report(odd, said, codes, total=10_000.0).columns
    assert "Nearly every row is in one cell" in constant.remarks[0]
    assert "2 of 3 values stay below the noise" in constant.remarks[1]
    assert empty.remarks[0] == "Empty in nearly every row, as measured."
    assert "are bounds and unit right?" in bound.remarks[1]
    assert rare.remarks == (
        "3 of 6 values stay below the noise (three standard deviations, 0.15 % of the rows): "
        "how frequent they are, nobody can tell.",
    )
    shown(report(odd, said, codes, total=10_000.0))


def test_so_few_rows_that_nothing_can_be_told():
    two = Schema.from_domain({"a": 2, "b": 2})
    said = [counts(name, [31, -60, 14], 50.0) for name in "ab"]
    found = report(two, said, {name: np.zeros(1, int) for name in "ab"}, total=1.0)
    assert [alert.kind for alert in found.alerts] == [Kind.FEW_ROWS]
    text, _ = shown(found)
    assert "nothing in this release says anything about it" in text


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
def test_real_runs_on_odd_tables_end_in_a_report(generator):
    odd = Schema.loads(
        """
about_rows: 300
columns:
  constant: {type: categorical, values: [x, y]}
  empty: {type: integer, min: 0, max: 9, missing: true}
  strange: {type: date, min: 2020-01-01, max: 2020-12-31}
  fine: {type: float, min: 0, max: 100, bins: auto}
  rare: {type: categorical, values: [a, b, c, never]}
"""
    )
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "constant": "x",
            "empty": None,
            "strange": "who knows",
            "fine": rng.normal(50, 9, 300),
            "rare": rng.choice(["a", "b", "c"], 300),
        }
    )
    for rows in (data, data.head(1), data.head(0)):
        made = dp.synthesize(rows, odd, epsilon=10, generator=generator, evaluation_share=0.1, seed=0)
        text, body = shown(made.evidence)
        assert "Read this first" in text
        assert len(body["columns"]) == 5
        kinds = {alert["kind"]: alert["about"] for alert in body["alerts"]}
        if len(rows) == 300:
            assert ["strange"] in kinds["codebook"]  # half of the rows lie between: dozens of standard deviations


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_only_text_in_alerts_checks_and_json(text):
    """Names in everything that this report says beyond charts: what is wrong, and what was checked."""
    hostile = Schema(columns=(Categorical(name=text, values=(text, "b"), label=text), Boolean(name="other")))
    codes = {text: np.zeros(1000, int), "other": np.zeros(1000, int)}
    seen = NoisyCounts((text, "other"), np.array([[0, 0, 0], [0, 900, 0], [100, 0, 0]]), 5.0)
    held = (Checked(text, text, 3),)
    found = report(hostile, [counts(text, [0, 1, 999])], codes, held=held, evaluation=[seen])
    said, body = shown(found)
    assert {alert.kind for alert in found.alerts} >= {Kind.CONTRADICTION, Kind.UNSEEN, Kind.CODEBOOK, Kind.CONSTRAINT}
    assert body["columns"][0]["name"] == text
    assert document(found).isascii()
    assert "49" not in said.split()


# -- the label ---------------------------------------------------------------


def test_the_label_is_in_names_footer_columns_attributes_and_readme(folder, release):
    path = folder / "synthetic.parquet"
    assert pd.read_parquet(path).attrs == release.frame.attrs
    assert list(release.frame.attrs) == ["SYNTHETIC"]
    footer = pq.read_schema(path)
    assert b"SYNTHETIC" in footer.metadata
    assert all(b"SYNTHETIC" in field.metadata for field in footer)
    assert "labelled SYNTHETIC" in " ".join((folder / "README.txt").read_text().split())
    assert json.loads((folder / "report.json").read_bytes())["synthetic"] is True


def test_few_rows_are_not_told_as_none():
    """Six standard deviations of rows: shares are told badly, and what stands out nevertheless is said."""
    listed = Schema.loads("columns:\n  a: {type: boolean}\n  b: {type: categorical, values: [x, y]}\n")
    codes = {"a": np.array([0, 1] * 150), "b": np.array([2] * 300)}
    found = report(listed, [counts("a", [150, 150, 0], 50.0), counts("b", [10, -20, 310], 50.0)], codes, total=300.0)
    assert [(alert.kind, alert.wrong) for alert in found.alerts][:2] == [(Kind.FEW_ROWS, False), (Kind.CODEBOOK, True)]
    assert "plus or minus 33 % of the rows" in found.alerts[0].says
    none = report(listed, [counts("a", [60, 30, 0], 50.0)], codes, total=90.0)
    assert "nothing in this release says anything" in none.alerts[0].says


def test_no_share_of_few_rows_is_above_all_of_them():
    two = Schema.from_domain({"a": 2, "b": 2})
    said = [NoisyCounts(("a", "b"), np.array([[31, -60, 9], [99, 14, -2], [40, 7, 30]]), 50.0)]
    text, _ = shown(report(two, said, {name: np.zeros(1, int) for name in "ab"}, total=1.0))
    assert "over 100 %" in text
    assert not re.search(r"[1-9][0-9]{3,} %", text)


def test_figures_on_cards_stand_apart_from_what_is_said_of_them():
    two = Schema.from_domain({"a": 2, "b": 2})
    text, _ = shown(report(two, [counts("a", [500, 500, 0])], {name: np.zeros(9, int) for name in "ab"}))
    assert "</b>at" not in text
    assert "</b>is" not in text


def test_columns_measured_as_empty_are_named_first():
    odd = Schema.loads("columns:\n  a: {type: integer, min: 0, max: 9, missing: true}\n  b: {type: boolean}\n")
    said = [counts("a", [0] * 10 + [9_990, 5]), counts("b", [5_000, 5_000, 3])]
    codes = {"a": np.full(99, 10), "b": np.zeros(99, int)}
    found = report(odd, said, codes, total=10_000.0)
    empty = [alert for alert in found.alerts if alert.kind is Kind.EMPTY]
    assert [alert.about for alert in empty] == [(("a",),)]
    assert not empty[0].wrong


@pytest.mark.parametrize(("declared", "said"), [(100_000, True), (5_000, False), (90, True), (None, False)])
def test_a_declared_number_of_rows_far_from_the_noisy_one_is_said(declared, said):
    rows = "" if declared is None else f"about_rows: {declared}\n"
    odd = Schema.loads(rows + "columns:\n  a: {type: boolean}\n")
    found = report(odd, [counts("a", [500, 500, 0])], {"a": np.zeros(99, int)})
    assert any(alert.kind is Kind.ABOUT_ROWS for alert in found.alerts) == said

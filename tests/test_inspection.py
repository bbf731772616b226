"""A schema looked at before any row: who may be recognised, what noise drowns, what fits; no file but the schema."""

import json

import pytest
from click.testing import CliRunner

from accountants import Budget
from dpsynth.cli import main
from dpsynth.columns import Categorical
from dpsynth.inspection import Role, inspect, roles_of
from dpsynth.schema import Schema
from tests.release.test_report import HOSTILE

SCHEMA = """
unit: patient
at_most: 2
about_rows: 20000
columns:
  surname: {type: categorical, values: [Ann, Bob]}
  caseId: {type: integer, min: 0, max: 100000, bins: 500}
  kind_id: {type: categorical, values: [a, b]}
  dob: {type: date, min: 1900-01-01, max: 2020-12-31, bins: 20}
  sex: {type: categorical, values: [F, M]}
  hiv: {type: boolean, label: HIV status}
  stay: {type: integer, min: 0, max: 365, bins: auto, label: Days}
  ward: {type: categorical, values: [north, south]}
  score: {type: float, min: 0, max: 1, bins: 4}
"""


def schema(text=SCHEMA):
    return Schema.loads(text)


def of(found, role):
    return [note.name for note in found.having(role)]


def test_roles_follow_from_names_labels_and_kinds():
    found = inspect(schema())
    assert of(found, Role.DIRECT) == ["surname", "caseId"]
    assert of(found, Role.QUASI) == ["dob", "sex", "ward"]
    assert of(found, Role.SENSITIVE) == ["hiv"]
    many = Categorical(name="site", values=tuple(f"s{i}" for i in range(1200)))
    assert {each.role for each in roles_of(many)} == {Role.DIRECT, Role.QUASI}
    assert any("'surname', 'caseId' may name people" in warning for warning in found.warnings)


def test_without_a_budget_or_rows_nothing_is_said_of_noise():
    found = inspect(schema())
    assert (found.sigma, found.advice) == (None, None)
    assert any("--epsilon" in warning for warning in found.warnings)
    unknown = inspect(Schema.loads("columns: {a: {type: boolean}}"), Budget(1))
    assert unknown.advice is None
    assert any("--rows" in warning for warning in unknown.warnings)
    assert inspect(Schema.loads("columns: {a: {type: boolean}}"), Budget(1), 500).rows == 500


def test_columns_too_fine_for_the_budget_and_what_to_do():
    found = inspect(schema(), Budget("0.2"))
    fine = {note.name: note.too_fine for note in found.columns if note.too_fine}
    assert set(fine) == {"caseId", "dob"}
    assert "bins: auto" in fine["caseId"]  # and 'stay', which has them, is not too fine
    assert not any(note.too_fine for note in inspect(schema(), Budget(9), 10**7).columns if note.name != "caseId")
    listed = Schema(columns=(Categorical(name="code", values=tuple(f"c{i}" for i in range(400))),), about_rows=2000)
    (note,) = inspect(listed, Budget(1)).columns
    assert "group its values into about" in note.too_fine
    fewer = int(note.too_fine.split("about ")[1].split(",")[0])
    grouped = Schema(columns=(Categorical(name="code", values=tuple(f"c{i}" for i in range(fewer))),), about_rows=2000)
    assert inspect(grouped, Budget(1)).columns[0].too_fine is None  # what is advised is enough
    (flag,) = inspect(Schema.loads("columns: {a: {type: boolean}}\nabout_rows: 2000"), Budget("0.01")).columns
    assert flag.too_fine.endswith("leave it out, or spend more")  # two values cannot be fewer


@pytest.mark.parametrize(
    ("epsilon", "rows", "generator"), [(1, 300, None), (1, 2500, "mst"), (1, 100_000, "aim"), (10, 20_000, "aim")]
)
def test_the_generator_that_fits_follows_from_noise_and_rows(epsilon, rows, generator):
    advice = inspect(schema(), Budget(epsilon), rows).advice
    assert advice.generator == generator
    assert len(advice.because) > 30
    assert generator not in advice.others


def test_wide_and_narrow_tables_have_generators_of_their_own():
    assert inspect(Schema.from_domain({"a": 5}, about_rows=10**5), Budget(1)).advice.generator == "independent"
    wide = Schema.from_domain({f"c{i}": 2 for i in range(400)}, about_rows=10**7)
    assert inspect(wide, Budget(1)).advice.generator == "mst"


def test_the_command_reads_the_schema_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    (tmp_path / "s.yaml").write_text(SCHEMA)

    def say(line):
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == 0, done.output
        return done.output

    text = say("inspect s.yaml --epsilon 0.5")
    for said in ("heuristic", "direct identifiers: 2", "surname: its name says 'surname'", "Too fine", "Generator: "):
        assert said in text, said
    body = json.loads(say("inspect s.yaml --epsilon 0.5 --rows 9000 --json"))
    assert (body["kind"], body["version"], body["rows"]) == ("dpsynth inspection", 1, 9000)
    assert body["columns"][0]["roles"][0]["role"] == "direct identifier"
    assert "Examples:" in say("inspect --help")
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]
    missing = CliRunner().invoke(main, ["inspect", "no.yaml"])
    assert missing.exit_code == 1
    assert "Traceback" not in missing.output


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_on_their_line(text, tmp_path):
    hostile = Schema.from_domain({text + " age": 3, "b": 2}, about_rows=1000)
    (tmp_path / "s.yaml").write_text(hostile.to_yaml(), encoding="utf-8")
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "s.yaml"), "--epsilon", "1"])
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) < 400
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output

"""Constraints from the schema to the release folder: in every table, on every path, and said where an auditor looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dpsynth as dp
from accountants import Budget, Ledger, SigningKey
from dpsynth.cli import main
from dpsynth.constraints.checking import check
from dpsynth.encoding import Encoder
from dpsynth.errors import BundleError
from dpsynth.release import ModelStore, admit
from dpsynth.release.given import encode_given
from dpsynth.schema import Schema
from dpsynth.testing.synthesis import synthesize_without_privacy

SCHEMA = """\
name: stays
about_rows: 3000
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  pregnant: {type: boolean}
  ward: {type: categorical, values: [general, maternity, surgery]}
  came: {type: date, min: 2020-01-01, max: 2020-12-31, bins: 4}
  left: {type: date, min: 2020-01-01, max: 2021-01-31, bins: 4, missing: true}
  drugs: {type: float, min: 0, max: 500, decimals: 2, bins: 4}
  care: {type: float, min: 0, max: 2000, decimals: 2, bins: 4, scale: log}
  cost: {type: float, min: 0, max: 2500, decimals: 2, bins: 5}
constraints:
  - {forbid: {sex: M, pregnant: true}}
  - {name: maternity is for the pregnant, if: {ward: maternity}, then: {sex: F, pregnant: true}}
  - {order: [came, left]}
  - {total: cost, parts: [drugs, care]}
"""


def stays(rows=3000, seed=0):
    """Stays of which some break every constraint."""
    rng = np.random.default_rng(seed)
    came = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 366, rows), unit="D")
    drugs, care = rng.uniform(0, 500, rows).round(2), rng.gamma(2, 200, rows).clip(0, 2000).round(2)
    sex = rng.choice(["F", "M", "?"], rows, p=[0.5, 0.45, 0.05])
    pregnant = (sex == "F") & (rng.random(rows) < 0.3) | (rng.random(rows) < 0.01)
    return pd.DataFrame(
        {
            "sex": sex,
            "pregnant": pregnant,
            "ward": np.where(pregnant, "maternity", rng.choice(["general", "surgery"], rows)),
            "came": came,
            "left": came + pd.to_timedelta(rng.integers(-2, 20, rows), unit="D"),
            "drugs": drugs,
            "care": care,
            "cost": (drugs + care + (rng.random(rows) < 0.1)).round(2),
        }
    )


def account():
    return Ledger("sqlite://", SigningKey.generate()).open("stays", Budget(3, "1e-8"))


@pytest.fixture(scope="module")
def model():
    """A fitted model of the stays."""
    planned = dp.plan("mst", Schema.loads(SCHEMA), dp.Budget(1))
    return dp.fit(planned, stays(), account(), store=ModelStore(None))


def frame(model, **asked):
    return admit(model.sample(**asked), model.account).frame


def broken(schema, table):
    return sum(found.broken for found in check(schema.columns, schema.constraints, table))


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
def test_no_row_of_any_generator_breaks_a_constraint(generator):
    schema = Schema.loads(SCHEMA)
    assert broken(schema, stays()) > 300
    release = dp.synthesize(stays(), schema, epsilon=1, generator=generator)
    assert broken(schema, release.frame) == 0
    assert (release.frame["drugs"] + release.frame["care"] - release.frame["cost"]).abs().max() < 0.005
    both = release.frame[["came", "left"]].dropna()
    assert len(both) > 0
    assert (both["came"] <= both["left"]).all()
    assert not ((release.frame["sex"] == "M") & release.frame["pregnant"]).any()


def test_tables_without_privacy_satisfy_them_too():
    schema = Schema.loads(SCHEMA)
    table = synthesize_without_privacy(stays(), schema, dp.Budget(1), generator="mst", rows=500)
    assert broken(schema, table.frame) == 0


def test_constraints_cost_nothing_and_change_no_look_where_they_derive_no_column():
    whole = Schema.loads(SCHEMA)
    free, some = whole.with_constraints(), whole.with_constraints(*whole.constraints[:2])
    plans = [dp.plan("mst", schema, dp.Budget(1)).claim for schema in (free, whole, some)]
    assert plans[0].plan == plans[2].plan
    assert plans[0].plan != plans[1].plan  # the days between two dates are on a fine grid, and counted twice
    assert float(plans[0].capacity) == pytest.approx(float(plans[1].capacity), rel=1e-12)
    assert plans[0].schema_digest != plans[1].schema_digest
    assert "what its 4 constraints between columns say" in plans[1].assumptions


def test_drawing_again_satisfies_them(model):
    for rows in (1, 50, 4000):
        assert broken(model.schema, frame(model, rows=rows, seed=rows)) == 0


def test_a_draw_repeats(model):
    assert model.sample(300, seed=4).digest == model.sample(300, seed=4).digest


def test_the_release_says_what_holds(model):
    release = admit(model.sample(200), model.account)
    assert "What holds in every row" in release.report
    assert "maternity is for the pregnant" in release.report
    assert release.report.count("holds in all rows") == 4
    assert any("4 constraints" in line for line in release.certificate["predicate"]["assumptions"])
    assert "4 constraints between columns" in release.page
    schema = Schema.loads(release._files["schema.yaml"].decode())
    assert schema == model.schema


def test_a_schema_without_constraints_says_nothing_of_them(place_free):
    release = admit(place_free.sample(50), place_free.account)
    assert "What holds in every row" not in release.report
    assert not any("constraints" in line for line in release.certificate["predicate"]["assumptions"])


@pytest.fixture
def place_free():
    planned = dp.plan("independent", Schema.loads(SCHEMA).with_constraints(), dp.Budget(1))
    return dp.fit(planned, stays(300), account(), store=ModelStore(None))


# Given columns


def test_given_values_hold_and_the_rest_follows(model):
    table = frame(model, rows=400, given={"ward": "maternity"})
    assert set(table["ward"]) == {"maternity"}
    assert set(table["sex"]) == {"F"}
    assert table["pregnant"].all()
    table = frame(model, rows=400, given={"left": "2020-03-30", "cost": 400.25})
    assert (table["left"] == pd.Timestamp("2020-03-30")).all()
    # A few cells are out of domain, and released as empty.
    assert table["came"].notna().sum() > 300
    assert (table["came"].dropna() <= "2020-03-30").all()
    np.testing.assert_allclose((table["drugs"] + table["care"]).dropna().astype(float), 400.25)


def test_given_numbers_bind_to_the_last_digit(model):
    """The given day is inside a bin that the other column shares: only days up to it are left."""
    days = ["2020-01-01", "2020-01-02", None, "2020-12-31"]
    table = frame(model, given=pd.DataFrame({"left": days}))
    assert table["left"].dt.strftime("%Y-%m-%d").tolist()[:2] == days[:2]
    assert table["came"].iloc[0] == pd.Timestamp("2020-01-01") or pd.isna(table["came"].iloc[0])
    assert pd.isna(table["left"][2])
    assert broken(model.schema, table) == 0


def test_a_moment_given_for_a_day_counts_as_its_day(model):
    table = frame(model, rows=3, given={"left": pd.Timestamp("2020-01-02 17:00")})
    assert (table["left"] == pd.Timestamp("2020-01-02")).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sex": "M", "pregnant": True}, "with sex, pregnant as given no row can satisfy the constraint"),
        ({"sex": "M", "ward": "maternity"}, "'maternity is for the pregnant'"),
        ({"came": "2020-06-02", "left": "2020-06-01"}, "the constraint 'came <= left'"),
        ({"drugs": 10.0, "care": 5.0, "cost": 15.01}, "the constraint 'cost = drugs + care'"),
        ({"cost": 3.0, "drugs": [1.0, 2.0, 4.0]}, "the constraint 'cost = drugs + care'"),
    ],
)
def test_a_given_that_no_row_can_satisfy_is_refused(model, given, says):
    head = model.account.ledger.head
    with pytest.raises(BundleError) as refused:
        model.sample(None if "drugs" in given and isinstance(given["drugs"], list) else 5, given=given)
    assert says in str(refused.value)
    assert "give other values, or fewer columns" in str(refused.value)
    assert model.account.ledger.head == head


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"wrad": "surgery"}, "column 'wrad'; did you mean 'ward'? the schema has sex, pregnant"),
        ({"ward": "surgary"}, "did you mean 'surgery'? allowed are general, maternity, surgery"),
        ({"ward": "zzzzzz"}, "not in the schema; allowed are general"),
        ({"came": "soon"}, "given for column 'came' are not in the schema"),
        ({"drugs": 500.01}, "out of bounds; the schema has 0.0 to 500.0"),
    ],
)
def test_near_misses_are_suggested(model, given, says):
    with pytest.raises(BundleError) as refused:
        model.sample(5, given=given)
    assert says in str(refused.value)
    assert "surgary" not in str(refused.value)


def test_given_text_reads_as_in_a_file():
    """What the command line passes: text, whatever the column."""
    encoder = Encoder(Schema.loads(SCHEMA))
    given = {"sex": "", "pregnant": "yes", "came": "2020-02-01", "left": "", "drugs": "1.50", "cost": "7"}
    supplied = encode_given(given, 2, encoder)
    free = Encoder(encoder.schema.with_constraints())
    table = supplied.keep(free.decode(supplied.codes, np.random.default_rng(0)))
    assert table.iloc[0].astype(object).where(table.iloc[0].notna(), None).to_dict() == {
        "sex": None,
        "pregnant": True,
        "came": pd.Timestamp("2020-02-01"),
        "left": None,
        "drugs": 1.5,
        "cost": 7.0,
    }


# The command line


def say(command, code=0):
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done


def test_the_command_line(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCHEMA)
    stays().to_parquet("t.parquet")
    told = say("schema check s.yaml").stdout
    assert "holds in every row: came <= left" in told
    assert "cells, encoded relative to drugs, care" in told
    say("ledger open stays --epsilon 3 --delta 1e-8")
    say("release t.parquet --schema s.yaml --epsilon 1 --generator mst --dataset stays --out release")
    schema = Schema.from_yaml("release/schema.yaml")
    assert len(schema.constraints) == 4
    assert broken(schema, pd.read_parquet("release/synthetic.parquet")) == 0
    say("sample release --rows 700 --given ward=maternity --given left= --out rare")
    rare = pd.read_parquet("rare/synthetic.parquet")
    assert len(rare) == 700
    assert set(rare["sex"]) == {"F"}
    assert rare["left"].isna().all()
    pd.DataFrame({"cost": ["10.25", "2400"], "sex": ["M", ""]}).to_csv("wanted.csv", index=False)
    told = say("sample release --given-table wanted.csv --given ward=surgery --out listed")
    assert "with ward=surgery and the columns of wanted.csv" in told.stdout
    listed = pd.read_parquet("listed/synthetic.parquet")
    assert listed["cost"].tolist() == [10.25, 2400.0]
    assert listed["sex"].tolist()[0] == "M"
    assert broken(schema, listed) == 0
    assert "verify" not in say("verify release").stdout
    rows = json.loads(say("ledger show stays --json").stdout)["accounts"][0]
    assert "3 drawn" in say("ledger show").stdout
    assert rows["releases"][0]["status"] == "committed"
    refused = say("sample release --rows 5 --given sex=M --given pregnant=true --out never", 1)
    assert "no row can satisfy the constraint 'never sex is M and pregnant is true'" in refused.stderr
    assert not Path("never").exists()
    assert (
        "in --given and in --given-table"
        in say("sample release --given-table wanted.csv --given sex=F --out x", 2).stderr
    )
    assert "must end in .csv or .parquet" in say("sample release --given-table wanted.txt --out x", 1).stderr
    assert "No such file" in say("sample release --given-table lost.csv --out x", 1).stderr


# Real data

DIABETES = """
constraints:
  - {if: {diabetesMed: No}, then: {insulin: No, metformin: No, glipizide: No, glyburide: No, change: No}}
  - {if: {change: No}, then: {insulin: [No, Steady], metformin: [No, Steady], glipizide: [No, Steady]}}
"""


def test_a_rare_class_of_real_encounters_is_drawn_as_the_model_has_it(data_folder):
    columns = ["age", "time_in_hospital", "number_inpatient", "insulin", "metformin", "glipizide", "glyburide"]
    columns += ["change", "diabetesMed", "readmitted"]
    whole = Schema.from_yaml(Path(__file__).parents[1] / "data" / "diabetes130.yaml")
    part = Schema(columns=tuple(c for c in whole.columns if c.name in columns), unit=whole.unit, at_most=1)
    schema = Schema.loads(part.to_yaml() + DIABETES)
    table = pd.read_parquet(data_folder / "diabetes130.parquet")
    assert broken(schema, table) == 0  # implied by what the columns mean
    model = dp.fit(dp.plan("mst", schema, dp.Budget(1)), table, account(), store=ModelStore(None))
    rare = frame(model, rows=6000, given={"readmitted": "<30"})
    assert set(rare["readmitted"]) == {"<30"}
    assert broken(schema, rare) == 0
    conditional = model.model.project(("readmitted", "number_inpatient"))[2]
    codes = Encoder(schema).encode_column("number_inpatient", rare["number_inpatient"])
    drawn = np.bincount(codes, minlength=len(conditional)) / len(rare)
    assert 0.5 * np.abs(drawn - conditional / conditional.sum()).sum() < 0.03
    assert [row.body["given"] for row in model.account.ledger.rows("stays") if row.kind == "draw"] == [["readmitted"]]

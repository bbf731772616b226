"""A survey: one charged look, noisy figures, and nothing to draw from."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dpsynth as dp
from accountants import Budget, GateRefused, Ledger, SigningKey, Status
from dpsynth import session
from dpsynth.cli import main
from dpsynth.errors import KernelError, SourceError
from dpsynth.measurement import NoisyCounts
from dpsynth.schema import Schema
from dpsynth.survey import AT_BOUNDS, GENERATOR, read, survey_claim
from tests.helpers import SCHEMA, schema, table

BUDGET = Budget("0.5")


def account(epsilon=3):
    return Ledger("sqlite://", SigningKey.generate()).open("visits", Budget(epsilon))


def test_figures_are_those_of_the_table_within_their_noise():
    odd = Schema.loads(
        """
columns:
  kind: {type: categorical, values: [a, b], missing: true}
  number: {type: integer, min: 0, max: 9}
"""
    )
    data = pd.DataFrame({"kind": ["a", "b", None, "who"] * 5000, "number": [1, 2, "x", None] * 5000})
    found = session.survey(odd, data, account(), Budget(1))
    assert found.rows == pytest.approx(20_000, abs=6 * found.sigma)
    kind, number = found.columns
    assert kind.missing == pytest.approx(0.25, abs=6 * kind.sigma + 6 * found.sigma / 20_000)
    assert kind.outside == pytest.approx(0.25, abs=6 * kind.sigma + 6 * found.sigma / 20_000)
    assert number.missing is None
    assert number.outside == pytest.approx(0.5, abs=6 * number.sigma + 6 * found.sigma / 20_000)


def test_it_is_charged_whole_and_nothing_is_drawn_from_it():
    acc = account()
    session.survey(schema(), table(), acc, BUDGET)
    (made,) = acc.state.releases.values()
    assert (made.status, made.model, made.generator) == (Status.COMMITTED, None, GENERATOR)
    assert made.charge.mu_squared == survey_claim(schema(), BUDGET).capacity
    assert [event["count"] for event in made.charged["plan"]] == [1]
    assert made.claim.profile.epsilon(BUDGET.delta) <= float(BUDGET.epsilon)


def test_what_the_account_cannot_pay_is_not_asked():
    acc = account("0.1")
    with pytest.raises(GateRefused):
        session.survey(schema(), table(), acc, BUDGET)
    assert acc.state.releases == {}
    with pytest.raises(SourceError):
        session.survey(schema(), table().drop(columns="age"), account(), BUDGET)


def test_a_look_that_fails_is_charged(monkeypatch):
    acc = account()

    def broken(*_):
        raise KernelError("withheld")

    monkeypatch.setattr(session.survey_, "ask", broken)
    with pytest.raises(KernelError):
        session.survey(schema(), table(), acc, BUDGET)
    assert [made.status for made in acc.state.releases.values()] == [Status.FORFEITED]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_no_rows_gives_figures_too(rows):
    found = session.survey(schema(), table().head(rows), account(), BUDGET)
    assert found.rows >= 0
    assert np.isfinite([each.outside for each in found.columns]).all()


def test_the_command_charges_says_so_and_gives_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    (tmp_path / "s.yaml").write_text(SCHEMA)
    table(2000).to_csv("t.csv", index=False)

    def say(line, code=0):
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == code, done.output
        return done.stdout

    say("ledger open visits --epsilon 3")
    text = say("inspect s.yaml --epsilon 1 --data t.csv --dataset visits --charge 0.5")
    assert "Survey, charged epsilon 0.5" in text
    assert "missing, " in text
    assert AT_BOUNDS in text
    assert text.index("Survey, charged") < text.index("By name and kind")
    body = json.loads(say("inspect s.yaml --data t.csv --dataset visits --charge 0.25 --json"))
    assert body["survey"]["rows"] > 1000
    assert body["rows"] == 400  # as declared
    assert GENERATOR in say("ledger show visits")
    assert len(dp.open_ledger().account("visits").state.releases) == 2
    say("inspect s.yaml --data t.csv --charge 0.5", 2)
    say("inspect s.yaml --data t.csv --dataset visits --charge nonsense", 2)
    say("inspect s.yaml --data t.csv --dataset visits --charge 9", 4)


@pytest.mark.parametrize("bad", ["--epsilon nonsense", "--epsilon 0", "--epsilon 1e9", "--epsilon 1 --delta 2"])
def test_what_cannot_be_answered_costs_nothing(bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    (tmp_path / "s.yaml").write_text(SCHEMA)
    table(200).to_csv("t.csv", index=False)
    CliRunner().invoke(main, ["ledger", "open", "visits", "--epsilon", "3"])
    done = CliRunner().invoke(main, f"inspect s.yaml --data t.csv --dataset visits --charge 0.5 {bad}".split())
    assert done.exit_code in (1, 2), done.output
    assert "Survey" not in done.output
    assert dp.open_ledger().account("visits").state.releases == {}


def test_numbers_out_of_bounds_are_not_outside_and_it_says_so():
    small = Schema.loads("columns:\n  number: {type: integer, min: 0, max: 9}\n")
    found = session.survey(small, pd.DataFrame({"number": [50] * 20_000}), account(), Budget(1))
    (number,) = found.columns
    assert number.outside == pytest.approx(0, abs=6 * number.sigma)
    assert found.to_json()["note"] == AT_BOUNDS


ODD = Schema.loads("columns:\n" + "".join(f"  c{i}: {{type: boolean, missing: true}}\n" for i in range(20)))


def test_all_limits_hold_together():
    """Twenty columns, forty-one figures: two standard deviations each would miss one in six surveys out of seven."""
    rng, missed = np.random.default_rng(0), 0
    truth = np.array([800.0, 150.0, 50.0])
    for _ in range(300):
        answers = [NoisyCounts((c.name,), np.rint(truth + rng.normal(0, 20, 3)), 20.0) for c in ODD.encoded]
        found = read(answers, ODD, BUDGET)
        held = [found.rows_within[0] <= 1000 <= found.rows_within[1]]
        held += [c.missing_within[0] <= 0.15 <= c.missing_within[1] for c in found.columns]
        held += [c.outside_within[0] <= 0.05 <= c.outside_within[1] for c in found.columns]
        assert len(held) == found.figures == 41
        missed += not all(held)
    assert missed <= 25  # 15 expected at most


def test_of_an_empty_table_no_share_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    (tmp_path / "s.yaml").write_text(SCHEMA)
    table(0).to_csv("t.csv", index=False)
    CliRunner().invoke(main, ["ledger", "open", "visits", "--epsilon", "3"])
    done = CliRunner().invoke(main, ["inspect", "s.yaml", "--data", "t.csv", "--dataset", "visits", "--charge", "1"])
    assert done.exit_code == 0
    survey = done.stdout.split("\n\n")[0]
    assert "nothing can be told of the columns" in survey
    assert "%" not in survey


def test_a_share_that_may_be_none_is_not_printed_as_a_figure():
    from dpsynth.cli.inspecting import _share

    assert _share(0.098, (0.0, 0.246)) == "no sign of any (at most 24.6%)"
    assert _share(0.098, (0.01, 0.246)) == "9.8% (1.0% to 24.6%)"
    assert _share(0.098, None) == "9.8%"

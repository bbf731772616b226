"""What holds real rows, or was computed from them, is refused wherever something could be released."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from accountants import GateRefused, LedgerError
from dpsynth import private
from dpsynth.cli import main
from dpsynth.errors import SchemaError
from dpsynth.evaluation.custodian.finding import Finding
from dpsynth.evaluation.custodian.report import CustodianReport, Questions
from dpsynth.release import admit
from dpsynth.schema import Schema

ABOUT = {
    **dict.fromkeys(("dataset", "release", "table", "generator", "epsilon", "delta", "made"), "x"),
    "unit": None,
    "at_most": 1,
    "columns": 1,
    "rows": {"synthetic": 1, "train": 1, "holdout": 1},
    "units": {"train": 1, "holdout": 1},
    "left_out": {"without_unit": 0, "beyond_bound": 0, "in_both": 0},
    "questions": {},
}
REPORT = CustodianReport((Finding("fidelity", "total variation distance, 1-way", "", 0.25),), ABOUT)


@pytest.fixture
def written(at_home, tmp_path):
    return REPORT.write(tmp_path / "report")


def refused(thing, place):
    with pytest.raises(GateRefused, match="private: real rows, or figures computed") as error:
        admit(thing, place.model.account)
    assert error.value.rule == "private"


def test_the_report_itself_by_its_type(at_home):
    for thing in (REPORT, REPORT.findings[0], REPORT.findings, REPORT.frame, REPORT.frame["value"]):
        refused(thing, at_home)


def test_its_files_by_their_stamp_from_anywhere(at_home, written, monkeypatch, tmp_path):
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "another home"))  # which knows no digest
    assert len(list(written.iterdir())) == 4
    for path in written.iterdir():
        refused(path, at_home)
        refused(str(path), at_home)
        refused(path.read_bytes(), at_home)
    refused(pq.read_table(written / "PRIVATE-findings.parquet"), at_home)
    refused(pd.read_parquet(written / "PRIVATE-findings.parquet").query("value > 0")[["value"]], at_home)


def test_a_table_of_theirs_without_a_stamp_by_its_digest(at_home, tmp_path):
    plain = pd.read_parquet(at_home.holdout)
    plain.attrs.clear()
    refused(plain.sample(frac=1, random_state=0), at_home)
    refused(plain[sorted(plain.columns)], at_home)
    plain.to_csv(tmp_path / "plain.csv", index=False)
    refused(tmp_path / "plain.csv", at_home)
    plain.to_parquet(tmp_path / "plain.parquet")
    refused(tmp_path / "plain.parquet", at_home)
    raw = at_home.holdout.read_bytes().replace(private.STAMP.encode(), b"-" * len(private.STAMP))
    (tmp_path / "scratched.parquet").write_bytes(raw)
    refused(tmp_path / "scratched.parquet", at_home)


def test_columns_of_theirs_are_not_given(at_home):
    held = pd.read_parquet(at_home.holdout)[["ward", "smoker"]]
    for given in (held, {"ward": held["ward"]}):
        with pytest.raises(GateRefused, match="private"):
            at_home.model.sample(given=given)


def test_the_command_refuses_a_given_table(at_home, tmp_path):
    out = tmp_path / "more"
    args = ["sample", str(at_home.release), "--given-table", str(at_home.holdout), "--out", str(out)]
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, out.exists()) == (4, False)
    assert "Refused (private)" in result.output


def test_no_schema_is_taken_from_them(at_home):
    with pytest.raises(SchemaError, match="marked private"):
        Schema.from_public(pd.read_parquet(at_home.train))


def test_what_is_public_stays_public(at_home, tmp_path):
    frame = pd.read_parquet(at_home.release / "synthetic.parquet")
    assert not private.is_private(frame)
    assert not private.is_private(at_home.release / "synthetic.parquet")
    assert not any(private.is_private(thing) for thing in (None, 3, "north", b"", {"ward": "north"}, [1, 2], tmp_path))
    admit(at_home.model.sample(5, given={"ward": "north"}), at_home.model.account)


def test_the_report_does_not_travel(at_home):
    import copy
    import pickle

    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private"):
            way(REPORT)
    assert "0.25" not in repr(REPORT)


def test_the_ledger_knows_no_table_it_did_not_draw(place):
    with pytest.raises(LedgerError, match="on no draw"):
        place.model.account.read("0" * 64)
    assert Questions().target is None

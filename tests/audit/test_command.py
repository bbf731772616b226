"""``dpsynth audit``: the table, JSON, exit codes, and what it may not import."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from dpsynth import audit
from dpsynth.audit.findings import Audits, Control, Finding
from dpsynth.cli import main

GOOD = Finding("count", 1, "epsilon", 2.0, 1.0, delta=0.01, confidence=1 - 1e-7, controls=(Control("fault", True),))


def invoke(*arguments):
    return CliRunner().invoke(main, ["audit", *arguments], catch_exceptions=False)


def test_a_table_on_standard_output_and_progress_beside_it():
    result = invoke("--tier", "0", "--generator", "independent")
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()
    assert head.split() == ["audit", "claim", "claimed", "at", "least", "confidence", "controls", "caught", "verdict"]
    assert row.split("  ")[0] == "replay independent"
    assert "yes (1 of 1)" in row
    assert row.endswith("not refuted")
    assert "replay independent" in result.stderr


def test_a_generator_or_a_schema_alone_means_tier_0(tmp_path):
    schema = tmp_path / "s.yaml"
    schema.write_text("columns:\n  a: {type: boolean}\n  b: {type: integer, min: 0, max: 9, bins: auto}\n")
    result = invoke("--generator", "mst", "--schema", str(schema), "--json", "--out", str(tmp_path / "found.json"))
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "found.json").read_text())
    assert [f["audit"] for f in found["findings"]] == ["replay mst"]
    assert found["passed"] is True
    assert found["findings"][0]["controls"][0]["caught"] is True


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bound": 2.5}, "refuted"),
        ({"violations": ("look 1 moved twice",)}, "count: look 1 moved twice"),
        ({"controls": (Control("half the noise", False, "0.1"),)}, "count: not noticed: half the noise (0.1)"),
    ],
)
def test_what_fails_exits_with_1_and_says_why(monkeypatch, changes, told):
    monkeypatch.setattr(audit, "run", lambda *_, **__: Audits((GOOD, replace(GOOD, **changes))))
    result = invoke()
    assert result.exit_code == 1
    assert told in result.stdout
    assert result.stdout.splitlines()[1].endswith("not refuted")


def test_what_is_skipped_says_why_and_fails_nobody(monkeypatch):
    monkeypatch.setattr(audit, "run", lambda *_, **__: Audits((replace(GOOD, skipped="PyTorch is missing"),)))
    result = invoke()
    assert result.exit_code == 0
    assert "count: skipped: PyTorch is missing" in result.stdout


def test_mistakes_are_a_sentence(tmp_path):
    assert invoke("--tier", "7").exit_code == 2
    assert invoke("--draws", "10").exit_code == 2
    assert invoke("--generator", "swift").exit_code == 2
    missing = invoke("--schema", str(tmp_path / "none.yaml"))
    assert (missing.exit_code, missing.stderr.count("\n")) == (1, 1)
    nowhere = invoke("--generator", "independent", "--out", str(tmp_path / "no" / "found.json"))
    assert nowhere.exit_code == 1
    assert "cannot write the findings" in nowhere.stderr


def test_help_has_an_example():
    result = invoke("--help")
    assert "Example: dpsynth audit" in result.stdout
    assert "never certify" in result.stdout


def test_no_release_loads_an_audit():
    """Nor does the command line before the command runs."""
    code = (
        "import sys, dpsynth.cli, dpsynth.session, dpsynth.release; "
        "sys.exit(any(m.startswith(('dpsynth.audit', 'dpsynth.testing')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0

"""``dpsynth certificate`` and ``--deployment``: read before anything is spent; a mistake is one sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dpsynth.cli import main
from dpsynth.release import read_certificate
from tests.helpers import SCHEMA, table

RELEASE = "release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out"


@pytest.fixture
def desk(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCHEMA)
    Path("d.yaml").write_text("curator: Kirkwall Infirmary\nabout_units: 200\n")
    Path("bad.yaml").write_text("curater: Kirkwall Infirmary\n")
    table().to_parquet("t.parquet")
    say("ledger open visits --epsilon 3 --delta 1e-8")
    return tmp_path


def say(command, code=0):
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done


def test_a_release_and_a_further_draw_carry_what_was_declared(desk):
    say(f"{RELEASE} one --deployment d.yaml")
    shown = say("certificate one")
    assert "Kirkwall Infirmary" in shown.stdout
    assert "not declared" in shown.stdout
    assert shown.stdout == read_certificate("one")
    assert "dpsynth verify one" in shown.stderr
    say("sample one --rows 5 --out two")
    assert "Kirkwall" not in say("certificate two").stdout
    say("sample one --rows 5 --out three --deployment d.yaml")
    assert "Kirkwall" in say("certificate three").stdout
    say("verify one")


def test_the_page_is_written_to_a_new_file_only(desk):
    say(f"{RELEASE} one")
    assert "Wrote" in say("certificate one --html page.html").stdout
    assert Path("page.html").read_bytes() == Path("one/certificate.html").read_bytes()
    assert "File exists" in say("certificate one --html page.html", 1).stderr
    assert "No such file" in say("certificate one --html none/page.html", 1).stderr
    say("verify one")


def test_a_wrong_declaration_costs_nothing(desk):
    for name in ("bad.yaml", "none.yaml"):
        assert name in say(f"{RELEASE} one --deployment {name}", 1).stderr
    assert "did you mean 'curator'" in say(f"{RELEASE} one --deployment bad.yaml", 1).stderr
    assert "epsilon 0 of 3" in say("ledger show").stdout
    assert not Path("one").exists()


@pytest.mark.parametrize("damage", ["none", "empty", "file", "cut"])
def test_what_is_no_release_is_one_sentence(desk, damage):
    say(f"{RELEASE} one")
    path = Path("one/certificate.json")
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    target = {"none": "nowhere", "file": "t.parquet"}.get(damage, "one")
    said = say(f"certificate {target}", 1)
    assert said.stderr.startswith("Error: cannot read the certificate")
    assert said.stdout == ""


def test_help_has_an_example():
    assert "Example: dpsynth certificate release/" in say("certificate --help").stdout

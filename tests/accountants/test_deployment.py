"""What the custodian declares: read, bounded, and never more exact than public knowledge may be."""

import dataclasses
import re
from pathlib import Path

import pytest

from accountants.deployment import ASKS, MOST_CHARACTERS, NOT_DECLARED, Deployment, DeploymentError

DOCS = Path(__file__).parents[2] / "docs" / "certificate.md"


def test_all_fields_are_optional_and_those_left_out_are_said_to_be_missing():
    assert set(Deployment().to_json().values()) == {NOT_DECLARED}
    assert list(Deployment().to_json()) == list(ASKS)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(
        "curator: Nord-Klinik Kiel\nabout_units: 20000\ndescription: >\n  Visits of\n  one year.\n", "utf-8"
    )
    made = Deployment.from_yaml(path)
    assert made == Deployment(curator="Nord-Klinik Kiel", about_units=20000, description="Visits of one year.")
    assert made.to_json()["about_units"] == "20000"
    path.write_text("")
    assert Deployment.from_yaml(path) == Deployment()


def test_the_example_in_the_docs_is_a_deployment(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    (tmp_path / "d.yaml").write_text(example, "utf-8")
    made = Deployment.from_yaml(tmp_path / "d.yaml")
    assert all(getattr(made, field.name) is not None for field in dataclasses.fields(made))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "is a mapping"),
        ({"curater": "x"}, "did you mean 'curator'"),
        ({"zzz": "x"}, "known: name, curator"),
        ({1: "x"}, "unknown field '1'"),
        ({"curator": 3}, "must be text"),
        ({"curator": ["x"]}, "must be text"),
        ({"curator": ""}, "1 to 2000"),
        ({"curator": "  "}, "1 to 2000"),
        ({"curator": "x" * (MOST_CHARACTERS + 1)}, "got 2001"),
        ({"curator": "x\x1b[31m"}, "do not print"),
        ({"curator": "x\u202e"}, "do not print"),
        ({"description": "Fully Anonymised records"}, "never does"),
        ({"about_units": 1234}, "2 significant digits"),
        ({"about_units": 20001}, "2 significant digits"),
        ({"about_units": True}, "whole number"),
        ({"about_units": 0}, "whole number"),
        ({"about_units": -20}, "whole number"),
        ({"about_units": "about 20000"}, "whole number"),
        ({"about_units": 2e4}, "whole number"),
        ({"about_units": 10**13}, "whole number"),
    ],
)
def test_what_a_certificate_may_not_carry_is_refused(body, says):
    with pytest.raises(DeploymentError, match=says):
        Deployment.from_json(body)


def test_names_may_hold_any_word():
    Deployment(curator="Anonymous Donors Trust", contact="anonymisation@example.org", sources="On anonymity, 2019")


@pytest.mark.parametrize(
    "raw", [b"[1, 2", b"\xff", b"a: b: c", b"- x", b"curator: {a: 1}", b"[" * 5000, b"x: 1" * 10**5]
)
def test_what_is_no_deployment_file_is_one_sentence_that_names_the_file(tmp_path, raw):
    (tmp_path / "d.yaml").write_bytes(raw)
    with pytest.raises(DeploymentError, match=r"d\.yaml") as error:
        Deployment.from_yaml(tmp_path / "d.yaml")
    assert error.value.__cause__ is None
    with pytest.raises(DeploymentError, match="cannot read"):
        Deployment.from_yaml(tmp_path / "none.yaml")

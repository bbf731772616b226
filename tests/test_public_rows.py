"""Public rows: read through the schema, planned by digest, refused where they are the private ones, told to readers."""

import base64
import copy
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rfc8785
from click.testing import CliRunner

import dpsynth as dp
from accountants import PlanError, PublicTable, SigningKey
from accountants.certificate import PAYLOAD_TYPE
from accountants.dsse import Envelope
from dpsynth import private
from dpsynth.cli import main
from dpsynth.encoding import Encoder
from dpsynth.errors import PlanFileError, SourceError
from dpsynth.public_rows import PublicRows
from dpsynth.release import verify
from tests.helpers import SCHEMA, account, schema, table

pytest.importorskip("torch")

SMALL = {"steps": 3, "batch": 100, "hidden": 0, "pair_share": 0.0}
FLAGS = " ".join(f"--set {name}={value}" for name, value in SMALL.items())


@pytest.fixture
def public(tmp_path):
    """Rows of others, with no column that names them, and one that the schema does not have."""
    path = tmp_path / "national.parquet"
    table(300, seed=9).drop(columns="patient").assign(region="north").to_parquet(path)
    return path


def planned(public, generator=None):
    return dp.plan(generator or dp.MADE(**SMALL), schema(), dp.Budget(1), public=public)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_they_are_encoded_as_private_rows_are(public, tmp_path):
    rows = PublicRows.read(public, schema())
    want = Encoder(schema()).encode(pd.read_parquet(public))
    assert rows.table.name == "national.parquet"
    assert rows.table.rows == 300
    assert rows.codes.keys() == want.keys()
    for column, codes in want.items():
        np.testing.assert_array_equal(rows.codes[column], codes)
    pd.read_parquet(public).to_csv(tmp_path / "national.csv", index=False)
    other = PublicRows.read(tmp_path / "national.csv", schema())
    assert other.table.sha256 != rows.table.sha256
    assert all((other.codes[column] == codes).all() for column, codes in want.items())
    assert str(tmp_path) not in repr(rows)


CHANGES = {
    "a level that the schema lacks": (
        lambda f: f.assign(stage=["IV", *f["stage"][1:]]),
        r"outside the codebook in 'st",
    ),
    "no number": (lambda f: f.assign(age=["antique", *f["age"][1:].astype(str)]), "outside the codebook in 'age'"),
    "an empty cell where none may be": (lambda f: f.assign(smoker=[None, *f["smoker"][1:]]), "in 'smoker'"),
    "a column less": (lambda f: f.drop(columns=["age", "cost"]), "lacks 'age', 'cost', which the schema declares"),
    "no rows": (lambda f: f[:0], "has no rows"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_fit_the_schema_is_refused_in_a_sentence_without_a_cell(public, name):
    change, sentence = CHANGES[name]
    change(pd.read_parquet(public)).to_parquet(public)
    with pytest.raises(SourceError, match=sentence) as refused:
        planned(public)
    assert not any(cell in str(refused.value) for cell in ("IV", "antique", str(public.parent)))


def test_what_is_no_file_of_a_table_is_refused(public, tmp_path):
    for wrong in (tmp_path / "none.parquet", pd.read_parquet(public), "postgresql://host/table", tmp_path):
        with pytest.raises(SourceError):
            planned(wrong)


def test_a_file_that_changes_while_it_is_read_is_refused(public, monkeypatch):
    encode = Encoder.encode

    def changing(self, batch):
        with public.open("ab") as file:
            file.write(b"x")
        return encode(self, batch)

    monkeypatch.setattr(Encoder, "encode", changing)
    with pytest.raises(SourceError, match="changed while it was read"):
        PublicRows.read(public, schema())


def test_rows_known_to_be_private_are_not_public(public):
    private.remember(private.content_digest(pd.read_parquet(public)))
    with pytest.raises(SourceError, match="cannot be taken for public: this is private"):
        planned(public)
    private.remember(*private.table_digests(pq.read_table(public), "who"))  # as `dpsynth split` does
    other = public.with_suffix(".feather")
    pd.read_parquet(public).to_feather(other)
    with pytest.raises(SourceError, match="cannot be taken for public: this is private"):
        planned(other)


# --- planning and fitting ---------------------------------------------------------------------------------------------


def test_a_plan_holds_name_digest_and_rows_and_nothing_of_the_rows(public):
    plan = planned(public)
    said = plan.to_json()["claim"]["public"]
    assert said == plan.claim.public.to_json()
    assert said["name"] == "national.parquet"
    assert said["rows"] == 300
    assert "promises nothing about its rows" in repr(plan)
    again = dp.ReleasePlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.claim == plan.claim
    assert planned(None).claim.public is None
    assert planned(None).claim.plan == plan.claim.plan  # it costs nothing, and saves nothing


@pytest.mark.parametrize(("rows", "told"), [(1, "has 1 row: so few"), (99, "has 99 rows: so few"), (100, "")])
def test_very_few_public_rows_are_told_before_anything_is_charged(rows, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(rows, seed=9).to_parquet("few.parquet")
    table().to_parquet("clinic.parquet")
    Path("schema.yaml").write_text(SCHEMA)
    made = f"--schema schema.yaml --epsilon 1 --generator made {FLAGS} --public few.parquet"
    assert CliRunner().invoke(main, "ledger open visits --epsilon 0.1").exit_code == 0
    for command, code in ((f"plan {made}", 0), (f"release clinic.parquet --dataset visits --out out {made}", 4)):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == code, done.output
        assert told in done.stderr
        assert ("so few" in done.stderr) == bool(told)


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
def test_only_a_network_can_start_from_them(public, generator):
    with pytest.raises(PlanError, match="cannot start from a public table; gan, made, vae can"):
        planned(public, generator)
    body = planned(public).to_json()
    counted = dp.plan(generator, schema(), dp.Budget(1)).to_json()
    counted["claim"]["public"] = body["claim"]["public"]
    with pytest.raises(PlanFileError, match="cannot start from a public table"):
        dp.ReleasePlan.from_json(counted)


def test_another_file_than_the_planned_one_is_refused_before_anything_is_charged(public, tmp_path):
    acc, plan = account(), planned(public)
    with pytest.raises(PlanFileError, match=r"starts from the public table 'national.parquet' .*: give that file"):
        dp.fit(plan, table(), acc)
    with pytest.raises(PlanFileError, match="the plan starts from none"):
        dp.fit(planned(None), table(), acc, public=public)
    pd.read_parquet(public)[1:].to_parquet(public)
    with pytest.raises(PlanFileError, match=r"300 rows.* got 'national.parquet' \(299 rows"):
        dp.fit(plan, table(), acc, public=public)
    assert not acc.state.releases


@pytest.mark.parametrize("same", ["path", "symlink", "hardlink", "relative"])
def test_the_private_table_under_any_name_is_refused_unread(tmp_path, monkeypatch, same):
    path, other = tmp_path / "clinic.parquet", tmp_path / "other.parquet"
    table().to_parquet(path)
    monkeypatch.chdir(tmp_path)
    if same == "symlink":
        other.symlink_to(path)
    elif same == "hardlink":
        os.link(path, other)
    name = {"path": path, "relative": Path("clinic.parquet")}.get(same, other)
    plan, acc = planned(path), account()
    monkeypatch.setattr(PublicRows, "read", None)
    with pytest.raises(SourceError, match="the public table is the private one"):
        dp.fit(plan, path, acc, public=name)
    with pytest.raises(SourceError, match="the public table is the private one"):
        dp.synthesize(str(path), schema(), epsilon=1, generator="made", public=name)
    assert not acc.state.releases
    Path("schema.yaml").write_text(SCHEMA)
    flags = "--schema schema.yaml --epsilon 1 --generator made --dataset visits --out out"
    done = CliRunner().invoke(main, f"release {path} {flags} --public {name}")
    assert done.exit_code == 1
    assert "the public table is the private one" in done.output


# --- what readers are told --------------------------------------------------------------------------------------------


def say(command, code=0):
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done


def forged(folder, change):
    """The release's certificate changed, and signed again with a key of the forger's own."""
    key, path = SigningKey.generate(), folder / "certificate.json"
    body = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))
    body["predicate"]["issuer"] = {"key_id": key.public.key_id, "public_key": key.public.pem()}
    change(body["predicate"])
    path.write_bytes(Envelope.seal(PAYLOAD_TYPE, rfc8785.dumps(body), key).to_bytes())


def test_from_the_command_line_to_a_certificate_that_says_so(public, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().to_parquet("clinic.parquet")
    Path("schema.yaml").write_text(SCHEMA)
    digest = PublicRows.read(public, schema()).table.sha256
    say("ledger open visits --epsilon 3 --filter sum")
    made = say(f"plan --schema schema.yaml --epsilon 1 --generator made {FLAGS} --public {public}")
    assert f"public     'national.parquet' (300 rows, sha256 {digest}): promises nothing" in made.stderr
    Path("plan.json").write_text(made.stdout)
    assert str(tmp_path) not in made.stdout
    release = "release clinic.parquet --plan plan.json --dataset visits --out release"
    assert "give that file as well" in say(release, 1).output
    say(f"{release} --public {public}")
    assert say("verify release").exit_code == 0

    said = json.loads(base64.b64decode(json.loads(Path("release/certificate.json").read_text())["payload"]))[
        "predicate"
    ]
    stated = PublicTable("national.parquet", digest, 300)
    assert said["public_table"] == stated.to_json()
    assert stated.assumption in said["assumptions"]
    assert stated.unprotected in said["not_protected"]
    assert stated.post_processing in said["composition"]["post_processing"]
    assert "a public table" in said["product"]["input"]
    assert "promises nothing about them" in stated.unprotected
    page, report = (" ".join(Path(f"release/{n}.html").read_text().split()) for n in ("certificate", "report"))
    for text in (page, report):
        assert digest in text
        assert "promises nothing about them" in text
    assert "national.parquet" in Path("release/README.txt").read_text()
    shown = json.loads(say("ledger show --json").stdout)
    assert stated.assumption in str(shown).replace("\\'", "'") or digest in json.dumps(shown)

    original = Path("release/certificate.json").read_bytes()
    for change, sentence in (
        (lambda p: p["not_protected"].remove(stated.unprotected), "does not say so among its not_protected"),
        (lambda p: p["assumptions"].remove(stated.assumption), "does not say so among its assumptions"),
        (lambda p: p["public_table"].update(rows=0), "public table must be a whole number"),
        (lambda p: p["public_table"].update(rows=301), "names a public table"),
        (lambda p: p["public_table"].update(name="/home/me/x.csv"), "without a folder"),
        (lambda p: p["public_table"].update(sha256="00"), "digest of a public table"),
        (lambda p: p["public_table"].update(note="approved"), "told by its name"),
        (lambda p: p.update(public_table=None), "told by its name"),
        (lambda p: p.update(public_table=["x"]), "told by its name"),
        (lambda p: p.pop("public_table"), "is not what dpsynth"),
    ):
        Path("release/certificate.json").write_bytes(original)
        forged(Path("release"), change)
        found = verify("release", {})
        assert found.exit_code == 1
        assert sentence in found.findings[-1].text, found.findings[-1]


@pytest.mark.parametrize("name", ["", "a/b.csv", "a\\b.csv", "..", "x\n.csv", "x" * 201, None])
def test_a_public_table_goes_by_a_plain_name(name):
    with pytest.raises(PlanError, match="goes by the name of its file"):
        PublicTable(name, "5c" * 32, 10)


def test_one_call_takes_them_too(public):
    release = dp.synthesize(table(), schema(), epsilon=1, generator=dp.MADE(**SMALL), public=public, rows=20)
    said = copy.deepcopy(release.certificate["predicate"])
    assert said["public_table"]["rows"] == 300

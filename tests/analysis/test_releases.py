"""Release folders analysed: files, refits, tables and the command."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from accountants.certificate import sign
from accountants.dsse import Envelope
from accountants.keys import Keyring
from dpsynth.analysis import Analysis, combine
from dpsynth.analysis.refits import Refits
from dpsynth.cli import main
from dpsynth.errors import BundleError, NotSupported
from dpsynth.measurement import NoisyCounts, NoisyMoments, Score
from dpsynth.release.measurements import Measurements, dump, load
from dpsynth.release.verification import read_signed


def run(*words):
    return CliRunner().invoke(main, ["analyse", *map(str, words)])


def test_the_file_gives_back_what_was_written():
    map_ = np.array([0, 0, 1])
    said = Measurements(
        dataset="d",
        generator="aim",
        parameters={"smoothing": 0.2},
        total=10.5,
        answers=(
            NoisyCounts(("a",), np.array([3, -1, 2]), 1.25),
            NoisyCounts(("a", "b"), np.array([[1, 2], [-3, 4]]), 2.5, {"a": map_}),
            NoisyCounts(("a", "c"), np.array([[1], [2]]), 2.5, {"a": map_}),
            NoisyMoments((Score("a", map_), Score("b", map_)), 3, np.array([[1, 2], [2, 4]]), 0.5, 0.7),
        ),
        bags=(("a", "b"), ("c",)),
    )
    raw = dump(said)
    again = load(raw)
    assert dump(again) == raw
    assert (again.total, again.bags, again.parameters) == (10.5, said.bags, said.parameters)
    assert [answer.sigma for answer in again.answers] == [1.25, 2.5, 2.5, 0.5]
    np.testing.assert_array_equal(again.answers[1].values, said.answers[1].values)
    np.testing.assert_array_equal(again.answers[2].recoding["a"], map_)
    np.testing.assert_array_equal(again.answers[3].values, said.answers[3].values)
    assert raw.count(b"[0,0,1]") == 3  # a map is written once, beside the two scores


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"sigma":1.0', '"sigma":-1.0'),
        ('"sigma":1.0', '"sigma":NaN'),
        ('"values":[3,-1,2]', '"values":[3,-1]'),
        ('"values":[3,-1,2]', '"values":[3,-1,2.5]'),
        ('"total": 9.0', '"total": 0'),
        ('"shape":[3]', '"shape":[-3]'),
        ('"answers"', '"nothing"'),
    ],
)
def test_a_file_that_is_none_is_a_sentence(old, new):
    raw = dump(Measurements("d", "mst", {}, 9.0, (NoisyCounts(("a",), np.array([3, -1, 2]), 1.0),)))
    assert old.encode() in raw
    with pytest.raises(BundleError, match="cannot read the noisy measurements"):
        load(raw.replace(old.encode(), new.encode()))


@pytest.mark.parametrize("generator", ["mst", "aim", "independent"])
def test_the_folder_has_all_that_the_recipe_was_answered(released, generator):
    """Fitted to the answers as they are, the model is the released one: the table lies as it says."""
    analysis = Analysis.read(released(generator))
    model = Refits(analysis.schema, analysis.measurements, analysis.looked).model(None)
    assert model.total == pytest.approx(analysis.measurements.total, rel=1e-3)
    for clique in [("smoker",), ("stage",), ("age",), *([("stage", "smoker")] if generator != "independent" else [])]:
        counts = np.zeros(model.domain.shape_of(clique))
        np.add.at(counts, tuple(np.asarray(analysis.rows.codes[a]).astype(int) for a in clique), 1)
        expected = model.project(clique)
        assert 0.5 * np.abs(counts / counts.sum() - expected / expected.sum()).sum() < 0.01, clique


def test_refits_differ_as_the_noise_does(released):
    """The spread of refitted shares is that of the noise that a share is said to have."""
    analysis = Analysis.read(released("mst"), about="table")
    refits, rng = Refits(analysis.schema, analysis.measurements, analysis.looked), np.random.default_rng(0)
    shares = []
    for _ in range(30):
        counts = refits.model(rng).project(("smoker",))
        shares.append(counts[1] / counts[:2].sum())
    assert 0.6 < np.std(shares) / analysis.proportion("smoker=true").noise < 1.5


def test_tables_are_labelled_and_combine(released, tmp_path):
    said = run(released("mst"), "--tables", 3, "--write-tables", tmp_path / "tables")
    assert said.exit_code == 0, said.output
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "README.txt",
        *(f"synthetic-{i}.parquet" for i in (1, 2, 3)),
    ]
    assert b"SYNTHETIC" in pq.read_metadata(tmp_path / "tables" / "synthetic-2.parquet").metadata
    assert "(1 + 1/3)" in (tmp_path / "tables" / "README.txt").read_text()
    frames = [pd.read_parquet(tmp_path / "tables" / f"synthetic-{i}.parquet") for i in (1, 2, 3)]
    assert not frames[0].equals(frames[1])
    found = combine([f["age"].mean() for f in frames], [f["age"].var() / len(f) for f in frames])
    own = Analysis.read(released("mst")).mean("age")
    assert found.low < own.high
    assert own.low < found.high
    assert "not empty" in run(released("mst"), "--tables", 3, "--write-tables", tmp_path / "tables").output
    assert "tables must be at least 2" in run(released("mst"), "--tables", 1, "--write-tables", tmp_path / "one").output
    assert not (tmp_path / "one").exists()


def test_a_network_answers_questions_and_makes_no_tables(released):
    analysis = Analysis.read(released("mst"))
    said = Measurements("d", "made", {}, 9.0, analysis.measurements.answers)
    network = Analysis.made(analysis.schema, said, analysis.rows.frame)
    assert network.proportion("smoker=true").estimate == analysis.proportion("smoker=true").estimate
    with pytest.raises(NotSupported, match="a network cannot be trained anew without the rows"):
        network.tables(3)


def test_the_command_answers_and_says_what_it_cannot(released):
    folder = released("mst")
    said = run(folder, "--mean", "age", "--proportion", "sex=F", "--difference", "smoker by stage: III - I")
    assert said.exit_code == 0, said.output
    for words in ("mean age", "estimate", "naive", "why", "95% about the population", "rows times 2"):
        assert words in said.output
    refused = run(folder, "--mean", "aeg", "--mean", "cost")
    assert refused.exit_code == 1
    assert "not supported  the release has no column 'aeg'; did you mean 'age'?" in refused.output
    assert "mean cost" in refused.output
    menu = run(folder)
    assert menu.exit_code == 0
    assert "stage, smoker" in menu.output


def test_the_command_speaks_json(released):
    said = run(released("mst"), "--json", "--level", 0.9, "--about", "table", "--mean", "age", "--mean", "sex")
    body = json.loads(said.output)
    assert (body["level"], body["about"], body["synthetic"]) == (0.9, "table", True)
    first, second = body["answers"]
    assert first["low"] < first["estimate"] < first["high"]
    assert first["sampling"] == 0
    assert "categories" in second["reason"]
    assert second["supported"] is False


def test_answers_come_as_asked(released):
    words = ("--proportion", "sex=F", "--mean", "age", "--proportion", "sex=M", "--mean", "aeg")
    said = json.loads(run(released("mst"), "--json", *words).output)
    assert [each["asked"] for each in said["answers"]] == ["sex=F", "age", "sex=M", "aeg"]
    assert said["notes"] == []
    assert said["answers"][1]["shift"] == pytest.approx(10, abs=1)  # bins are 20 wide
    assert said["answers"][0]["shift"] == 0
    shown = run(released("mst"), *words).output
    assert shown.index("proportion sex=F") < shown.index("mean age") < shown.index("proportion sex=M")
    assert str(Analysis.read(released("mst")).mean("age")) in shown


def test_a_regression_has_one_heading(released):
    shown = run(released("mst"), "--regress", "smoker ~ stage").output
    assert shown.startswith("regression smoker ~ stage\n (constant)\n  estimate ")
    assert " stage=III (against I)\n  estimate " in shown
    assert shown.count("were counted, so shares are among the rows counted") == 1


def test_answers_beside_given_values_are_about_the_protected_table(released):
    words = (released("mst", given=True), "--proportion", "smoker=true")
    shown, said = run(*words).output, json.loads(run(*words, "--json").output)
    assert shown.startswith("The table was drawn with given values: answers are about all rows of the protected table")
    assert "not about those drawn" in said["notes"][0]
    assert said["answers"][0]["high"] < 0.5  # of those drawn, all smoke
    assert said["answers"][0]["naive"] is None


def test_tables_need_a_folder(released):
    said = run(released("mst"), "--tables", 5)
    assert said.exit_code == 2
    assert "--write-tables DIR" in said.output


def test_only_what_was_certified_is_read(released, tmp_path):
    folder = shutil.copytree(released("mst"), tmp_path / "release")
    raw = (folder / "measurements.json").read_bytes()
    (folder / "measurements.json").write_bytes(raw + b" ")
    assert "measurements.json is not the file that was certified" in run(folder, "--mean", "age").output
    (folder / "measurements.json").unlink()
    (folder / "measurements.json").symlink_to("/dev/zero")
    assert "measurements.json is a link" in run(folder, "--mean", "age").output
    (folder / "measurements.json").unlink()
    assert "it lacks measurements.json, which its certificate lists" in run(folder, "--mean", "age").output
    (folder / "schema.yaml").unlink()
    with pytest.raises(BundleError, match=r"it lacks schema\.yaml, which its certificate lists"):
        read_signed(folder, ("schema.yaml",))
    assert "cannot read the certificate" in run(tmp_path, "--mean", "age").output


def test_releases_before_measurements_lack_them(released, tmp_path):
    home = released("mst").parent
    folder = shutil.copytree(home / "release", tmp_path / "release")
    envelope = Envelope.from_bytes((folder / "certificate.json").read_bytes())
    statement = json.loads(envelope.payload)
    statement["subject"] = [each for each in statement["subject"] if each["name"] != "measurements.json"]
    key = Keyring(home / "keys").signing_key()
    (folder / "certificate.json").write_bytes(sign(statement, key))
    (folder / "measurements.json").unlink()
    assert "it lacks measurements.json, as releases before 0.2.0 do" in run(folder, "--mean", "age").output


def test_a_certificate_that_was_changed_vouches_for_nothing(released, tmp_path):
    folder = shutil.copytree(released("mst"), tmp_path / "release")
    raw = (folder / "measurements.json").read_bytes() + b" "
    (folder / "measurements.json").write_bytes(raw)
    envelope = json.loads((folder / "certificate.json").read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    for subject in statement["subject"]:
        if subject["name"] == "measurements.json":
            subject["digest"]["sha256"] = hashlib.sha256(raw).hexdigest()
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (folder / "certificate.json").write_text(json.dumps(envelope))
    assert "the signature does not match" in run(folder, "--mean", "age").output


def test_figures_beyond_sense_are_a_damaged_file(released):
    body = json.loads(dump(Analysis.read(released("mst")).measurements))
    for change in (
        lambda b: b.update(total=10**400),
        lambda b: b["answers"][0].update(sigma=10**400),
        lambda b: b["answers"][0].update(sigma=1e-320),
        lambda b: b["answers"][0]["values"].__setitem__(0, 2**70),
        lambda b: b["answers"][0]["values"].__setitem__(0, 2**60),
    ):
        changed = json.loads(json.dumps(body))
        change(changed)
        with pytest.raises(BundleError, match="cannot read the noisy measurements"):
            load(json.dumps(changed).encode())
    analysis = Analysis.read(released("mst"))
    strange = load(json.dumps(body | {"bags": [["zz"]]}).encode())
    with pytest.raises(NotSupported, match="another schema"):
        Analysis.made(analysis.schema, strange, analysis.rows.frame)


def test_the_page_runs_as_typed(released, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text("utf-8")
    monkeypatch.chdir(shutil.copytree(released("mst"), tmp_path / "release").parent)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(block, {})
    shown = [line[2:].split("#")[0] for line in re.findall(r"```console\n(.*?)```", page, re.DOTALL)[0].splitlines()]
    options = {name for parameter in main.commands["analyse"].params for name in parameter.opts}
    assert {word for line in shown for word in line.split() if word.startswith("--")} <= options


def test_a_file_that_anybody_wrote_is_a_sentence_at_worst(released):
    """Pieces of the file replaced at random, as a forger may: certified, since anybody can sign."""
    analysis = Analysis.read(released("mst"))
    body, rng = json.loads(dump(analysis.measurements)), np.random.default_rng(1)

    def change(part):
        keys = list(part) if isinstance(part, dict) else range(len(part))
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(part[key], dict | list) and part[key] and rng.random() < 0.8:
            change(part[key])
        else:
            part[key] = [None, -1, "x", 10**6, 3, 0, [], {}][int(rng.integers(8))]

    for _ in range(120):
        changed = json.loads(json.dumps(body))
        change(changed)
        try:
            forged = Analysis.made(analysis.schema, load(json.dumps(changed).encode()), analysis.rows.frame)
            forged.mean("age")
            forged.difference("smoker by stage: III - I")
        except (BundleError, NotSupported):
            pass

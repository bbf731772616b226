"""Real encounters with the patient as unit: a network trained from the command line, and what its certificate says."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from dpsynth.cli import main

pytest.importorskip("torch")

SCHEMA = Path(__file__).parents[1] / "data" / "diabetes130.yaml"
SMALL = "--set steps=5 --set hidden=0 --set batch=400 --set pairs_per_column=0.1"  # few steps: it is the event we read


def say(command, code=0):
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done


def test_the_event_of_a_training_on_patients_has_no_k_in_it(data_folder, tmp_path, monkeypatch):
    """Three encounters of a patient at most; the plan for one at most charges the same looks to the last digit."""
    monkeypatch.chdir(tmp_path)
    whole = pd.read_parquet(data_folder / "diabetes130.parquet")
    often = whole["patient_nbr"].value_counts()
    whole[whole["patient_nbr"].isin(often.index[:300])].to_parquet("encounters.parquet")  # each with ten and more
    once = re.sub("at_most: 3", "at_most: 1", SCHEMA.read_text())
    for name, text in (("three", SCHEMA.read_text()), ("one", once)):
        Path(f"{name}.yaml").write_text(text)
        made = f"plan --schema {name}.yaml --epsilon 1 --delta 1e-6 --generator made {SMALL}"
        Path(f"{name}.json").write_text(say(made).stdout)
    plans = [json.loads(Path(f"{name}.json").read_text())["claim"]["plan"] for name in ("three", "one")]
    assert plans[0] == plans[1]

    say("ledger open visits --epsilon 3 --delta 1e-6")
    refused = say("release encounters.parquet --plan three.json --dataset visits --out release", 4).stderr
    say(re.search(r"`dpsynth (ledger amend visits .*)`", refused)[1])  # the way out, as it is printed
    say("release encounters.parquet --plan three.json --dataset visits --out release --rows 500")
    assert "fail" not in say("verify release").stdout
    signed = json.loads(Path("release/certificate.json").read_text())["payload"]
    certified = json.loads(base64.b64decode(signed))["predicate"]
    (training,) = (event for event in certified["looks"]["charged"]["plan"] if event["kind"] == "subsampled_gaussian")
    (planned,) = (event for event in plans[0]["events"] if event["kind"] == "subsampled_gaussian")
    assert set(training) == {"count", "kind", "noise_multiplier", "sample_rate", "steps"}
    assert (training["count"], training["steps"], float(training["sample_rate"])) == (1, 5, 0.004)
    assert float(training["noise_multiplier"]) == float(planned["noise_multiplier"])
    page = " ".join(say("certificate release").stdout.split())
    assert "column: patient_nbr - at_most: 3" in page
    assert "gradients of a random part of the units, clipped for each unit" in page
    assert len(pd.read_parquet("release/synthetic.parquet")) == 500

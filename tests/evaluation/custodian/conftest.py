"""A release of a small table, split by unit, made once: real noise, a real ledger; and tables to evaluate at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accountants import Budget, Keyring, Ledger
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.evaluation.custodian.split import HOLDOUT, TRAIN, split
from dpsynth.generators import MST
from dpsynth.planned import plan
from dpsynth.release import FittedModel, ModelStore, admit
from dpsynth.schema import Schema
from dpsynth.session import fit

SCHEMA = """
name: stays
unit: patient
at_most: 2
about_rows: 1200
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  ward: {type: categorical, values: [north, south, east, "<b>west</b>"]}
  stage: {type: ordinal, values: [I, II, III]}
  smoker: {type: boolean}
  age: {type: integer, min: 0, max: 100, bins: 10}
  cost: {type: float, min: 0, max: 1000, bins: 8, missing: true}
  admitted: {type: date, min: 2020-01-01, max: 2022-12-31, bins: 6}
  days: {type: integer, min: 0, max: 400, bins: 10}
  died: {type: boolean}
"""


def schema() -> Schema:
    return Schema.loads(SCHEMA)


def rows(n: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Visits: cost and dying follow age and smoking, follow-up is shorter for smokers."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 101, n)
    smoker = rng.random(n) < 0.3
    risk = np.exp((age - 50) / 40 + smoker)
    days = rng.exponential(200 / risk)
    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in rng.integers(0, max(1, n * 2 // 3), n)],
            "sex": rng.choice(["F", "M", None], n, p=[0.5, 0.45, 0.05]),
            "ward": rng.choice(["north", "south", "east", "<b>west</b>"], n),
            "stage": np.where(smoker & (rng.random(n) < 0.7), "III", rng.choice(["I", "II"], n)),
            "smoker": smoker,
            "age": age,
            "cost": np.where(rng.random(n) < 0.1, np.nan, np.clip(age * 8 + rng.normal(0, 50, n), 0, 1000).round(2)),
            "admitted": np.datetime64("2020-01-01") + rng.integers(0, 1000, n),
            "days": np.minimum(days, 400).astype(int),
            "died": days < np.minimum(400, rng.exponential(300, n)),
        }
    )


def tables_of(synthetic: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, of: Schema | None = None) -> Tables:
    return read_tables(of or schema(), synthetic, train, holdout, np.random.default_rng(0))[0]


def released(n: int = 600, seed: int = 3) -> pd.DataFrame:
    """Rows like the real ones, without the unit."""
    return rows(n, seed).drop(columns="patient")


@dataclass(frozen=True)
class Place:
    """A home with a ledger, a split table, and a release of one part of it."""

    home: Path
    keys: Keyring
    ledger: Ledger
    model: FittedModel
    release: Path
    train: Path
    holdout: Path


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("custodian")
    before = os.environ.get("DPSYNTH_HOME")
    os.environ["DPSYNTH_HOME"] = str(folder / "home")
    try:
        keys = Keyring(folder / "home" / "keys")
        ledger = Ledger(f"sqlite:///{folder / 'home' / 'ledger.db'}", keys.signing_key(create=True))
        parts = split(rows(), schema(), 0.25, folder / "split", seed=1)
        account = ledger.open("stays", Budget(3, "1e-8"))
        store = ModelStore(folder / "home" / "models")
        model = fit(plan(MST(), schema(), Budget(1)), parts / TRAIN, account, store=store)
        release = admit(model.sample(900, seed=1), account).write(folder / "release")
    finally:
        if before is None:
            del os.environ["DPSYNTH_HOME"]
        else:
            os.environ["DPSYNTH_HOME"] = before
    return Place(folder / "home", keys, ledger, model, release, parts / TRAIN, parts / HOLDOUT)


@pytest.fixture
def at_home(place, monkeypatch) -> Place:
    """The place, with its home as this process's."""
    monkeypatch.setenv("DPSYNTH_HOME", str(place.home))
    return place

"""A real run on a small table, made once: real noise, a real ledger, a real model store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accountants import Account, Budget, Keyring, Ledger
from dpsynth.columns import Boolean, Categorical, Integer
from dpsynth.generators import MST
from dpsynth.planned import plan
from dpsynth.release import FittedModel, ModelStore, admit
from dpsynth.schema import Schema
from dpsynth.session import fit

SCHEMA = Schema(
    columns=(
        Categorical(name="ward", values=("north", "south", "east")),
        Integer(name="age", min=0, max=99, bins=10, missing=True),
        Boolean(name="smokes"),
    ),
    name="patients",
    unit="patient",
    at_most=2,
    about_rows=3000,
)


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    """A table with more `east` than the others and some cells outside the schema."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient": rng.integers(0, n // 2 + 1, n),
            "ward": rng.choice(["north", "south", "east", "atlantis"], n, p=[0.2, 0.2, 0.4, 0.2]),
            "age": rng.integers(0, 100, n),
            "smokes": rng.random(n) < 0.3,
        }
    )


@dataclass(frozen=True)
class Place:
    """A home with a ledger, an account and a fitted model."""

    folder: Path
    keys: Keyring
    account: Account
    model: FittedModel


def make(folder: Path, n: int = 3000) -> Place:
    """A fitted model in a folder of its own."""
    keys = Keyring(folder / "keys")
    key = keys.signing_key(create=True)
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}", key)
    account = ledger.open("clinic", Budget(3, "1e-8"))
    model = fit(plan(MST(), SCHEMA, Budget(1)), rows(n), account, store=ModelStore(folder / "models"))
    return Place(folder, keys, account, model)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    return make(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="session")
def release(place):
    return admit(place.model.sample(500, seed=1), place.account)


@pytest.fixture(scope="session")
def written(release, tmp_path_factory) -> Path:
    return release.write(tmp_path_factory.mktemp("written") / "release")


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A fresh copy of the release, to be broken."""
    return Path(shutil.copytree(written, tmp_path / "release"))

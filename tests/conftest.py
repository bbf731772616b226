"""Shared fixtures: where real tables are, and a home of its own for every test."""

import gc
import os
from pathlib import Path

import pytest


def pytest_collection_finish() -> None:
    """What was collected lives to the end: no later garbage collection looks through thousands of tests again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real benchmark tables; skips where there is none."""
    folder = Path(os.environ.get("DPSYNTH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no benchmark tables at DPSYNTH_DATA ({folder.name} is absent)")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    """A fresh DPSYNTH_HOME, so that no test sees another's ledger or keys."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DPSYNTH_HOME", str(folder))
    return folder

"""The benchmark harness: a cell is a real process, the record survives between runs, what takes too long is said so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

MANY_ROUNDS = json.dumps({"rounds_per_column": 10_000.0, "anneal": 1.0001})
SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "benchmark.py"


@pytest.fixture
def data(tmp_path):
    """A public table of nine flags: the fewest columns that have 64 triples."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame({f"x{i}": rng.integers(0, 2, 500) for i in range(9)})
    table.to_parquet(tmp_path / "adult_coded.parquet")
    (tmp_path / "adult_coded_domain.json").write_text(json.dumps(dict.fromkeys(table.columns, 2)))
    return tmp_path


def bench(data, *arguments):
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--out", str(data / "record.parquet"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cells_are_run_once_measured_and_drawn(data):
    ran = bench(data, "--methods", "independent", "--epsilons", "10", "--seeds", "2", "--jobs", "2")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("2-way") == 2
    record = pd.read_parquet(data / "record.parquet")
    assert set(record["seed"]) == {0, 1}
    assert record["two_way"].between(0, 0.2).all()
    assert (record["peak_mb"] > 20).all()
    assert (record["version"].str.startswith("dpsynth ")).all()
    assert bench(data, "--methods", "independent", "--epsilons", "10", "--seeds", "2").stdout == ""
    drawn = bench(data, "--figures")
    assert drawn.returncode == 0, drawn.stderr
    assert all(Path(line).read_text().startswith("<?xml") for line in drawn.stdout.split())


def test_what_fails_or_takes_too_long_is_on_record_with_the_reason(data):
    assert bench(data, "--methods", "aim", "--settings", MANY_ROUNDS, "--epsilons", "10", "--cap", "1").returncode == 0
    assert bench(data, "--methods", "witchcraft", "--epsilons", "10").returncode == 0
    record = pd.read_parquet(data / "record.parquet").set_index("method")
    assert record.loc["aim", "note"] == "stopped at the cap of 1 CPU seconds"
    assert "witchcraft" in record.loc["witchcraft", "note"]
    assert record["two_way"].isna().all()


def test_another_library_needs_its_python(data):
    asked = bench(data, "--libraries", "dpmm", "--methods", "mst")
    assert asked.returncode == 2
    assert "--python dpmm=PATH" in asked.stderr

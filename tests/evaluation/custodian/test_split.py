"""A split keeps units whole, says that it is private, and appears whole or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dpsynth import private
from dpsynth.cli import main
from dpsynth.errors import BundleError, SourceError
from dpsynth.evaluation.custodian.split import HOLDOUT, TRAIN, split
from dpsynth.schema import Schema
from tests.evaluation.custodian.conftest import SCHEMA, rows, schema


def parts(folder) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_parquet(folder / TRAIN), pd.read_parquet(folder / HOLDOUT)


def test_units_stay_whole_and_every_row_is_somewhere(tmp_path):
    table = rows(800).assign(extra=1)
    table.loc[:9, "patient"] = None
    table.loc[10:12, "patient"] = [" P1 ", "p1", "P1"]  # one unit, three spellings
    train, holdout = parts(split(table, schema(), 0.25, tmp_path / "split"))
    folded = [set(part["patient"].dropna().str.strip().str.lower()) for part in (train, holdout)]
    assert not folded[0] & folded[1]
    assert len(train) + len(holdout) == len(table)
    assert holdout["patient"].notna().all()
    assert train["patient"].isna().sum() == 10
    assert len(folded[1]) == round(0.25 * len(folded[0] | folded[1]))
    assert list(train.columns) == list(table.columns)


def test_rows_are_units_where_none_is_named(tmp_path):
    of = Schema.loads(SCHEMA.replace("unit: patient\nat_most: 2\n", ""))
    train, holdout = parts(split(rows(400), of, 0.1, tmp_path / "split"))
    assert (len(train), len(holdout)) == (360, 40)


def test_the_choice_repeats_with_a_seed_alone(tmp_path):
    folders = [split(rows(300), schema(), 0.5, tmp_path / str(i), seed=seed) for i, seed in enumerate([1, 1, 2, None])]
    held = [pd.read_parquet(folder / HOLDOUT)["patient"].tolist() for folder in folders]
    assert held[0] == held[1] != held[2]
    assert held[3] not in held[:3]


def test_files_are_stamped_and_their_owners_alone(tmp_path):
    folder = split(rows(100), schema(), 0.25, tmp_path / "split")
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.name.startswith("PRIVATE-")
        assert private.is_private(path)
        assert private.is_private(path.read_bytes())
    read = pq.read_table(folder / TRAIN)
    assert all(field.metadata[b"PRIVATE"] for field in read.schema)
    assert private.MARK in pd.read_parquet(folder / HOLDOUT).attrs
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_in_use_is_left_as_it_is(tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "mine").write_text("mine")
    with pytest.raises(BundleError, match="not empty"):
        split(rows(50), schema(), 0.25, tmp_path / "split")
    assert [path.name for path in (tmp_path / "split").iterdir()] == ["mine"]


def test_never_into_a_release_folder(at_home):
    with pytest.raises(BundleError, match="handed out"):
        split(rows(50), schema(), 0.25, at_home.release / "split")
    assert not (at_home.release / "split").exists()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 25.0, float("nan")])
def test_shares_out_of_bounds(share, tmp_path):
    with pytest.raises(BundleError, match="above 0 and below 1"):
        split(rows(50), schema(), share, tmp_path / "split")


def test_a_table_without_the_unit(tmp_path):
    with pytest.raises(SourceError, match="unit column 'patient'"):
        split(rows(50).drop(columns="patient"), schema(), 0.25, tmp_path / "split")


def test_a_table_without_rows(tmp_path):
    train, holdout = parts(split(rows(50).iloc[:0], schema(), 0.25, tmp_path / "split"))
    assert len(train) == len(holdout) == 0


def test_the_command(tmp_path):
    rows(200).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    args = ["split", str(tmp_path / "table.csv"), "--schema", str(tmp_path / "schema.yaml"), "--holdout", ".25"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    said = f"Wrote {tmp_path / 'PRIVATE-split'}: real rows, private. Release from PRIVATE-train.parquet.\n"
    assert result.output == said  # and no number of rows
    train, holdout = parts(tmp_path / "PRIVATE-split")
    assert len(train) + len(holdout) == 200
    assert np.isin(train["ward"], ["north", "south", "east", "<b>west</b>"]).all()
    again = CliRunner().invoke(main, args)
    assert (again.exit_code, "not empty" in again.output, "release" in again.output) == (1, True, False)

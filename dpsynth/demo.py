"""The main job on real data: from the RAND Health Insurance Experiment to a release folder, and to a refusal."""

from __future__ import annotations

import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np

from accountants import Budget, GateRefused, Keyring, Ledger
from dpsynth.console import progress
from dpsynth.errors import SourceError
from dpsynth.generators import AIM
from dpsynth.measurement import NoisyCounts
from dpsynth.planned import plan
from dpsynth.release import ModelStore, Release, admit, verify
from dpsynth.schema import Schema
from dpsynth.session import fit

DATASET = "rand-hie"
LIFETIME = Budget("1.25", "1e-9")
BUDGET = Budget(1, "1e-9")


def rows_file() -> Path:
    """The table inside the statsmodels package: 20,190 person-years of 5,912 persons, public domain.

    Raises:
        SourceError: the package is not installed.
    """
    spec = find_spec("statsmodels")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SourceError("the demo's table ships with statsmodels, which is not installed; pip install 'dpsynth[demo]'")
    return Path(places[0]) / "datasets" / "randhie" / "src" / "randhie.csv"


def demo_schema() -> Schema:
    """The schema of the demo's twelve columns."""
    return Schema.loads((files("dpsynth") / "demo_schema.yaml").read_text(encoding="utf-8"))


def run(out: Path) -> None:
    """Do it all in a folder of its own: ``home`` (ledger, keys, models) and ``release``."""
    table, schema = rows_file(), demo_schema()
    folder = _fresh(out)
    keys = Keyring(folder / "home" / "keys")
    ledger = Ledger(
        f"sqlite:///{folder / 'home' / 'ledger.db'}", keys.signing_key(create=True), anchor=folder / "home.anchor"
    )
    store = ModelStore(folder / "home" / "models")
    account = ledger.open(DATASET, LIFETIME)
    click.echo(f"Opened the account of {DATASET}: lifetime {LIFETIME}.\n")

    planned = plan(AIM(), schema, BUDGET)
    click.echo("The plan, made without reading a row:")
    for line in planned.describe():
        click.echo(f"  {line}")
    start = time.perf_counter()
    with progress():
        model = fit(planned, table, account, store=store)
        release = admit(model.sample(), account)
        place = release.write(folder / "release")
    click.echo(f"\nReleased in {time.perf_counter() - start:.0f} s: {place}")
    for file in sorted(place.iterdir()):
        click.echo(f"  {file.name:<20} {file.stat().st_size:>9,} bytes")
    _spent(model.transcript)
    _fits(release, model.transcript, schema)

    click.echo("\nWhat a receiver sees:")
    for finding in verify(place, keys.trusted()).findings:
        click.echo(f"  {finding}")
    click.echo(f"\nA second release of {BUDGET} on the same account:")
    try:
        fit(plan(AIM(), schema, BUDGET), table, account, store=store)
    except GateRefused as refused:
        click.echo(f"  Refused ({refused.rule}): {refused.reason}\n  {refused.way_out}")
    click.echo(
        f"\nTry: DPSYNTH_HOME={folder / 'home'} dpsynth sample {place} --rows 50000 --out {folder / 'more'}"
        f"\n     DPSYNTH_HOME={folder / 'home'} dpsynth ledger show"
    )

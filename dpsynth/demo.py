"""The main job on real data: from the RAND Health Insurance Experiment to a release folder, and to a refusal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import click
import numpy as np

from accountants import Budget, Claim, GateRefused, Keyring, Ledger
from dpsynth.console import progress
from dpsynth.errors import BundleError, SourceError
from dpsynth.generators import AIM
from dpsynth.measurement import Answer, NoisyCounts, Selected
from dpsynth.planned import plan
from dpsynth.release import ModelStore, Release, admit, verify
from dpsynth.release.report.verdicts import Verdict
from dpsynth.schema import Schema
from dpsynth.session import fit

DATASET = "rand-hie"
LIFETIME = Budget("1.25", "1e-9")
BUDGET = Budget(1, "1e-9")
_VERDICTS = {
    Verdict.AGREES: "agree",
    Verdict.CONTRADICTS: "contradict them",
    Verdict.TOO_NOISY: "too noisy to tell",
}


def rows_file() -> Path:
    """The table inside the statsmodels package: 20,190 person-years of 5,912 persons, public domain.

    Raises:
        SourceError: the package is not installed.
    """
    spec = find_spec("statsmodels")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SourceError("the demo's table ships with statsmodels, not found here; pip install 'dpsynth[demo]'")
    return Path(places[0]) / "datasets" / "randhie" / "src" / "randhie.csv"


def demo_schema() -> Schema:
    """The schema of the demo's twelve columns."""
    return Schema.loads((files("dpsynth") / "demo_schema.yaml").read_text(encoding="utf-8"))


def run(out: Path) -> None:
    """Do it all in a folder of its own: ``home`` (ledger, keys, models) and ``release``."""
    table, schema = rows_file(), demo_schema()
    folder = _fresh(out)
    if folder != out:
        click.echo(f"{out} exists already, so this demo goes to {folder}.")
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
    _spent(model.transcript, planned.claim)
    _fits(release)

    click.echo("\nWhat a receiver sees:")
    for finding in verify(place, keys.trusted()).findings:
        click.echo(f"  {finding}")
    click.echo(f"\nA second release of {BUDGET} on the same account:")
    try:
        fit(plan(AIM(), schema, BUDGET), table, account, store=store)
    except GateRefused as refused:
        click.echo(f"  Refused ({refused.rule}): {refused.reason}\n  {refused.way_out}")
    click.echo("\nTry:")
    for line in _tries(folder.resolve()):
        click.echo(f"  {line}")


def _tries(folder: Path) -> list[str]:
    """Lines to paste, each on the demo's own home and anchor."""
    home, anchor, place, more = (str(folder / name) for name in ("home", "home.anchor", "release", "more"))
    settings = f"DPSYNTH_HOME={quote(home)} DPSYNTH_ANCHOR={quote(anchor)} {quote(sys.argv[0] or 'dpsynth')}"
    commands = (
        f"verify {quote(place)}",
        f"sample {quote(place)} --rows 50000 --out {quote(more)}",
        f"ledger show {DATASET}",
    )
    return [f"{settings} {command}" for command in commands]


def _fresh(out: Path) -> Path:
    """`out`, or the first of out-2, out-3 ... that is free.

    Raises:
        BundleError: it cannot be made.
    """
    folder, number, reason = out, 1, None
    try:
        while folder.exists():
            number += 1
            folder = out.with_name(f"{out.name}-{number}")
        folder.mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason is not None:
        raise BundleError(f"cannot write to {folder.absolute()} ({reason}); choose another folder")
    return folder


def _spent(transcript: tuple[Answer, ...], claim: Claim) -> None:
    """What each look cost, as a share of the release's mu squared."""
    k, capacity = claim.unit.at_most, float(claim.capacity)
    counts = [answer for answer in transcript if isinstance(answer, NoisyCounts)]
    click.echo("\nWhat was spent on what (share of mu squared, noise in rows):")
    shares = {a: (k / a.sigma) ** 2 / capacity for a in counts}
    ones = [a for a in counts if len(a.clique) == 1]
    more = [a for a in counts if len(a.clique) > 1]
    click.echo(f"  {sum(shares[a] for a in ones):6.1%}  {len(ones)} one-way margins, noise of {ones[0].sigma:.0f} rows")
    for answer in sorted(more, key=lambda a: -shares[a])[:8]:
        click.echo(f"  {shares[answer]:6.1%}  {' x '.join(answer.clique)}, noise of {answer.sigma:.0f} rows")
    if len(more) > 8:
        rest = sorted(shares[a] for a in more)[:-8]
        click.echo(f"  {sum(rest):6.1%}  {len(rest)} further margins")
    chosen = sum(isinstance(answer, Selected) for answer in transcript)
    click.echo(f"  {1 - sum(shares.values()):6.1%}  {chosen} private selections of what to measure")


def _fits(release: Release) -> None:
    """How far the release is from the noisy measurements, beside what their noise alone explains."""
    report = release.evidence
    single = [column.fit for column in report.columns if column.fit is not None]
    click.echo(f"\nThe release ({report.draw.rows:,} rows) beside the noisy measurements (total variation distance):")
    for what, margins in (("columns", single), ("pairs", list(report.joint))):
        if margins:
            distance, noise = np.mean([m.distance for m in margins]), np.mean([m.noise for m in margins])
            told = Counter(margin.verdict for margin in margins)
            click.echo(
                f"  {len(margins):3} {what}: {distance:.3f} on average, noise alone explains {noise:.3f}; "
                + ", ".join(f"{told[verdict]} {words}" for verdict, words in _VERDICTS.items())
            )

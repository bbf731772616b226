"""The command line: each command is a few lines over the same functions the Python API has.

Commands import what they need when they run, so that help is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dpsynth.cli.analysing import analyse
from dpsynth.cli.auditing import audit
from dpsynth.cli.evaluating import evaluate, split
from dpsynth.cli.inspecting import inspect_
from dpsynth.cli.keyrings import keys
from dpsynth.cli.ledgers import ledger
from dpsynth.cli.options import GENERATOR_NAMES
from dpsynth.cli.planning import plan, profile
from dpsynth.cli.receiving import certificate, verify_
from dpsynth.cli.releasing import release
from dpsynth.cli.sampling import sample
from dpsynth.cli.schemas import schema
from dpsynth.console import one_sentence

EPILOG = """\b
A first release:
  dpsynth schema draft codebook.csv > patients.yaml
  dpsynth ledger open hie-2026 --epsilon 3 --delta 1e-8
  dpsynth release patients.parquet --schema patients.yaml --epsilon 1 --dataset hie-2026 --out release/
  dpsynth verify release/
"""


class Commands(click.Group):
    """A group whose errors are one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with one_sentence():
            return super().invoke(ctx)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--ledger",
    metavar="URL",
    help="Ledger address, e.g. sqlite:///ledger.db or postgresql://me@host/db. "
    "[default: $DPSYNTH_LEDGER or in the home folder]",
)
@click.option(
    "--anchor",
    metavar="FILE|URL",
    help="File or second database outside the ledger that notes its head. [default: $DPSYNTH_ANCHOR]",
)
@click.version_option(package_name="dpsynth")
@click.pass_context
def main(ctx: click.Context, ledger: str | None, anchor: str | None) -> None:
    """Synthetic tables under differential privacy, with a ledger, a release gate and a certificate.

    Ledger, keys and models live in $DPSYNTH_HOME. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unknown signer
    (verify), 4 refused by the gate, 130 interrupted.
    """
    ctx.obj = {"ledger": ledger, "anchor": anchor}


@click.command(short_help="The main job on real data.", epilog="Example: dpsynth demo --out dpsynth-demo")
@click.option("--out", type=click.Path(), default="dpsynth-demo", show_default=True, help="Folder to write.")
def demo(out: str) -> None:
    """The main job on real data: RAND Health Insurance Experiment, AIM at epsilon 1, a release and a refusal."""
    from dpsynth.demo import run

    run(Path(out))


_COMMANDS = (
    *(inspect_, plan, profile, release, sample, verify_, certificate, analyse),
    *(schema, ledger, keys, split, evaluate, audit, demo),
)
for _command in _COMMANDS:
    main.add_command(_command)

__all__ = ["GENERATOR_NAMES", "main"]

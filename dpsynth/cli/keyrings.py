"""``dpsynth keys``: the signing key and the keys trusted."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(epilog="Example: dpsynth keys show > hospital.pem")
def keys() -> None:
    """The signing key and the keys trusted."""


@keys.command(name="new", short_help="Make this home's signing key.", epilog="Example: dpsynth keys new")
def new_key() -> None:
    """Make this home's signing key. There is one, and it is never overwritten."""
    from dpsynth.home import keyring

    ring = keyring()
    public = ring.new_signing_key().public
    click.echo(f"Made key {public.key_id} in {ring.signing_path}.")


@keys.command(
    name="show", short_help="Print this home's public key.", epilog="Example: dpsynth keys show > hospital.pem"
)
def show_keys() -> None:
    """Print this home's public key, to hand to receivers and colleagues."""
    from dpsynth.home import keyring

    public = keyring().signing_key().public
    click.echo(f"key id {public.key_id}", err=True)
    click.echo(public.pem(), nl=False)


TRUST = """\b
Examples:
  dpsynth keys trust hospital.pem
  dpsynth keys trust --writer colleague.pem
"""


@keys.command(name="trust", short_help="Trust a signer.", epilog=TRUST)
@click.argument("pem", type=click.Path())
@click.option("--writer", is_flag=True, help="Believe its rows in a shared ledger, not its certificates.")
def trust(pem: str, writer: bool) -> None:
    """Trust the signer whose public key is in the file PEM."""
    from accountants.errors import KeyFileError
    from dpsynth.home import keyring

    try:
        text = Path(pem).read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    if not text:
        raise KeyFileError(f"cannot read a public key from {pem!r}; give a PEM file printed by 'dpsynth keys show'")
    key = keyring().trust(text, writer=writer)
    click.echo(f"Trusted {key.key_id} as a {'writer of the ledger' if writer else 'publisher'}.")

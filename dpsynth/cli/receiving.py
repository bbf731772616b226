"""``dpsynth verify`` and ``dpsynth certificate``: what a receiver does with a release folder."""

from __future__ import annotations

import sys

import click

VERIFY = """\b
Example: dpsynth verify release/
Exit code 0: intact, known signer. 3: intact, unknown signer. 1: broken.
"""


@click.command(name="verify", short_help="Check a release folder.", epilog=VERIFY)
@click.argument("folder", type=click.Path())
def verify_(folder: str) -> None:
    """Check a release folder: files, signature, and that its events imply its epsilon."""
    from dpsynth.home import keyring
    from dpsynth.release import verify

    found = verify(folder, keyring().trusted())
    for line in found.findings:
        click.echo(line)
    sys.exit(found.exit_code)


@click.command(short_help="Print what a certificate says.", epilog="Example: dpsynth certificate release/")
@click.argument("folder", metavar="RELEASE", type=click.Path())
@click.option("--html", "page", type=click.Path(), help="Write the page for people to this new file instead.")
def certificate(folder: str, page: str | None) -> None:
    """Print what the certificate of a release says. It is read, not checked: 'dpsynth verify' checks."""
    from dpsynth.release import read_certificate, write_page

    if page is None:
        click.echo(read_certificate(folder), nl=False)
    else:
        click.echo(f"Wrote {write_page(folder, page)}.")
    click.echo(f"Not checked here; run 'dpsynth verify {folder}'.", err=True)

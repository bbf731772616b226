"""What only the custodian knows about a release: who, why, for whom. Declared words, for the certificate alone.

They are never computed from rows, never written to the ledger and never believed: the certificate prints them as
declared, beside what the software can vouch for. docs/certificate.md has an example file.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from accountants.errors import AccountingError

NOT_DECLARED = "not declared"
MOST_CHARACTERS = 2000
MOST_BYTES = 256 * 1024
DIGITS = 2
"""Significant digits that a declared number of units may have: more would be a count of the private table."""

ASKS: Mapping[str, str] = {
    "name": "Name of the data product",
    "curator": "Curator: who publishes it",
    "curator_type": "Kind of organisation",
    "contact": "Contact",
    "description": "What it is",
    "intended_use": "Intended use",
    "region": "Region described, or whose law applies",
    "sector": "Sector",
    "population": "Whose data, from where and when",
    "about_units": "About how many units, from public knowledge",
    "data_source": "Whether new rows come in over time",
    "sensitivity": "How sensitive the source data are",
    "collection": "Why and how the source data were collected, and what was left uncollected",
    "legal_basis": "Legal basis",
    "trust": "Who may see what, and why they are trusted",
    "security": "How the source data are secured, and who has access",
    "preparation": "What was done with the source data before, and how settings were chosen",
    "justification": "Why this epsilon, delta, unit and generator",
    "further_releases": "Further releases planned from the same data",
    "other_releases": "Other releases from the same data, outside this account",
    "utility": "What the data were found good for",
    "bias": "Known bias, and groups too small to be described well",
    "sources": "Where more is written",
}
"""Every field with what it asks, in the order in which a certificate shows them."""

_NAMES = frozenset({"curator", "contact", "sources"})
"""Fields that may quote a name with any word in it."""


class DeploymentError(AccountingError, ValueError):
    """A declaration that cannot be read, or that a certificate may not carry."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The custodian's own words, each optional; `ASKS` says what each field asks.

    Texts of at most 2000 printing characters; line breaks become spaces. `about_units` is a whole number of at
    most two significant digits, from public knowledge: a count of the private table would be private.

    Raises:
        DeploymentError: not text, too long, with characters that do not print, a number that is too exact, or
            a text that calls the data anonymous: a certificate says what is bounded, and no more.
    """

    name: str | None = None
    curator: str | None = None
    curator_type: str | None = None
    contact: str | None = None
    description: str | None = None
    intended_use: str | None = None
    region: str | None = None
    sector: str | None = None
    population: str | None = None
    about_units: int | None = None
    data_source: str | None = None
    sensitivity: str | None = None
    collection: str | None = None
    legal_basis: str | None = None
    trust: str | None = None
    security: str | None = None
    preparation: str | None = None
    justification: str | None = None
    further_releases: str | None = None
    other_releases: str | None = None
    utility: str | None = None
    bias: str | None = None
    sources: str | None = None

    def __post_init__(self) -> None:
        for name in ASKS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _rounded(value) if name == "about_units" else _text(name, value))

    def to_json(self) -> dict[str, str]:
        """Every field as text; what was left out is ``not declared``."""
        return {name: NOT_DECLARED if getattr(self, name) is None else str(getattr(self, name)) for name in ASKS}

    @classmethod
    def from_json(cls, body: object) -> Deployment:
        """A declaration from a mapping of fields.

        Raises:
            DeploymentError: not a mapping, an unknown field, or see the class.
        """
        if not isinstance(body, Mapping):
            raise DeploymentError(f"a deployment is a mapping of fields, got {type(body).__name__}")
        for key in body:
            if key not in ASKS:
                near = difflib.get_close_matches(str(key), ASKS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ASKS)}"
                raise DeploymentError(f"unknown field {str(key)[:60]!r} in the deployment; {hint}")
        return cls(**body)

    @classmethod
    def from_stated(cls, body: Mapping[str, str]) -> Deployment:
        """The inverse of `to_json`.

        Raises:
            DeploymentError, ValueError: not what `to_json` makes.
        """
        given = {name: text for name, text in body.items() if text != NOT_DECLARED}
        units = given.pop("about_units", None)
        return cls.from_json(given if units is None else {**given, "about_units": int(units)})

    @classmethod
    def from_yaml(cls, path: Path | str) -> Deployment:
        """Read a deployment file.

        Raises:
            DeploymentError: unreadable, not YAML, or see the class; the message names the file and the field.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise DeploymentError(f"the deployment {path} is larger than {MOST_BYTES // 1024} KiB; shorten it")
            body = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DeploymentError(f"cannot read the deployment {path} ({error.strerror})") from None
        except DeploymentError:
            raise
        except (YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f" near line {mark.line + 1}" if mark is not None else ""
            raise DeploymentError(f"the deployment {path} is not YAML{line}; see docs/certificate.md") from None
        try:
            return cls.from_json({} if body is None else body)
        except DeploymentError as error:
            raise DeploymentError(f"{path}: {error}") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise DeploymentError(f"{name} must be text, got {type(value).__name__}; put it in quotes")
    text = " ".join(value.split())
    if not 0 < len(text) <= MOST_CHARACTERS:
        raise DeploymentError(f"{name} must have 1 to {MOST_CHARACTERS} characters, got {len(text)}")
    if not text.isprintable():
        raise DeploymentError(f"{name} holds characters that do not print; leave them out")
    if name not in _NAMES and re.search("anonym", text, re.IGNORECASE):
        raise DeploymentError(
            f"{name} calls something anonymous, which a certificate never does; say what was done instead"
        )
    return text


def _rounded(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10**12:
        raise DeploymentError("about_units must be a whole number such as 20000, from public knowledge")
    if len(str(value).rstrip("0")) > DIGITS:
        raise DeploymentError(
            f"about_units may have {DIGITS} significant digits, such as 20000 or 1300000: how many units there are "
            "exactly is private; give a rounded figure that was public before"
        )
    return value


assert tuple(ASKS) == tuple(field.name for field in dataclasses.fields(Deployment))

__all__ = ["ASKS", "NOT_DECLARED", "Deployment", "DeploymentError"]

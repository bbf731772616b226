"""What a column's name and kind suggest about it: a heuristic, and no substitute for someone who knows the data.

The direct identifiers are those of the HIPAA safe harbour (45 CFR 164.514(b)(2)); the sensitive ones are the special
categories of the GDPR (article 9), and money.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from dpsynth.columns import Categorical, ColumnBase, Date, Datetime

MANY_VALUES = 1000
"""Listed values from which a column names people, or something as fine."""
FINE_KEY = 100
"""Cells from which a name that ends like a key suggests one; a code of a few kinds is none."""


class Role(StrEnum):
    """What a column may be to someone who wants to recognise a person."""

    DIRECT = "direct identifier"
    """It names somebody."""
    QUASI = "quasi-identifier"
    """With a few others like it, it singles people out: what neighbours, employers and registers know."""
    SENSITIVE = "sensitive"
    """What nobody should learn of a person."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """A role, and why.

    Attributes:
        role: the role.
        because: what of the name or the kind suggests it.
    """

    role: Role
    because: str


_WORDS = {
    Role.DIRECT: """name surname lastname firstname fullname forename email mail phone telephone mobile fax address
        street ssn nino passport mrn iban account licence license vin plate url ip imei mac uuid guid fingerprint photo
        picture signature username login nhs medicare insured beneficiary""",
    Role.QUASI: """age born birth birthday birthdate dob sex gender race ethnicity ethnic nationality citizenship zip
        zipcode postcode postal county state city town municipality country region tract latitude longitude lat lon
        address marital married relationship household family children kids education edu educ school degree occupation
        occ job profession employer industry workclass language religion height weight hospital site ward admitted
        admission discharge discharged visit visits year month disability veteran immigrant""",
    Role.SENSITIVE: """diagnosis diagnoses diag disease icd hiv aids cancer tumor tumour diabetes dementia depression
        mental psychiatric suicide pregnant pregnancy abortion drug drugs alcohol smoker smoking smokes medication
        insulin metformin treatment therapy surgery lab test result death died dead mortality survival readmitted
        income salary wage wages earnings debt credit loan default wealth religion politics political party union vote
        orientation sexual race ethnicity ethnic genetic genome conviction crime criminal arrest disability abuse
        violence charges cost costs insurance payer stroke asthma""",
}
_ROLE_OF = {role: frozenset(words.split()) for role, words in _WORDS.items()}
_PHRASES = {
    Role.DIRECT: ("social security", "medical record", "health plan", "phone number", "patient id", "person id"),
    Role.QUASI: ("date of birth", "place of birth", "country of birth", "years of education"),
    Role.SENSITIVE: ("blood pressure", "blood glucose", "order not to resuscitate", "sexual orientation"),
}
_KEYS = ("id", "ids", "key", "nr", "no", "number")
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def roles_of(column: ColumnBase) -> tuple[Suggested, ...]:
    """The roles that a column may have, each once."""
    found: dict[Role, Suggested] = {}
    for suggested in (*_by_name(column), *_by_kind(column)):
        found.setdefault(suggested.role, suggested)
    return tuple(found[role] for role in Role if role in found)


def _by_name(column: ColumnBase) -> Iterator[Suggested]:
    for where, text in (("its name", column.name), ("its label", column.label or "")):
        spaced = _CAMEL.sub(" ", text[:1000]).lower()
        words = _WORD.findall(spaced)
        joined = " ".join(words)
        for role, phrases in _PHRASES.items():
            for phrase in phrases:
                if phrase in joined:
                    yield Suggested(role, f"{where} says {phrase!r}")
        for role, known in _ROLE_OF.items():
            for word in words:
                if word in known:
                    yield Suggested(role, f"{where} says {word!r}")
        if where == "its name" and words and words[-1] in _KEYS and column.cells >= FINE_KEY:
            yield Suggested(Role.DIRECT, f"{where} ends like a key, and it has {column.cells} cells")


def _by_kind(column: ColumnBase) -> Iterator[Suggested]:
    if isinstance(column, Date | Datetime):
        yield Suggested(Role.QUASI, "it is a date")
    if isinstance(column, Categorical) and len(column.values) >= MANY_VALUES:
        yield Suggested(Role.DIRECT, f"it lists {len(column.values)} values")


__all__ = ["MANY_VALUES", "Role", "Suggested", "roles_of"]

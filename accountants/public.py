"""A table that its owner declares public: what a claim and a certificate say of it. No row of it is here either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from accountants.errors import PlanError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME_LENGTH = 200
_MOST_ROWS = 2**53


@dataclass(frozen=True, slots=True)
class PublicTable:
    """The table that a generator was trained on without noise, before it met the private one.

    **Guarantee.** None, for the rows of this table: they are used as they are. That they are public, and hold nothing
    of the private table, its owner declares; nothing checks it.

    Attributes:
        name: of its file, without the folder.
        sha256: of its file, hex.
        rows: how many it has.

    Raises:
        PlanError: a name with a folder in it or without printable text, no digest, or no rows.
    """

    name: str
    sha256: str
    rows: int

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and 0 < len(self.name) <= _NAME_LENGTH and self.name.isprintable()
        if not named or re.search(r"[/\\]", self.name) or self.name.strip(". ") == "":
            raise PlanError(
                f"a public table goes by the name of its file, at most {_NAME_LENGTH} printable characters without a "
                f"folder, got {self.name!r:.80}"
            )
        if not isinstance(self.sha256, str) or not _DIGEST.fullmatch(self.sha256):
            raise PlanError(f"the digest of a public table must be a sha256 in lower-case hex, got {self.sha256!r:.80}")
        if isinstance(self.rows, bool) or not isinstance(self.rows, int) or not 1 <= self.rows <= _MOST_ROWS:
            raise PlanError(f"the rows of a public table must be a whole number of at least 1, got {self.rows!r:.80}")

    @property
    def assumption(self) -> str:
        """What is taken for public."""
        return f"the owner declares the table {self} public"

    @property
    def unprotected(self) -> str:
        """What the guarantee does not cover."""
        return (
            f"the rows of the public table {self.name!r}: the model was trained on them without noise, and this "
            "certificate promises nothing about them, nor about any source row that is among them too"
        )

    @property
    def post_processing(self) -> str:
        """What a model is fitted to, in place of noisy answers alone."""
        return f"a statistical model is fitted to the public table {self.name!r} and to the noisy answers, no more"

    def __str__(self) -> str:
        return f"{self.name!r} ({self.rows:,} rows, sha256 {self.sha256})"

    def to_json(self) -> dict[str, Any]:
        """As plan, ledger and certificate record it."""
        return {"name": self.name, "sha256": self.sha256, "rows": self.rows}

    @classmethod
    def from_json(cls, body: object) -> PublicTable:
        """The inverse of `to_json`.

        Raises:
            PlanError: anything else.
        """
        match body:
            case {"name": name, "sha256": sha256, "rows": rows, **more} if not more:
                return cls(name, sha256, rows)
        raise PlanError("a public table is told by its name, its sha256 and its rows, and by nothing else")


__all__ = ["PublicTable"]

"""A ledger row: what it may say, how it is chained to the row before it, and who signed it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

import rfc8785

from accountants.errors import LedgerCorrupt, LedgerError
from accountants.keys import PublicKey, SigningKey

VERSION = 3
"""The newest version of a body that is read; see `version_of`."""
GENESIS = "0" * 64
"""The hash that the first row names as its predecessor."""

FIELDS: Mapping[str, frozenset[str]] = {
    "open": frozenset({"at", "lifetime", "policy"}),
    "amend": frozenset({"at", "lifetime", "policy"}),
    "reserve": frozenset({"at", "release", "claim", "charge"}),
    "start": frozenset({"release"}),
    "commit": frozenset({"release", "model", "charged"}),
    "void": frozenset({"release"}),
    "forfeit": frozenset({"release", "reason"}),
    "draw": frozenset({"on", "release", "model", "table", "rows", "given"}),
    "read": frozenset({"on", "release", "table"}),
}
"""Row kinds and the fields of each, beside ``version``. A row holds these and nothing else. Rows written before
the table is read carry a date and time (`at`); later ones do not, for two of them would tell how long it took."""

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONTEXT = b"dpsynth ledger row v1\n"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One row, as stored.

    Attributes:
        seq: 1, 2, 3 ... without gaps over the whole ledger.
        account: the dataset.
        kind: a key of `FIELDS`.
        text: the body, canonical JSON (RFC 8785).
        prev: the hash of the row before.
        hash: sha256 (hex) over everything above and `key_id`.
        signature: of the hash, hex.
        key_id: of the key that signed.
    """

    seq: int
    account: str
    kind: str
    text: str
    prev: str
    hash: str
    signature: str
    key_id: str

    @property
    def body(self) -> dict[str, Any]:
        """The body as a new dict."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed

    @classmethod
    def signed(cls, seq: int, account: str, kind: str, body: Mapping[str, Any], prev: str, key: SigningKey) -> Row:
        """Make the row that follows `prev`.

        Raises:
            LedgerError: the body has other fields than its kind allows, or values that are not JSON.
        """
        if frozenset(body) != FIELDS[kind]:
            raise LedgerError(f"a {kind!r} row holds {sorted(FIELDS[kind])}, got {sorted(body)}")
        try:
            text = rfc8785.dumps({"version": version_of(kind, body), **body}).decode()
        except (rfc8785.CanonicalizationError, UnicodeError, RecursionError):
            raise LedgerError(
                f"a {kind!r} row was given values that are not JSON (NaN, infinities, integers of 2^53 and more, "
                "other types); use text or plain numbers in the generator's parameters"
            ) from None
        key_id = key.public.key_id
        digest = row_hash(seq, account, kind, text, prev, key_id)
        return cls(seq, account, kind, text, prev, digest, key.sign(_CONTEXT + digest.encode()).hex(), key_id)


def version_of(kind: str, body: Mapping[str, Any]) -> int:
    """The first version that could say this, and so the one it is written in: older readers read on while they can.

    History is never rewritten. Version 2 is that of a commit without a model, version 3 that of a private report read.
    """
    if kind == "read":
        return 3
    return 2 if kind == "commit" and body["model"] is None else 1


def row_hash(seq: int, account: str, kind: str, text: str, prev: str, key_id: str) -> str:
    """sha256 over one field a line. Only the body, which is last, could hold a line break, and JSON escapes it."""
    lines = "\n".join((str(seq), prev, key_id, account, kind, text))
    return hashlib.sha256(_CONTEXT + lines.encode()).hexdigest()


def verified(
    rows: Iterable[Row], head: tuple[int, str], trusted: Mapping[str, PublicKey], *, every_signature: bool = False
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row with its body, once its place in the chain and its content are checked. Believe none before the last.

    A signature is over a hash that pins every row before it, so the last one of each run of rows by one key
    vouches for the run: whoever wants to change a row without the key has to forge that one.

    Args:
        rows: in order, those after `head`.
        head: (seq, hash) of the last row already verified; ``(0, GENESIS)`` for none.
        trusted: keys by key id.
        every_signature: check them all, which takes three times as long and finds signatures that are merely spoilt.

    Raises:
        LedgerCorrupt: a row is missing, edited, out of place, or signed by a key that is not trusted.
        LedgerError: a row was written by a newer version.
    """
    seq, prev = head
    last: Row | None = None
    for row in rows:
        if row.seq != seq + 1 or row.prev != prev:
            raise corrupt(row.seq, f"it does not follow row {seq} (a row was removed, inserted or replaced)")
        if row.hash != row_hash(row.seq, row.account, row.kind, row.text, row.prev, row.key_id):
            raise corrupt(row.seq, "its content does not match its hash (the row was edited)")
        if row.key_id not in trusted:
            raise LedgerCorrupt(
                f"ledger row {row.seq} is signed by key {row.key_id[:16]}, which this home does not know: if it is a "
                "colleague's, believe it with `dpsynth keys trust --writer colleague.pem`; until then the row is not "
                "trusted, and if it is nobody's, release nothing from this ledger, restore it from a backup or find "
                "out who changed it"
            )
        if last is not None and (every_signature or last.key_id != row.key_id):
            _check_signature(last, trusted)
        yield row, _checked(row)
        seq, prev, last = row.seq, row.hash, row
    if last is not None:
        _check_signature(last, trusted)


def _check_signature(row: Row, trusted: Mapping[str, PublicKey]) -> None:
    try:
        genuine = trusted[row.key_id].verify(bytes.fromhex(row.signature), _CONTEXT + row.hash.encode())
    except ValueError:
        genuine = False
    if not genuine:
        raise corrupt(row.seq, "its signature is not by the key it names")


def corrupt(seq: int, what: str) -> LedgerCorrupt:
    """The error for one row, with what to do."""
    return LedgerCorrupt(
        f"ledger row {seq} cannot be trusted: {what}; release nothing from this ledger, "
        "restore it from a backup or find out who changed it"
    )


def _checked(row: Row) -> dict[str, Any]:
    try:
        body = row.body
    except ValueError:
        raise corrupt(row.seq, "its body is not JSON") from None
    version = body.pop("version", None) if isinstance(body, dict) else None
    if row.kind not in FIELDS or version not in range(1, VERSION + 1):
        raise LedgerError(
            f"ledger row {row.seq} is of kind {row.kind!r}, version {version!r}; this dpsynth reads versions up to "
            f"{VERSION} of {sorted(FIELDS)}; upgrade dpsynth"
        )
    if frozenset(body) != FIELDS[row.kind]:
        raise corrupt(row.seq, f"a {row.kind!r} row holds {sorted(FIELDS[row.kind])}, this one {sorted(body)}")
    if version != version_of(row.kind, body):
        raise corrupt(row.seq, f"version {version} of a {row.kind!r} does not say this")
    return body


def checked_dataset(dataset: object) -> str:
    """`dataset` where it is a dataset id.

    Raises:
        LedgerError: it is not.
    """
    if not isinstance(dataset, str) or not _DATASET.fullmatch(dataset):
        raise LedgerError(
            f"a dataset id is 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or a digit, "
            f"got {dataset!r}; use one such as hie-2026"
        )
    return dataset


def checked_digest(name: str, digest: object) -> str:
    """`digest` where it is a sha256 in lower-case hex.

    Raises:
        LedgerError: it is not.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise LedgerError(f"the {name} digest must be a sha256 in lower-case hex (64 characters), got {digest!r}")
    return digest


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def today() -> str:
    """UTC, the day."""
    return datetime.now(UTC).strftime("%Y-%m-%d")

"""Verifying a release folder: are these the signed files, and do the signed events imply the epsilon declared?

It says that and no more. Three answers: 0 intact and signed by a key the reader trusts, 3 intact and signed by
a key the reader does not know, 1 broken. A key inside the folder tells intact from broken; it is never trusted.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent

from accountants.certificate import PAYLOAD_TYPE, restated
from accountants.dsse import MOST_BYTES, Envelope, EnvelopeError, strict_json
from accountants.errors import KeyFileError
from accountants.keys import PublicKey
from accountants.public import PublicTable
from accountants.recomputation import CertificateError, Recomputed, issuer_of, recompute
from dpsynth.errors import BundleError
from dpsynth.release.bundle import BEFORE, CERTIFICATE, FILES, LATER, PAGE, SCHEMA, SUBJECTS, TABLE
from dpsynth.release.certificate import certificate_page
from dpsynth.release.software import software
from dpsynth.schema import Schema

MOST_SCHEMA_BYTES = 4 * 1024 * 1024
"""No schema is larger; nothing larger is parsed."""

INTACT, BROKEN, UNKNOWN_SIGNER = 0, 1, 3
_LAST_BITS = 2e-6
"""Relative difference between what two platforms make of the same search, and no contradiction."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: whether it held, and a sentence; or a note on what only the reader can check."""

    passed: bool
    text: str

    note: bool = False

    def __str__(self) -> str:
        return f"{'note  ' if self.note else 'ok    ' if self.passed else 'BROKEN'}  {self.text}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        exit_code: 0 intact and known signer, 1 broken, 3 intact and unknown signer.
        findings: what was checked, in order; the last one of a broken release says what is wrong.
        statement: the signed statement, None where the release is broken.
        key_id: of the signer, None where the release is broken.
    """

    exit_code: int
    findings: tuple[Finding, ...]
    statement: Mapping[str, Any] | None = None
    key_id: str | None = None

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


class _BrokenError(Exception):
    """Why a release is broken, in a sentence."""


def verify(folder: Path | str, trusted: Mapping[str, PublicKey]) -> Verification:
    """Check a release folder.

    Args:
        folder: the release. It may come from anyone.
        trusted: public keys by key id, from the reader's own key ring.

    Returns:
        The findings. Nothing in the folder makes it raise.
    """
    findings: list[Finding] = []

    def passed(text: str) -> None:
        findings.append(Finding(True, text))

    try:
        path = Path(folder)
        _check_names(path)
        envelope, statement = _open(_read(path / CERTIFICATE))
        known = _check_signature(envelope, statement, trusted)
        passed(f"signed by key {envelope.key_id[:16]}, which you {'trust' if known else 'do not know'}")
        said = recompute(statement)
        _check_files(path, said)
        passed(f"these are the {len(said.subjects)} files that were signed")
        _check_contents(path, said, statement)
        findings.append(_check_words(path, statement))
        passed(f"a draw from dataset {_shown(said.dataset)}: {said.rows} rows{_given(statement)}, schema as certified")
        findings.append(_implied(said))
        if "public_table" in statement["predicate"]:
            public = PublicTable.from_json(statement["predicate"]["public_table"])
            words = f"the model started from the public table {_shown(public.name)}: nothing is promised of its rows"
            findings.append(Finding(True, words, note=True))
    except (_BrokenError, EnvelopeError, CertificateError) as broken:
        return Verification(BROKEN, (*findings, Finding(False, f"{broken}.".replace("..", "."))))
    except OSError as error:
        return Verification(BROKEN, (*findings, Finding(False, f"the folder cannot be read ({error.strerror}).")))
    if not known:
        findings.append(
            Finding(
                True,
                f"ask the issuer, by another way than this folder, for their key and whether its id is "
                f"{envelope.key_id}; if so, `dpsynth keys trust KEY.pem`",
                note=True,
            )
        )
    return Verification(INTACT if known else UNKNOWN_SIGNER, tuple(findings), statement, envelope.key_id)


def read_origin(folder: Path | str) -> tuple[str, str]:
    """``(dataset, release id)`` that a release folder says it comes from.

    Nothing is verified here: the account of that dataset knows what it committed, whatever the folder says.

    Raises:
        BundleError: there is no certificate that says so.
    """
    match read_predicate(folder):
        case {"dataset": str(dataset), "release": {"id": str(release)}}:
            return dataset, release
    raise _unreadable(folder, "it does not say which release it is")


def read_predicate(folder: Path | str) -> Mapping[str, Any]:
    """What the certificate of a release folder says. Nothing is verified here: see `verify`.

    Raises:
        BundleError: there is no certificate that says anything.
    """
    path = Path(folder) / CERTIFICATE
    reason = "it says nothing"
    try:
        match _open(_read(path))[1]:
            case {"predicate": dict(predicate)}:
                return predicate
    except (_BrokenError, EnvelopeError) as broken:
        reason = str(broken)
    except OSError as error:
        reason = error.strerror or "unreadable"
    raise _unreadable(folder, reason)


def read_signed(folder: Path | str, names: Sequence[str]) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """Files of a release folder, each with the digest that its certificate names, and what the certificate says.

    The signature is that of the key which the certificate carries; whether it is one to trust, `verify` tells.

    Raises:
        BundleError: there is no certificate or it was changed, or a file is missing, another one or no plain file.
    """
    predicate = read_predicate(folder)
    problem, digests = "", {}
    try:
        envelope, statement = _open(_read(Path(folder) / CERTIFICATE))
        _check_signature(envelope, statement, {})
        digests = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
        for name in names:
            if not stat.S_ISREG((Path(folder) / name).lstat().st_mode):
                raise _BrokenError(f"{name} is a link or something else that is no plain file")
        files = {name: (Path(folder) / name).read_bytes() for name in names}
        wrong = [name for name in names if hashlib.sha256(files[name]).hexdigest() != digests.get(name)]
        if not wrong:
            return files, predicate
        problem = f"{wrong[0]} is not the file that was certified"
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        listed = "which its certificate lists" if name in digests else "as releases before 0.2.0 do"
        problem = f"it lacks {name}" + (f", {listed}" if name in digests or name in LATER else "")
    except OSError as error:
        problem = f"{Path(str(error.filename)).name} cannot be read: {error.strerror}"
    except _BrokenError as broken:
        problem = str(broken)
    except (KeyError, TypeError):
        problem = "its certificate names no files"
    raise BundleError(f"cannot use the release {folder}: {problem}; 'dpsynth verify' says more")


def _unreadable(folder: Path | str, reason: str) -> BundleError:
    path = Path(folder) / CERTIFICATE
    return BundleError(f"cannot read the certificate {path}: {reason}; name a folder that `dpsynth release` wrote")


def _check_names(folder: Path) -> None:
    if not folder.is_dir():
        raise _BrokenError("it is a file; name the release folder" if folder.exists() else "there is no such folder")
    found = {entry.name: entry for entry in os.scandir(folder)}
    missing = [name for name in FILES if name not in found and name not in LATER]  # see `_check_files`
    if missing:
        raise _BrokenError(f"the release lacks {', '.join(missing)}")
    extra = sorted(set(found) - set(FILES))
    if extra:
        raise _BrokenError(f"the folder holds {_shown(extra[0])}, which nobody signed; move it elsewhere")
    for name, entry in found.items():
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise _BrokenError(f"{name} is a link or something else that is no plain file")


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise _BrokenError(f"{path.name} is larger than any certificate")
    return path.read_bytes()


def _open(raw: bytes) -> tuple[Envelope, dict[str, Any]]:
    envelope = Envelope.from_bytes(raw)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise _BrokenError("the certificate is not an in-toto statement")
    statement = strict_json(envelope.payload)
    if not isinstance(statement, dict):
        raise _BrokenError("the certificate is not an in-toto statement")
    return envelope, statement


def _check_signature(envelope: Envelope, statement: dict[str, Any], trusted: Mapping[str, PublicKey]) -> bool:
    """Whether the signer is trusted.

    Raises:
        _BrokenError: the signature is not the stated signer's.
    """
    key_id, pem = issuer_of(statement)
    try:
        carried = PublicKey.from_pem(pem)
    except (KeyFileError, ValueError, TypeError):
        raise _BrokenError("the certificate names no readable signing key") from None
    key = trusted.get(envelope.key_id, carried)
    if not key_id == carried.key_id == envelope.key_id or not envelope.signed_by(key):
        raise _BrokenError("the signature does not match: the certificate was changed after it was signed")
    return envelope.key_id in trusted


def _check_files(folder: Path, said: Recomputed) -> None:
    names = sorted(said.subjects)
    if names not in (sorted(SUBJECTS), sorted(BEFORE)):
        raise _BrokenError("the certificate does not sign exactly the files of a release")
    for name in LATER:
        if (name in names) is not (folder / name).exists():
            raise _BrokenError(f"{'the release lacks' if name in names else 'nobody signed the file'} {name}")
    for name in names:
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != said.subjects[name]:
                raise _BrokenError(f"{name} is not the file that was signed: it was changed or swapped")


def _check_contents(folder: Path, said: Recomputed, statement: Mapping[str, Any]) -> None:
    """The figures about a file are those in the file. Its digest was checked before, but its author may be anyone."""
    match statement:
        case {"predicate": {"table": {"sha256": str(table)}, "schema": {"sha256": str(schema)}}}:
            pass
        case _:
            raise _BrokenError("the certificate does not name its table and its schema")
    if table != said.subjects[TABLE]:
        raise _BrokenError(f"the certificate is about another table than {TABLE}")
    rows = _rows_in(folder / TABLE)
    if rows != said.rows:
        raise _BrokenError(f"{TABLE} has {rows} rows where the certificate says {said.rows}")
    if _schema_digest(folder / SCHEMA) != schema:
        raise _BrokenError(f"{SCHEMA} is not the schema that the certificate names")


def _implied(said: Recomputed) -> Finding:
    at = f"at delta {said.budget.delta.normalize():e}; declared is {said.budget.epsilon.normalize():f}"
    implied = f"the events in the certificate imply epsilon {_up(said.epsilon)} {at}"
    if said.interval is None:
        return Finding(True, f"{implied}; this software has no second way to compute that", note=True)
    return Finding(True, implied)


def _check_words(folder: Path, statement: Mapping[str, Any]) -> Finding:
    """The certificate says what this software says of those parameters, and the page for people says the same.

    Only the version that made both can tell.

    Raises:
        _BrokenError: they disagree.
    """
    body = statement["predicate"]
    if body.get("software") != software():
        return Finding(
            True,
            f"whether the sentences in {CERTIFICATE} and {PAGE} follow from its figures, only the version that issued "
            f"them can tell ({_shown(str(body.get('software')))}); `dpsynth certificate` prints the file itself",
            note=True,
        )
    page, differs = b"", "its parameters"
    try:
        differs = _difference(body, restated(body))
        page = certificate_page(body).encode("utf-8")
    except Exception:  # whatever a hostile certificate makes of it; said below
        pass
    if differs:
        raise _BrokenError(f"{_shown(differs)} in {CERTIFICATE} is not what {software()} says of such a release")
    path = folder / PAGE
    if not page or path.stat().st_size != len(page) or path.read_bytes() != page:
        raise _BrokenError(f"{PAGE} does not say what {CERTIFICATE} says")
    return Finding(True, f"{PAGE} says what {CERTIFICATE} says, and that follows from its figures")


def _difference(stated: Any, own: Any, path: str = "") -> str:
    """Where two JSON values first differ, beyond the last bits of another platform; empty where they do not."""
    if isinstance(stated, dict) and isinstance(own, dict) and stated.keys() == own.keys():
        parts = ((stated[name], own[name], f"{path}.{name}".lstrip(".")) for name in sorted(own))
        return next(filter(None, (_difference(*part) for part in parts)), "")
    return "" if type(stated) is type(own) and (stated == own or _close(stated, own)) else path or "the whole"


def _close(stated: Any, own: Any) -> bool:
    try:
        return isinstance(stated, str) and math.isclose(float(stated), float(own), rel_tol=_LAST_BITS)
    except ValueError:
        return False


def _given(statement: Mapping[str, Any]) -> str:
    """The columns that were supplied, not drawn, as the certificate has them."""
    match statement:
        case {"predicate": {"table": {"given": [*names]}}} if names and all(isinstance(name, str) for name in names):
            return f", {len(names)} of the columns supplied, not drawn ({_shown(', '.join(names))})"
    return ""


def _rows_in(path: Path) -> int:
    try:
        with path.open("rb") as file:
            footer = pq.read_metadata(file)
            rows: int = footer.num_rows
            if sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups)) == rows:
                return rows
    except Exception:  # whatever a hostile footer makes of the reader; said below
        pass
    raise _BrokenError(f"{path.name} cannot be read as Parquet")


def _schema_digest(path: Path) -> str:
    if path.stat().st_size > MOST_SCHEMA_BYTES:
        raise _BrokenError(f"{path.name} is larger than any schema")
    try:
        text = path.read_bytes().decode("utf-8")
        # A few aliases of aliases stand for more text than there is memory. No schema of ours has one.
        if "&" not in text or not any(isinstance(e, AliasEvent) for e in YAML(typ="safe", pure=True).parse(text)):
            return Schema.loads(text).digest
    except Exception:  # whatever a hostile text makes of the parser; said below
        pass
    raise _BrokenError(f"{path.name} cannot be read as a schema")


def _up(epsilon: float) -> str:
    scaled = int(epsilon * 10**6)
    return f"{(scaled if scaled == epsilon * 10**6 else scaled + 1) / 10**6:g}"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "...")


__all__ = [
    "BROKEN",
    "INTACT",
    "UNKNOWN_SIGNER",
    "Finding",
    "Verification",
    "read_origin",
    "read_predicate",
    "read_signed",
    "verify",
]

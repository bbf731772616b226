"""The model store: fitted models and the noisy answers they were made from, each in a folder named by its digest.

A model is public from the moment it exists, so the store keeps no secret. It keeps models *intact*: what is
loaded is, byte for byte, what the ledger committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import rfc8785
from numpy.typing import NDArray

from accountants import Claim
from accountants.errors import AccountingError
from dpsynth.errors import ModelStoreError, SchemaError
from dpsynth.generators import MarginalModel, NetworkModel
from dpsynth.generators.base import Model
from dpsynth.release import tensors, transcript
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

FILES = (
    *("claim.json", "model.json", "model.safetensors", "noise.json", "schema.json"),
    *("transcript.json", "transcript.safetensors"),
)
EVALUATION = ("evaluation.json", "evaluation.safetensors")
"""Where a model was checked after it was fitted: the answers that it did not see."""
KINDS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, NDArray[Any]]], Model]] = {
    MarginalModel.kind: MarginalModel.load,
    NetworkModel.kind: NetworkModel.load,
}
"""How each kind of model is loaded; a model's header names its kind."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """All there is to say about a fitted model. Nothing here was read from rows except through charged looks.

    Attributes:
        model: samples and projects.
        transcript: the noisy answers.
        schema: the public description of the table.
        claim: what the run was charged for.
        numerics: how the noise in the answers was made, as the kernel says it: ``exact``, or ``seeded`` in tests.
        evaluation: noisy answers that the model was fitted without.
        trained_on: the kinds of devices that a network was trained on, as the kernel says it.
    """

    model: Model
    transcript: Transcript
    schema: Schema
    claim: Claim
    numerics: str
    evaluation: Transcript = ()
    trained_on: tuple[str, ...] = ()

    def to_files(self) -> dict[str, bytes]:
        """The model's files: equal models give equal bytes."""
        header, arrays = self.model.dump()
        answers, values = transcript.dump(self.transcript)
        noise = {"numerics": self.numerics} | ({"trained_on": [*self.trained_on]} if self.trained_on else {})
        checks: dict[str, bytes] = {}
        if self.evaluation:
            seen, counts = transcript.dump(self.evaluation)
            checks = dict(zip(EVALUATION, (_json(seen), tensors.pack(counts)), strict=True))
        return {
            **checks,
            "claim.json": _json(self.claim.to_json()),
            "model.json": _json(header),
            "model.safetensors": tensors.pack(arrays),
            "noise.json": _json(noise),
            "schema.json": _json(self.schema.to_json()),
            "transcript.json": _json(answers),
            "transcript.safetensors": tensors.pack(values),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> StoredModel:
        """The inverse of `to_files`.

        Raises:
            ModelStoreError: the files describe no model that this version reads.
        """
        try:
            noise = json.loads(files["noise.json"])
            return cls(
                model=load_model(json.loads(files["model.json"]), tensors.unpack(files["model.safetensors"])),
                transcript=_answers(files, "transcript.json", "transcript.safetensors"),
                schema=Schema.from_json(json.loads(files["schema.json"])),
                claim=Claim.from_json(json.loads(files["claim.json"])),
                numerics=str(noise["numerics"]),
                evaluation=_answers(files, *EVALUATION) if EVALUATION[0] in files else (),
                trained_on=tuple(map(str, noise.get("trained_on", ()))),
            )
        except (ValueError, KeyError, TypeError, AccountingError, SchemaError) as error:
            reason = str(error)
        raise ModelStoreError(f"the stored model cannot be read by this version of dpsynth: {reason}")


def _answers(files: Mapping[str, bytes], header: str, arrays: str) -> Transcript:
    return transcript.load(json.loads(files[header]), tensors.unpack(files[arrays]))


def load_model(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Model:
    """The model that ``dump()`` described.

    Raises:
        ValueError: of a kind nobody loads, or not what the kind says.
    """
    load = KINDS.get(header.get("kind", ""))
    if load is None:
        raise ValueError(f"a model of kind {header.get('kind')!r}; known kinds are {', '.join(sorted(KINDS))}")
    return load(header, arrays)


def digest_of(files: Mapping[str, bytes]) -> str:
    """sha256 over the canonical JSON of each file's sha256: one name for all of them."""
    return hashlib.sha256(
        rfc8785.dumps({name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    ).hexdigest()


@final
class ModelStore:
    """Models by digest, in a folder or, without one, in memory for as long as the process lives.

    Args:
        folder: holds one folder for each model; made on first need. None: nothing touches the disk.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, dict[str, bytes]] = {}

    def save(self, stored: StoredModel) -> str:
        """Keep a model, whole or not at all; saving it again changes nothing.

        Returns:
            Its digest, which the ledger commits.

        Raises:
            ModelStoreError: the folder cannot be written, or holds something else under the digest.
        """
        files = stored.to_files()
        digest = digest_of(files)
        if self.folder is None:
            self._memory[digest] = files
        elif not (self.folder / digest).exists():
            try:
                _write(self.folder, digest, files)
            except OSError as error:
                reason = error.strerror
            else:
                reason = None
            if reason is not None and not (self.folder / digest).exists():
                raise ModelStoreError(
                    f"cannot write the model to {self.folder} ({reason}); free space or pass a folder"
                )
        self._read(digest)
        return digest

    def load(self, digest: str) -> StoredModel:
        """The model of that digest.

        Raises:
            ModelStoreError: there is none, or it is not what the digest names.
        """
        return StoredModel.from_files(self._read(digest))

    def __contains__(self, digest: object) -> bool:
        if not isinstance(digest, str) or not _is_digest(digest):
            return False
        return digest in self._memory if self.folder is None else (self.folder / digest).is_dir()

    def _read(self, digest: str) -> dict[str, bytes]:
        if digest not in self:
            raise ModelStoreError(
                f"there is no model {digest[:16]!r} in {self.folder or 'memory'}; "
                "use the machine or the DPSYNTH_HOME that fitted it"
            )
        if self.folder is None:
            return self._memory[digest]
        files = {}
        reason: str | None = "its files are not those of a model"
        try:
            names = sorted(entry.name for entry in (self.folder / digest).iterdir())
            listed = sorted((*FILES, *EVALUATION) if EVALUATION[0] in names else FILES)
            if any(name.endswith(".npz") for name in names):
                reason = None
            elif names == listed:
                files = {name: (self.folder / digest / name).read_bytes() for name in listed}
                reason = "its content is not what the digest names"
        except OSError as error:
            reason = error.strerror or reason
        if reason is None:
            raise ModelStoreError(
                f"the model {digest[:16]} in {self.folder} is of an earlier dpsynth, which kept arrays as .npz; draw "
                "from it with the version that fitted it"
            )
        if not files or digest_of(files) != digest:
            raise ModelStoreError(
                f"the model {digest[:16]} in {self.folder} is damaged: {reason}; restore it from a copy"
            )
        return files


def _write(parent: Path, digest: str, files: Mapping[str, bytes]) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{digest[:16]}-{secrets.token_hex(8)}"
    try:
        write_folder(partial, files)
        os.rename(partial, parent / digest)
        sync_folder(parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` with `files` in it, all on disk when this returns.

    Raises:
        OSError: it exists or cannot be written.
    """
    folder.mkdir()
    for name, raw in files.items():
        with (folder / name).open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on disk, where the platform can."""
    if os.name == "nt":  # pragma: no cover
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _json(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


__all__ = ["FILES", "ModelStore", "StoredModel", "digest_of", "load_model", "sync_folder", "write_folder"]

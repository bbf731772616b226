"""A drawn table that nobody may look into yet: admission opens it, or nothing does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NoReturn, final

from accountants import Claim
from dpsynth.domain import Clique, Codes
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

_MAKER = object()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a table comes from: declared parameters and noisy answers.

    Attributes:
        dataset, release: whose account was charged, and for which release.
        claim: what was charged.
        schema, transcript: what was asked and answered.
        total: the model's noisy estimate of the number of rows.
        model_digest: sha256 of the stored model.
        numerics: how the noise in the answers was made.
        evaluation: answers that the model was fitted without.
        bags: of the model's junction tree, if it has one.
        trained_on: the kinds of devices that a network was trained on.
    """

    dataset: str
    release: str
    claim: Claim
    schema: Schema
    transcript: Transcript
    total: float
    model_digest: str
    numerics: str
    evaluation: Transcript = ()
    bags: tuple[Clique, ...] = ()
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What is inside: the file's bytes, and the same rows as codes."""

    parquet: bytes
    codes: Codes


@final
class SealedTable:
    """A table drawn from a fitted model, recorded in the ledger, and closed until the gate admits it.

    Only a `FittedModel` makes one. It shows its digest and what is public of its origin; it has no frame, no
    length, and cannot be pickled or copied.

    Attributes:
        digest: sha256 (hex) of the Parquet file.
        rows: how many rows were drawn.
        given: columns the caller supplied, in schema order.
        provenance: where it comes from.
    """

    __slots__ = ("__contents", "digest", "given", "provenance", "rows")

    digest: str
    rows: int
    given: tuple[str, ...]
    provenance: Provenance

    def __init__(
        self, maker: object, contents: Contents, rows: int, given: tuple[str, ...], provenance: Provenance
    ) -> None:
        if maker is not _MAKER:
            raise TypeError("a sealed table is made by a fitted model only; call model.sample()")
        object.__setattr__(self, "_SealedTable__contents", contents)
        object.__setattr__(self, "digest", hashlib.sha256(contents.parquet).hexdigest())
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "provenance", provenance)

    def __repr__(self) -> str:
        return f"SealedTable({self.digest})"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a sealed table has no {name!r}; admit it first: dpsynth.admit(table, account).frame")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a sealed table cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a sealed table cannot be changed")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a sealed table cannot be pickled or copied; admit it and write the release")

    def __reduce__(self) -> NoReturn:
        self.__reduce_ex__(None)


def seal(contents: Contents, rows: int, given: tuple[str, ...], provenance: Provenance) -> SealedTable:
    """Close a table that was just drawn. For `FittedModel` only."""
    return SealedTable(_MAKER, contents, rows, given, provenance)


def unseal(sealed: SealedTable) -> Contents:
    """Open a table. For `admission` only, after the gate said yes.

    Raises:
        TypeError: not a sealed table.
    """
    if type(sealed) is not SealedTable:
        raise TypeError(f"only a SealedTable can be admitted, got {type(sealed).__name__}; call model.sample()")
    contents: Any = object.__getattribute__(sealed, "_SealedTable__contents")
    assert isinstance(contents, Contents)
    return contents


__all__ = ["Contents", "Provenance", "SealedTable", "seal", "unseal"]

"""All that a release report may be made of. Nothing here was read from a row but through a charged, noisy look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accountants import Claim
from accountants.certificate import Draw
from accountants.lifetime import Lifetime
from dpsynth.constraints.checking import Checked
from dpsynth.domain import Codes
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is public of a release.

    Attributes:
        dataset: its declared id.
        issued: ISO date.
        claim, charged: what was reserved, and the looks that ran as the ledger has them.
        lifetime, relation: the account's filter, and the neighbours that its releases together are about.
        draw: the table's digest, model, rows and given columns.
        schema, transcript: what was asked and answered.
        total: the model's noisy estimate of the number of rows.
        codes: the released rows, encoded.
        key_id: of the signer.
        held: the schema's constraints, checked on the released rows.
        evaluation: answers that the model was fitted without.
    """

    dataset: str
    issued: str
    claim: Claim
    charged: Mapping[str, Sequence[Mapping[str, Any]]]
    lifetime: Lifetime
    relation: str
    draw: Draw
    schema: Schema
    transcript: Transcript
    total: float
    codes: Codes
    key_id: str
    held: Sequence[Checked] = ()
    evaluation: Transcript = ()


__all__ = ["Facts"]

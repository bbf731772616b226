"""A table that its owner declares public, read through a schema: rows that a generator may be trained on without noise.

Nothing of it comes near the kernel's table, and nothing of the private table comes here. Whether it really is public
nobody can check. What can be told without a look at private rows is refused: a file that is the private one, and one
that this machine knows to be private.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from accountants import PublicTable
from dpsynth.domain import Codes
from dpsynth.encoding import Encoder
from dpsynth.errors import PlanFileError, SourceError
from dpsynth.kernel.sources import open_source
from dpsynth.private import REASON, is_private
from dpsynth.schema import Schema

FEW = 100
"""Rows of a public table, below which a plan that starts from it says so."""


@final
@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PublicRows:
    """The rows, encoded, and what a plan says of them.

    Attributes:
        table: name, digest and number of rows.
        schema: what they were read through.
        codes: by column of the schema, shape (rows,) each.
    """

    table: PublicTable
    schema: Schema
    codes: Codes

    @classmethod
    def read(cls, path: str | os.PathLike[str], schema: Schema) -> PublicRows:
        """Read a file.

        Args:
            path: a file as a private table may come in; it has every column of the schema. The unit column it may lack,
                and others are not looked at.
            schema: of the private table, made without it.

        Raises:
            SourceError: it cannot be read, lacks a column, has no rows, or has cells that the schema does not list.
        """
        if not isinstance(path, str | os.PathLike):
            raise SourceError(f"a public table must be the path of a file, got {type(path).__name__}; write it to one")
        name = Path(path).name
        source = open_source(path)
        before = _digest(path)
        if is_private(path):
            raise SourceError(f"the table {name!r} cannot be taken for public: {REASON}")
        if lacking := [column for column in schema.names if column not in set(source.columns)]:
            raise SourceError(
                f"the public table {name!r} lacks {', '.join(map(repr, lacking))}, which the schema declares; it must "
                "have every column of the schema, named to the letter (but for the unit's)"
            )
        encoder, parts, read = Encoder(schema), [], []
        for batch in source.batches(schema.names):
            parts.append(encoder.encode(batch))
            read.append(batch)
        if is_private(_whole(read)):  # in whatever format
            raise SourceError(f"the table {name!r} cannot be taken for public: {REASON}")
        rows = sum(len(part[schema.names[0]]) for part in parts)
        if not rows:
            raise SourceError(f"the public table {name!r} has no rows; leave it out")
        codes = {a: np.concatenate([part[a] for part in parts]) for a in schema.names}
        outside = schema.hints.out_of_domain
        if strange := [a for a in schema.names if a in outside and (codes[a] == outside[a]).any()]:
            raise SourceError(
                f"the public table {name!r} has cells outside the codebook in {', '.join(map(repr, strange))}; it may "
                "hold only what the schema declares (values, bounds, missing cells): correct or drop these rows"
            )
        if _digest(path) != before:
            raise SourceError(f"the public table {name!r} was changed while it was read; try again")
        return cls(PublicTable(name, before, rows), schema, codes)

    def __repr__(self) -> str:
        return f"PublicRows({self.table})"


def public_rows_of(
    planned: PublicTable | None, given: str | os.PathLike[str] | None, private: Any, schema: Schema
) -> PublicRows | None:
    """The public rows that a plan starts from; None where it starts from none.

    Args:
        planned: as the plan has it.
        given: the file.
        private: the private table, as it is handed to `dpsynth.fit`.
        schema: of both.

    Raises:
        PlanFileError: no file for a plan that starts from one, a file for one that does not, or another file.
        SourceError: see `refuse_the_private_one` and `PublicRows.read`.
    """
    if given is not None:
        refuse_the_private_one(given, private)
    if planned is None:
        if given is None:
            return None
        raise PlanFileError(
            "a public table was given, and the plan starts from none: leave it out, or plan with it "
            "(`dpsynth plan --public FILE`), so that plan and certificate say so"
        )
    if given is None:
        raise PlanFileError(
            f"the plan starts from the public table {planned}: give that file as well (--public FILE), or plan "
            "without one"
        )
    rows = PublicRows.read(given, schema)
    if (rows.table.sha256, rows.table.rows) != (planned.sha256, planned.rows):
        raise PlanFileError(
            f"the plan starts from the public table {planned}, got {rows.table}; give the file that was planned with, "
            "or plan again"
        )
    return rows


def too_few(table: PublicTable | None) -> str:
    """What to expect of a public table of so few rows; empty where it has more, or there is none."""
    if table is None or table.rows >= FEW:
        return ""
    rows = "1 row" if table.rows == 1 else f"{table.rows} rows"
    return (
        f"the public table {table.name!r} has {rows}: so few hardly teach a network anything; give a larger one, "
        "or none"
    )


def refuse_the_private_one(public: str | os.PathLike[str], private: Any) -> None:
    """Refuse a public table that is the private one under this or another name, without reading either.

    Args:
        public: a path.
        private: a table or a path.

    Raises:
        SourceError: both are one file.
    """
    if not isinstance(private, str | os.PathLike) or not isinstance(public, str | os.PathLike):
        return
    try:
        same = os.path.samefile(public, private)
    except (OSError, ValueError):
        same = os.path.abspath(public) == os.path.abspath(private)  # not there: what opens it says so
    if same:
        raise SourceError(
            "the public table is the private one: what a model learns from public rows is protected by nothing; "
            "name another file, or none"
        )


def _whole(batches: list[Any]) -> Any:
    """Batches as one table."""
    frames = [batch if isinstance(batch, pd.DataFrame) else batch.to_pandas() for batch in batches]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["FEW", "PublicRows", "public_rows_of", "refuse_the_private_one", "too_few"]

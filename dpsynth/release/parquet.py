"""Synthetic tables as Parquet bytes, marked SYNTHETIC in the footer, in every column's metadata and for pandas."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MARK = "SYNTHETIC"
MEANING = "differentially private synthetic data; no row describes a real unit"


def to_parquet(frame: pd.DataFrame) -> bytes:
    """The file. Equal frames give equal bytes under one version of pyarrow.

    Args:
        frame: synthetic rows; the index is not kept.
    """
    labelled = frame.copy(deep=False)
    labelled.attrs = {MARK: MEANING}  # pandas writes them to the file and reads them back
    table = pa.Table.from_pandas(labelled, preserve_index=False)
    marked = [field.with_metadata({**(field.metadata or {}), MARK: MEANING}) for field in table.schema]
    footer = {**(table.schema.metadata or {}), MARK: MEANING}
    table = table.cast(pa.schema(marked, metadata=footer))
    out = io.BytesIO()
    pq.write_table(table, out, compression="snappy", version="2.6")
    return out.getvalue()


def from_parquet(raw: bytes) -> pd.DataFrame:
    """The frame that is in the file."""
    frame: pd.DataFrame = pq.read_table(pa.BufferReader(raw)).to_pandas()
    return frame


__all__ = ["MARK", "MEANING", "from_parquet", "to_parquet"]

"""A table that protects nobody, and says so: in its type, in its file's name, and in every column of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NoReturn, final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NoiseKind = Literal["none", "seeded"]
"""As the gate's ``numerics`` names them; it admits neither."""

MARK = "NOT PRIVATE"
"""The key of the watermark: in the footer's metadata, in each column's, and in ``DataFrame.attrs``."""
MEANINGS: dict[NoiseKind, str] = {
    "none": "NOT PRIVATE: made without privacy noise",
    "seeded": "NOT PRIVATE: made with repeatable noise",
}
SUFFIX = ".not-private.parquet"


class NotPrivateError(TypeError, AttributeError):
    """A table made without privacy was used where a model, a sealed table or a release belongs."""


@final
class NotPrivateTable:
    """Rows drawn from a model that saw the data without noise, or with noise that repeats. Treat it as the data.

    It is no `SealedTable` and cannot become one: it has a frame and a file of its own kind, and whatever else a release
    function asks of it raises. It cannot be pickled or copied.

    Args:
        frame: the rows; the index is not kept.
        noise: how the noise behind them was made.

    Raises:
        ValueError: another kind of noise.
    """

    __slots__ = ("__frame", "__noise")

    def __init__(self, frame: pd.DataFrame, noise: NoiseKind) -> None:
        if noise not in MEANINGS:
            raise ValueError(f"noise must be one of {sorted(MEANINGS)}, got {noise!r}")
        self.__frame = frame.reset_index(drop=True)
        self.__frame.attrs = {**frame.attrs, MARK: MEANINGS[noise]}
        self.__noise: NoiseKind = noise

    @property
    def noise(self) -> NoiseKind:
        """How the noise was made: ``none`` or ``seeded``."""
        return self.__noise

    @property
    def frame(self) -> pd.DataFrame:
        """The rows. The watermark is in ``frame.attrs``, which pandas writes to Parquet and reads back."""
        return self.__frame.copy()

    def write(self, path: Path | str) -> Path:
        """Write one Parquet file, watermarked in its footer and in every column. It replaces a file of that name.

        Returns:
            Its absolute path.

        Raises:
            ValueError: the name does not end in ``.not-private.parquet``.
            OSError: the file cannot be written.
        """
        target = Path(path).absolute()
        if not target.name.endswith(SUFFIX) or target.name == SUFFIX:
            raise ValueError(
                f"a table made without privacy is written to a name that ends in {SUFFIX}, got {target.name!r}; "
                f"name it {target.name.split('.')[0] or 'table'}{SUFFIX}"
            )
        mark = {MARK: MEANINGS[self.__noise]}
        table = pa.Table.from_pandas(self.__frame, preserve_index=False)
        fields = [field.with_metadata({**(field.metadata or {}), **mark}) for field in table.schema]
        table = table.cast(pa.schema(fields, metadata={**(table.schema.metadata or {}), **mark}))
        pq.write_table(table, target, compression="snappy", version="2.6")
        return target

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("NotPrivateTable is final: no subclass of it may pass for something else")

    def __repr__(self) -> str:
        return f"NotPrivateTable({MEANINGS[self.__noise]!r})"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotPrivateError(
            f"a table made without privacy is no model, no sealed table and no release: it has no {name!r}; "
            "for a release use dpsynth.fit, model.sample and dpsynth.admit"
        )

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise NotPrivateError("a table made without privacy cannot be pickled or copied; write() marks its file")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__


def watermark(table: Path | str | pd.DataFrame | pa.Table) -> str | None:
    """What a table or a Parquet file says of itself if it was made without privacy; None where it says nothing.

    One mark anywhere is enough: in the footer, in any column, or in the attributes that pandas keeps. Code that drops
    all metadata drops them all, so None does not mean that a table is private.

    Raises:
        OSError, ValueError: a path that cannot be read as Parquet.
    """
    if isinstance(table, pd.DataFrame):
        schema, kept = pa.schema([]), table.attrs
    else:
        schema = table.schema if isinstance(table, pa.Table) else pq.read_schema(table)
        kept = schema.empty_table().to_pandas().attrs
    key = MARK.encode()
    for metadata in (schema.metadata, *(field.metadata for field in schema)):
        if metadata and key in metadata:
            return str(metadata[key].decode("utf-8", "replace"))
    return str(kept[MARK]) if MARK in kept else None


__all__ = ["MARK", "MEANINGS", "SUFFIX", "NoiseKind", "NotPrivateError", "NotPrivateTable", "watermark"]

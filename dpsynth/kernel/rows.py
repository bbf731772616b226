"""Rows, read and encoded once: a sealed box that says nothing about what is inside."""

from __future__ import annotations

from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Domain
from dpsynth.encoding import Encoder, code_dtype, unit_tokens
from dpsynth.errors import SourceError
from dpsynth.kernel.sources import check_structure, open_source
from dpsynth.progress import report
from dpsynth.schema import Schema


@final
class Rows:
    """A private table read through its schema: ``dp.Rows(frame_or_path, schema)``. Encoded once, reusable.

    Reading is not a look: nothing leaves. The structure (column names, file type) is checked first and may raise;
    values never do.

    Raises:
        SourceError: the source's structure does not fit the schema, or the file breaks off while it is read.
    """

    __slots__ = ("__codes", "__names", "__schema", "__units")

    def __init__(self, source: Any, schema: Schema) -> None:
        opened = open_source(source)
        check_structure(opened, schema)
        encoder = Encoder(schema)
        names = [*schema.domain.attributes, *([schema.unit] if schema.unit is not None else [])]
        # Bytes that grow in place. Small arrays of all batches, joined at the end, would be freed one column at a time,
        # but the process would keep their memory: every code twice (experiments/counting.py).
        grown = {a: bytearray() for a in schema.domain.attributes}
        units = bytearray()
        labels: dict[bytes, int] = {}
        broken = False
        report("reading")
        try:
            for batch in opened.batches(names):
                codes = encoder.encode(batch)
                for attribute, column in codes.items():
                    grown[attribute] += column.tobytes()
                if schema.unit is not None:
                    units += _label(unit_tokens(batch.column(schema.unit)), labels).tobytes()
            sizes = schema.domain.sizes
            self.__codes = {a: np.frombuffer(grown[a], code_dtype(sizes[a])) for a in schema.domain.attributes}
            self.__units = np.frombuffer(units, np.int64) if schema.unit is not None else None
        except Exception:  # whatever a reader may raise: dropped here, since it may quote a cell or a size
            broken = True
        if broken:  # raised out here, so that the dropped error is not attached as its context
            raise SourceError(
                "the table could not be read to its end: the file is damaged, changes while being read, or is too "
                "large for the memory; nothing was charged; check the file and try again"
            )
        self.__schema = schema
        self.__names = tuple(labels)

    @property
    def schema(self) -> Schema:
        """The schema it was read through (public)."""
        return self.__schema

    @property
    def domain(self) -> Domain:
        """The encoded domain (public)."""
        return self.__schema.domain

    def _open(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None, tuple[bytes, ...]]:
        """For ``kernel/table.py`` alone: the codes by column, the unit of each row (or None), the units' names."""
        return self.__codes, self.__units, self.__names

    def __repr__(self) -> str:
        return "Rows(sealed)"

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("Rows holds private rows: it cannot be pickled, copied or sent elsewhere")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__


def _label(tokens: Any, labels: dict[bytes, int]) -> NDArray[np.int64]:
    """Number the units of a batch; -1 for none."""
    return np.fromiter(
        (-1 if token is None else labels.setdefault(token, len(labels)) for token in tokens), np.int64, len(tokens)
    )

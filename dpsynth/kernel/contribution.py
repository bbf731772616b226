"""Contribution bounding: at most k rows of a unit survive, chosen from that unit's own rows only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**16
"""Rows whose content is held at a time, unless one unit has more."""


class Content(Protocol):
    """Encoded rows as bytes, made where they are asked for."""

    def __getitem__(self, rows: NDArray[np.intp], /) -> NDArray[np.uint8]: ...


def bound(
    units: NDArray[np.int64], names: Sequence[bytes], content: Content, at_most: int, key: bytes
) -> NDArray[np.bool_]:
    """Which rows survive.

    A unit's rows are ranked by a keyed hash of (unit, row content, number among its equal rows); the first `at_most`
    stay. Row order, batches and every other unit have no say.

    **Guarantee.** With the key fixed, the *contents* kept of a unit are a function of the multiset of that unit's own
    rows. Adding or removing another unit leaves them unchanged, so neighbouring tables differ by at most
    `at_most` kept rows, all of one unit.

    Args:
        units: shape (rows,), each row's position in `names`; below 0 means the row has no unit and is dropped.
        names: each unit's canonical bytes.
        content: of the rows asked for, shape (asked, width), the encoded row as bytes.
        at_most: k, at least 1.
        key: secret, 32 bytes, fresh for each opened table.
    """
    keep = units >= 0
    order = np.argsort(units, kind="stable")
    labels = units[order]
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]]) if labels.size else np.empty(0, np.int64)
    ends = np.r_[starts[1:], labels.size]
    crowded = ((ends - starts) > at_most) & (labels[starts] >= 0)
    for rows, held in _with_content(order, starts[crowded], ends[crowded], content):
        keep[rows] = False
        keep[rows[_first(names[units[rows[0]]], held, at_most, key)]] = True
    return keep


def _with_content(
    order: NDArray[np.intp], starts: NDArray[np.int64], ends: NDArray[np.int64], content: Content
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """The rows of each unit and their content, gathered for many units at a time."""
    first = 0
    while first < len(starts):
        total = np.cumsum(ends[first:] - starts[first:])
        last = first + max(1, int(np.searchsorted(total, _BLOCK, side="right")))
        groups = [order[start:end] for start, end in zip(starts[first:last], ends[first:last], strict=True)]
        held, at = content[np.concatenate(groups)], 0
        for rows in groups:
            yield rows, held[at : at + len(rows)]
            at += len(rows)
        first = last


def _first(name: bytes, content: NDArray[np.uint8], at_most: int, key: bytes) -> list[int]:
    """Positions of the `at_most` smallest keyed hashes among one unit's rows."""
    seen: dict[bytes, int] = {}
    ranked: list[tuple[bytes, int]] = []
    for position in range(len(content)):
        row = content[position].tobytes()
        number = seen[row] = seen.get(row, 0) + 1
        message = number.to_bytes(8, "little") + row + name  # two of fixed width, then the rest: no two read alike
        ranked.append((blake2b(message, key=key, digest_size=32).digest(), position))
    return [position for _, position in sorted(ranked)[:at_most]]

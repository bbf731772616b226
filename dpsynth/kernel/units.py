"""The rows that a training samples from, those of a unit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray


@final
class Units:
    """The rows of a view, those of a unit together: sealed, since it stands in a frame that others' errors pass.

    Args:
        codes: shape (rows, columns), of the smallest type.
        starts: shape (units + 1,), where each unit's rows begin.
    """

    __slots__ = ("__codes", "__starts")

    def __init__(self, codes: NDArray[Any], starts: NDArray[np.int64]) -> None:
        self.__codes, self.__starts = codes, starts

    @classmethod
    def of(cls, codes: Mapping[str, NDArray[Any]], units: NDArray[np.int64] | None) -> Units:
        """From columns of codes and each row's unit (None: each row is one)."""
        matrix = np.stack(list(codes.values()), axis=1)
        if units is None:
            return cls(matrix, np.arange(len(matrix) + 1))
        order = np.argsort(units, kind="stable")
        labels = units[order]
        first = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]]) if labels.size else np.empty(0, np.int64)
        return cls(matrix[order], np.r_[first, len(labels)])

    def __len__(self) -> int:
        return len(self.__starts) - 1

    def rows(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Codes of the chosen units' rows, and for each the place of its unit among the chosen."""
        sizes = self.__starts[chosen + 1] - self.__starts[chosen]
        places = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.__codes[self.__starts[chosen][places] + within].astype(np.int64), places

    def __repr__(self) -> str:
        return "Units(sealed)"

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("Units holds private rows: it cannot be pickled, copied or sent elsewhere")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__


__all__ = ["Units"]

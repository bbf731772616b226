"""Random words that repeat: for tests of the samplers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class SeededBits:
    """Words of a seeded PCG64."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.PCG64(seed)

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words."""
        return np.asarray(self._generator.random_raw(count), dtype=np.uint64)


class TapedBits:
    """Exactly the words given, in order; zeros after the tape runs out."""

    def __init__(self, tape: Iterable[int]) -> None:
        self._tape = list(tape)

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words."""
        taken, self._tape = self._tape[:count], self._tape[count:]
        return np.array(taken + [0] * (count - len(taken)), dtype=np.uint64)

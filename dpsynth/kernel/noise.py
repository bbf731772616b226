"""Where privacy noise comes from: ChaCha20 keyed by the operating system, and two exact samplers on top of it.

There is no seed anywhere. A copy, a pickle or a look at the state is refused; after a fork the child takes a new key.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from fractions import Fraction
from threading import Lock
from typing import NoReturn, Protocol, final

import numpy as np
from numpy.typing import NDArray
from randomgen import ChaCha
from scipy.special import ndtri

from accountants.exact import precise
from dpsynth.measurement import MAX_SIGMA

SELECTION_BITS = 160
"""Weights of a selection are integers up to 2^160; each is off by less than 1, so by 2^-160 of the heaviest."""

_TAIL_WORDS = 2**12
_BLOCK = 2**18
_QUANTILE_ERROR = 2.0**-40
"""Bound on |ndtri(p) - Phi^-1(p)| / (1 + |z|); measured below 2^-51, so with 2,000 times to spare."""
_DIGITS = 140
_WEIGHT_DIGITS = 90
"""Digits for boundary probabilities (448 bits are compared with them) and for the weights of a selection."""

_MANY = 64
"""From this many candidates on, floats locate the point of a selection where they are certain."""
_WEIGHT_ERROR = 2.0**-28
"""Bound on the error of a sum of up to 2^22 float weights, relative to the sum of all; rounding makes 2^-31 at most."""


class Bits(Protocol):
    """A stream of uniform random 64-bit words."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` independent words."""
        ...


@final
class SystemBits:
    """The CSPRNG: ChaCha20 with a 256-bit key from ``os.urandom``, re-keyed in a forked child.

    Raises:
        TypeError: on any attempt to copy or pickle it.
    """

    __slots__ = ("__generator", "__lock", "__pid")

    def __init__(self) -> None:
        self.__lock = Lock()
        self.__rekey()

    def __rekey(self) -> None:
        self.__pid = os.getpid()
        self.__generator = ChaCha(key=int.from_bytes(os.urandom(32), "little"), rounds=20)

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` independent uniform 64-bit words."""
        with self.__lock:
            if os.getpid() != self.__pid:
                self.__rekey()
            raw: NDArray[np.uint64] = self.__generator.random_raw(count)
            return raw

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("the noise source cannot be pickled or copied: equal noise twice cancels out")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__

    def __repr__(self) -> str:
        return "SystemBits()"


@final
class Noise:
    """The exact samplers: rounded Gaussian noise and selection by integer weights.

    Args:
        bits: where randomness comes from. Outside tests this is always `SystemBits`.
    """

    __slots__ = ("__bits",)

    def __init__(self, bits: Bits | None = None) -> None:
        self.__bits = SystemBits() if bits is None else bits

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("the noise source cannot be pickled or copied: equal noise twice cancels out")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__

    @property
    def numerics(self) -> str:
        """``exact`` if it draws from `SystemBits`, else ``seeded``, which no gate admits."""
        return "exact" if type(self.__bits) is SystemBits else "seeded"

    def key(self) -> bytes:
        """A fresh 256-bit secret key."""
        return self.__bits.words(4).tobytes()

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """`size` numbers, uniform on the open interval (0, 1), of 53 bits. For randomness that is not noise."""
        return ((self.__bits.words(size) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def poisson(self, rate: float, count: int) -> NDArray[np.int64]:
        """Which of `count` units take part: each on its own with probability `rate`, rounded down to 64 bits.

        Raises:
            ValueError: a rate that is not above 0 and at most 1.
        """
        if not (0.0 < rate <= 1.0):
            raise ValueError(f"a sampling rate is above 0 and at most 1, got {rate!r}")
        words = self.__bits.words(count)
        if rate == 1.0:
            return np.arange(count)
        return np.flatnonzero(words < np.uint64(int(Fraction(rate) * 2**64)))

    def rounded_gaussian(self, sigma: float, size: int) -> NDArray[np.int64]:
        """`size` independent draws of ``round(Z)``, ``Z ~ N(0, sigma^2)``.

        Inverse CDF on 64 bits: one for the sign, 63 for the tail probability ``p in [v, v + 1) / 2^64``. The float
        quantile is accepted only where its whole error interval rounds to one integer; otherwise 192 more bits are
        drawn and the boundary probabilities compared at 140 digits, with yet more bits while undecided.

        **Guarantee.** The draw is exactly ``round`` of an ideal Gaussian, given that ndtri errs by less than 2^-40
        relative (measured: 2^-51). See docs/proofs/rounded_gaussian.md.

        Raises:
            ValueError: sigma not finite, not above 0, or above 2^30 rows.
        """
        if not (0.0 < sigma <= MAX_SIGMA):
            raise ValueError(f"sigma must be above 0 and at most 2^30 rows, got {sigma!r}")
        result = np.empty(size, np.int64)
        for start in range(0, size, _BLOCK):
            part = result[start : start + _BLOCK]
            part[:] = self.__block(sigma, part.size)
        return result

    def __block(self, sigma: float, size: int) -> NDArray[np.int64]:
        """The draws of `rounded_gaussian`, few enough at a time for the work arrays to stay small."""
        word = self.__bits.words(size)
        negative = (word & np.uint64(1)).astype(bool)
        tail = word >> np.uint64(1)
        z = -ndtri((tail.astype(np.float64) + 0.5) * 2.0**-64)
        density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        error = sigma * (2.0**-64 / density + _QUANTILE_ERROR * (1.0 + z))
        shifted = sigma * z + 0.5
        magnitude = np.floor(shifted)
        certain = (np.abs(shifted - np.rint(shifted)) > error) & (tail >= _TAIL_WORDS)
        result: NDArray[np.int64] = magnitude.astype(np.int64)
        for i in np.flatnonzero(~certain):
            result[i] = self.__refined(sigma, int(tail[i]))
        result[negative] *= -1
        return result

    def __refined(self, sigma: float, tail: int) -> int:
        """The one n >= 0 with ``Q((n + 1/2)/sigma) <= p < Q((n - 1/2)/sigma)``, by as many bits as that takes."""
        bits = 64
        with precise(_DIGITS) as mp:
            low, high = 0, math.ceil(40.0 * sigma) + 1
            while low < high:
                middle = (low + high) // 2
                boundary = mp.erfc((mp.mpf(middle) + 0.5) / (mp.mpf(sigma) * mp.sqrt(2))) / 2
                slack = mp.ldexp(boundary, -380)
                while True:
                    if mp.ldexp(mp.mpf(tail), -bits) > boundary + slack:
                        high = middle
                        break
                    if mp.ldexp(mp.mpf(tail + 1), -bits) < boundary - slack:
                        low = middle + 1
                        break
                    tail, bits = (tail << 192) | self.__integer(192), bits + 192
                    if bits > 64 + 192 * 2:
                        high = middle  # undecided after 448 bits: a chance below 2^-380
                        break
        return low

    def __integer(self, bits: int) -> int:
        """A uniform integer of `bits` bits."""
        count = -(-bits // 64)
        value = int.from_bytes(self.__bits.words(count).astype("<u8").tobytes(), "little")
        return value >> (64 * count - bits)

    def below(self, bound: int) -> int:
        """A uniform integer in ``[0, bound)``, exactly, by rejection."""
        bits = (bound - 1).bit_length()
        if bits == 0:
            return 0
        while (value := self.__integer(bits)) >= bound:
            pass
        return value

    def choose(self, scores: Sequence[int], rate: float, sensitivity: int) -> int:
        """The index ``i`` with probability proportional to ``exp(rate * scores[i] / (2 * sensitivity))``.

        **Guarantee.** Within total variation ``len(scores) * 2^-159`` of the exponential mechanism, so within
        2^-138 for two million candidates. No floating-point noise is drawn.

        Args:
            scores: integers, at least one.
            rate: eta, above 0.
            sensitivity: the most any score changes when one unit is added or removed, at least 1.
        """
        best = max(scores)
        gaps = [best - score for score in scores]
        many = _MANY <= len(gaps) <= 2**22 and max(*gaps, sensitivity) < 2**900  # within the floats
        index, point = self.__located(gaps, rate, sensitivity) if many else (None, None)
        if index is not None:
            return index
        weight_of = {gap: _weight(gap, rate, sensitivity) for gap in set(gaps)}
        weights = [weight_of[gap] for gap in gaps]
        total = sum(weights)
        point = self.below(total) if point is None or point >= total else point
        for index, weight in enumerate(weights):
            point -= weight
            if point < 0:
                return index
        raise AssertionError("unreachable: the point is below the sum of the weights")

    def __located(self, gaps: Sequence[int], rate: float, sensitivity: int) -> tuple[int | None, int | None]:
        """The index whose integer weight holds the point, where floats are certain of it, and the point.

        The point is drawn as `below` draws it, from the same bits, and compared with sums of float weights. Whatever
        lies within their error of a boundary, the end of the last weight included, is left to the integers: they get
        the same point, so the answer is the one they alone would give. None for the point: nothing was drawn.
        """
        weights = np.exp(-np.minimum(rate * np.array(gaps, np.float64) / (2.0 * sensitivity), 700.0))
        ends = np.cumsum(weights)
        error = _WEIGHT_ERROR * ends[-1]
        low, high = (int(np.ldexp(end, 52)) for end in (ends[-1] - error, ends[-1] + error))
        if low.bit_length() != (high + 1).bit_length():
            return None, None  # how many bits `below` draws depends on the exact sum
        bits = low.bit_length() - 52 + SELECTION_BITS
        while True:
            point = self.__integer(bits)
            at = math.ldexp(point, -SELECTION_BITS)
            if at <= ends[-1] + error:
                break
        index = int(np.searchsorted(ends, at))
        near = ends[max(index - 1, 0) : index + 1]
        certain = at < ends[-1] - error and bool((np.abs(near - at) > error).all())
        return (index if certain else None), point


def _weight(gap: int, rate: float, sensitivity: int) -> int:
    """``floor(2^160 * exp(-rate * gap / (2 * sensitivity)))``, at 90 digits."""
    with precise(_WEIGHT_DIGITS) as mp:
        exponent = mp.mpf(rate) * gap / (2 * sensitivity)
        return 0 if exponent > SELECTION_BITS else int(mp.floor(mp.ldexp(mp.exp(-exponent), SELECTION_BITS)))

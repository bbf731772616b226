"""Released margins beside the noisy ones that were measured, with the error that noise alone would make.

Everything here is a function of noisy answers, of the synthetic rows and of the public schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import pi, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.columns import BinnedBase, ColumnBase
from dpsynth.domain import Clique, Codes, Domain
from dpsynth.encoding import Encoder
from dpsynth.measurement import NoisyCounts
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

MOST_CELLS = 24
"""Cells drawn for one column; more are merged."""
CROWDED = 0.8
"""Share of the released rows from which one bin of a column is reported as holding too many."""
BLURRED = 0.1
"""Distance made by noise alone from which a margin cannot be told right from wrong."""
SIGNIFICANT = 3.0
"""Standard deviations of noise from which an out-of-domain count is reported: by chance once in 740 columns."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One cell of a column, or several merged: shares of all rows.

    Attributes:
        label: what the cell is called.
        measured, sigma: the noisy share and its standard deviation; None where the column was not measured.
        released: the share in the table.
        rest: whether this is all the cells too small to be shown.
    """

    label: str
    measured: float | None
    sigma: float | None
    released: float
    rest: bool = False


@dataclass(frozen=True, slots=True)
class ColumnMargin:
    """One column.

    Attributes:
        name: of the column.
        source: the clique its noisy counts come from, None where no look covers it.
        times: how often it was counted; repeats are averaged, weighted by their precision.
        sigma: noise of one cell, in rows.
        bars: its cells.
        outside: noisy rows outside the codebook where they stand out of the noise, with their sigma.
        crowded: a bin of more than one value with most of the released rows, and its share of them.
    """

    name: str
    source: Clique | None
    times: int
    sigma: float | None
    bars: tuple[Bar, ...]
    outside: tuple[float, float] | None
    crowded: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """One margin as measured, repeats averaged. Their noise is independent, so weights of 1/sigma^2 are best.

    Attributes:
        clique, recoding: as of the answers.
        values: weighted mean of the noisy counts.
        sigma: its noise in one cell, in rows.
        times: how many answers went into it.
    """

    clique: Clique
    recoding: Mapping[str, NDArray[np.int64]]
    values: NDArray[np.float64]
    sigma: float
    times: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How a released margin lies to a measured one.

    Attributes:
        clique: the columns.
        cells: of the margin.
        sigma: noise of one cell, in rows.
        times: how often it was measured.
        distance: total variation distance between the noisy measurement and the table.
        noise: what that distance would be on average if the table were right and only noise (and the drawing
            of finitely many rows) stood between.
        spread: standard deviation of `noise`.
    """

    clique: Clique
    cells: int
    sigma: float
    times: int
    distance: float
    noise: float
    spread: float

    @property
    def verdict(self) -> str:
        """``close``, ``off`` (more than noise explains) or ``blurred`` (the noise itself is as large as the signal)."""
        if self.distance > self.noise + 3 * self.spread and self.distance - self.noise > 0.01:
            return "off"
        return "blurred" if self.noise > BLURRED else "close"


def fits(transcript: Transcript, codes: Codes, rows: int, total: float) -> Iterator[Fit]:
    """The fit of every measured margin but the total, in the order first measured."""
    for answer in counted(transcript):
        if not answer.clique:
            continue
        measured = answer.values / total
        released = _released(answer, codes) / rows
        deviation = np.sqrt((answer.sigma / total) ** 2 + released * (1 - released) / rows)
        yield Fit(
            clique=answer.clique,
            cells=prod(answer.values.shape),
            sigma=answer.sigma,
            times=answer.times,
            distance=0.5 * float(np.abs(measured - released).sum()),
            noise=0.5 * sqrt(2 / pi) * float(deviation.sum()),
            spread=0.5 * sqrt(1 - 2 / pi) * float(np.sqrt((deviation**2).sum())),
        )


def counted(transcript: Transcript) -> list[Counted]:
    """Every measured margin once, in the order first measured."""
    alike: dict[Any, list[NoisyCounts]] = {}
    for answer in transcript:
        if isinstance(answer, NoisyCounts):
            recoding = tuple((name, map_.tobytes()) for name, map_ in sorted((answer.recoding or {}).items()))
            alike.setdefault((answer.clique, recoding), []).append(answer)
    return [_averaged(answers) for answers in alike.values()]


def _averaged(answers: list[NoisyCounts]) -> Counted:
    precision = sum(answer.sigma**-2 for answer in answers)
    values = np.sum([answer.values * (answer.sigma**-2 / precision) for answer in answers], axis=0)
    first = answers[0]
    return Counted(first.clique, first.recoding or {}, np.asarray(values), precision**-0.5, len(answers))


def columns(schema: Schema, transcript: Transcript, codes: Codes, rows: int, total: float) -> Iterator[ColumnMargin]:
    """Every column with its best noisy margin, in schema order."""
    encoder, domain, measured = Encoder(schema), schema.domain, counted(transcript)
    for column in schema.encoded:
        name, labels = column.name, encoder.decode_labels(column.name)
        released = np.bincount(codes[name], minlength=domain[name]) / rows
        crowded = _crowded(column, labels, released)
        answer = _best(measured, name)
        if answer is None:
            unknown = [Bar(label, None, None, float(x)) for label, x in zip(labels, released, strict=True)]
            bars = _merge(unknown, ordered=column.ordered, special=domain[name] - column.cells)
            yield ColumnMargin(name, None, 0, None, bars, None, crowded)
            continue
        counts, sigma = _one_way(answer, name)
        parts = _parts(answer, name, domain)
        bars = _merge(
            [
                Bar(_joined([labels[c] for c in part]), float(n) / total, sigma / total, float(released[part].sum()))
                for part, n in zip(parts, counts, strict=True)
            ],
            ordered=column.ordered,
            special=sum(int(part[0]) >= column.cells for part in parts),
        )
        alone = parts[-1].tolist() == [domain[name] - 1]
        outside = (float(counts[-1]), sigma) if alone and counts[-1] > SIGNIFICANT * sigma else None
        yield ColumnMargin(name, answer.clique, answer.times, sigma, bars, outside, crowded)


def unmeasured(domain: Domain, transcript: Transcript) -> dict[str, tuple[str, ...]]:
    """For each column the columns it was never counted together with. Empty where all pairs were."""
    seen = {
        pair
        for answer in transcript
        if isinstance(answer, NoisyCounts)
        for pair in combinations(sorted(answer.clique), 2)
    }
    lacking = {
        a: tuple(b for b in domain.attributes if b != a and tuple(sorted((a, b))) not in seen)
        for a in domain.attributes
    }
    return {a: others for a, others in lacking.items() if others}


def _crowded(column: ColumnBase, labels: list[str], released: NDArray[np.float64]) -> tuple[str, float] | None:
    """The bin that holds more than `CROWDED` of the rows, if finer bins could tell its values apart."""
    if not isinstance(column, BinnedBase):
        return None
    fullest = int(released[: column.cells].argmax())
    low, beyond = column.partition.edges[fullest : fullest + 2]
    share = float(released[fullest])
    return (labels[fullest], share) if share > CROWDED and beyond - low > 1 else None


def _best(measured: list[Counted], name: str) -> Counted | None:
    """What says most of one column: not merged if possible, then the least noise."""
    covering = [answer for answer in measured if name in answer.clique]
    return min(covering, key=lambda answer: (name in answer.recoding, _one_way(answer, name)[1]), default=None)


def _one_way(answer: Counted, name: str) -> tuple[NDArray[np.float64], float]:
    axis = answer.clique.index(name)
    others = tuple(i for i in range(answer.values.ndim) if i != axis)
    merged = prod(answer.values.shape[i] for i in others)
    return answer.values.sum(axis=others), answer.sigma * sqrt(merged)


def _parts(answer: Counted, name: str, domain: Domain) -> list[NDArray[np.int64]]:
    """Base codes behind each cell counted."""
    map_ = answer.recoding.get(name)
    if map_ is None:
        return [np.array([code]) for code in range(domain[name])]
    return [np.flatnonzero(map_ == cell) for cell in range(answer.values.shape[answer.clique.index(name)])]


def _released(answer: Counted, codes: Codes) -> NDArray[np.float64]:
    axes = [answer.recoding[a][codes[a]] if a in answer.recoding else codes[a] for a in answer.clique]
    flat = np.ravel_multi_index([np.asarray(axis, dtype=np.int64) for axis in axes], answer.values.shape)
    size = prod(answer.values.shape)
    return np.bincount(flat, minlength=size).reshape(answer.values.shape).astype(np.float64)


def _merge(bars: list[Bar], *, ordered: bool, special: int) -> tuple[Bar, ...]:
    """At most `MOST_CELLS` bars: neighbours together where order means something, else the smallest together.

    The last `special` ones (missing, outside the codebook) stay as they are.
    """
    plain, last = bars[: len(bars) - special], bars[len(bars) - special :]
    room = max(1, MOST_CELLS - len(last))
    if len(plain) <= room:
        return tuple(bars)
    if ordered:
        cuts = [len(plain) * i // room for i in range(room + 1)]
        return (*(_together(plain[a:b], _range) for a, b in pairwise(cuts)), *last)
    by_size = sorted(range(len(plain)), key=lambda i: (-max(plain[i].measured or 0.0, plain[i].released), i))
    kept = set(by_size[: room - 1])
    rest = [bar for i, bar in enumerate(plain) if i not in kept]
    return (
        *(plain[i] for i in sorted(kept)),
        replace(_together(rest, lambda labels: f"{len(labels)} others"), rest=True),
        *last,
    )


def _together(bars: list[Bar], name: Callable[[list[str]], str]) -> Bar:
    if len(bars) == 1:
        return bars[0]
    noisy = [(bar.measured, bar.sigma) for bar in bars if bar.measured is not None and bar.sigma is not None]
    return Bar(
        label=name([bar.label for bar in bars]),
        measured=sum(m for m, _ in noisy) if noisy else None,
        sigma=sqrt(sum(s * s for _, s in noisy)) if noisy else None,
        released=sum(bar.released for bar in bars),
    )


def _range(labels: list[str]) -> str:
    """Neighbouring intervals as one: ``[0, 5)`` to ``[10, 15)`` is ``[0, 15)``; other labels from first to last."""
    first, last = labels[0], labels[-1]
    if first.startswith("[") and last.endswith((")", "]")) and ", " in first and ", " in last:
        return f"{first.partition(', ')[0]}, {last.rpartition(', ')[2]}"
    return f"{first} … {last}"


def _joined(labels: list[str]) -> str:
    return " or ".join(labels) if len(labels) <= 3 else f"{labels[0]} or {len(labels) - 1} others"


__all__ = ["Bar", "ColumnMargin", "Counted", "Fit", "columns", "counted", "fits", "unmeasured"]

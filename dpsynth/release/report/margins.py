"""Columns as released beside what was measured of them, and the pairs of which nothing was.

Everything here is a function of noisy answers, of the synthetic rows and of the public schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from dpsynth.columns import BinnedBase, Categorical, Coded, ColumnBase, Ordinal
from dpsynth.domain import Clique, Codes, Domain
from dpsynth.encoding import Encoder
from dpsynth.measurement import NoisyCounts, NoisyMoments
from dpsynth.release.report.counted import Counted
from dpsynth.release.report.verdicts import Fit, Verdict
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

MOST_CELLS = 24
"""Cells drawn for one column; more are merged."""
CROWDED = 0.8
"""Share of the released rows from which one bin of a column is reported as holding too many."""
SIGNIFICANT = 3.0
"""Standard deviations of noise from which an out-of-domain count is reported: by chance once in 740 columns."""
NEARLY = 0.99
"""Share of the rows, less two standard deviations of noise, from which a column holds one value alone, or none."""
BLURRED = 0.05
"""Noise of a share beyond which no such thing is said."""
FEW = 10.0
"""Rows, in standard deviations of noise, below which shares are told badly."""


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
        label: for people, None where the schema has none.
        fit: how the table lies to what was measured; None where nothing was, or columns were supplied.
        wrong_codebook: whether most rows are outside the codebook, so that the column comes out empty.
        remarks: what else its noisy counts say, a sentence each.
        cells: how many it has, whatever was merged.
        empty: whether nearly every cell is missing, as measured.
    """

    name: str
    source: Clique | None
    times: int
    sigma: float | None
    bars: tuple[Bar, ...]
    outside: tuple[float, float] | None
    crowded: tuple[str, float] | None = None
    label: str | None = None
    fit: Fit | None = None
    wrong_codebook: bool = False
    remarks: tuple[str, ...] = ()
    cells: int = 0
    empty: bool = False


def columns(
    schema: Schema, measured: Sequence[Counted], codes: Codes, rows: int, total: float, fits: Sequence[Fit] = ()
) -> Iterator[ColumnMargin]:
    """Every column with its best noisy margin, in schema order.

    Args:
        schema: the public description of the table.
        measured: all margins.
        codes, rows: the released rows, encoded, and how many.
        total: of the real table, as estimated.
        fits: of the measured margins.
    """
    encoder, domain, labels = Encoder(schema), schema.domain, {c.name: c.label for c in schema.columns}
    for column in schema.encoded:
        name, cells = column.name, encoder.decode_labels(column.name)
        released = np.bincount(codes[name], minlength=domain[name]) / rows
        crowded = _crowded(column, cells, released)
        answer = _best(measured, name)
        if answer is None:
            unknown = [Bar(cell, None, None, float(x)) for cell, x in zip(cells, released, strict=True)]
            bars = _merge(unknown, ordered=column.ordered, special=domain[name] - column.cells)
            yield ColumnMargin(name, None, 0, None, bars, None, crowded, labels[name], cells=len(cells))
            continue
        counts, sigma = answer.one_way(name)
        parts = answer.parts(name, domain)
        every = [
            Bar(_joined([cells[c] for c in part]), float(n) / total, sigma / total, float(released[part].sum()))
            for part, n in zip(parts, counts, strict=True)
        ]
        special = sum(int(part[0]) >= column.cells for part in parts)
        outside = _outside(measured, name, domain)
        found = outside is not None and outside[0] > SIGNIFICANT * outside[1]
        yield ColumnMargin(
            name=name,
            source=answer.clique,
            times=answer.times,
            sigma=sigma,
            bars=_merge(every, ordered=column.ordered, special=special),
            outside=outside if found else None,
            crowded=crowded if total >= FEW * sigma else None,
            label=labels[name],
            fit=_headline([fit for fit in fits if fit.clique == (name,)]),
            wrong_codebook=outside is not None and found and outside[0] - 2 * outside[1] > total / 2,
            remarks=tuple(_remarks(column, parts, counts / total, sigma / total)),
            cells=len(cells),
            empty=_empty(column, parts, counts / total, sigma / total),
        )


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


def asked_moments(transcript: Transcript) -> tuple[str, ...]:
    """Columns of which second moments were asked."""
    scores = (score for answer in transcript if isinstance(answer, NoisyMoments) for score in answer.scores)
    return tuple(dict.fromkeys(score.attribute for score in scores))


def _crowded(column: ColumnBase, labels: list[str], released: NDArray[np.float64]) -> tuple[str, float] | None:
    """The bin that holds more than `CROWDED` of the rows, if finer bins could tell its values apart."""
    if not isinstance(column, BinnedBase):
        return None
    fullest = int(released[: column.cells].argmax())
    low, beyond = column.partition.edges[fullest : fullest + 2]
    share = float(released[fullest])
    return (labels[fullest], share) if share > CROWDED and beyond - low > 1 else None


def _best(measured: Sequence[Counted], name: str) -> Counted | None:
    """What says most of one column: not merged if possible, then the least noise."""
    covering = [answer for answer in measured if name in answer.clique]
    return min(covering, key=lambda answer: (name in answer.recoding, answer.one_way(name)[1]), default=None)


def _outside(measured: Sequence[Counted], name: str, domain: Domain) -> tuple[float, float] | None:
    """Noisy rows outside the codebook and their sigma, where they were counted apart from others: least noise first."""
    found = []
    for answer in measured:
        if name in answer.clique:
            alone = [i for i, part in enumerate(answer.parts(name, domain)) if part.tolist() == [domain[name] - 1]]
            counts, sigma = answer.one_way(name)
            found += [(float(counts[i]), sigma) for i in alone]
    return min(found, key=lambda pair: pair[1], default=None)


def _headline(fits: Sequence[Fit]) -> Fit | None:
    """The fit that a column is judged by: a contradiction before all else, then the narrowest bound."""
    return min(fits, key=lambda fit: (fit.verdict is not Verdict.CONTRADICTS, -fit.least, fit.bound), default=None)


def _empty(column: ColumnBase, parts: list[NDArray[np.int64]], shares: NDArray[np.float64], sigma: float) -> bool:
    """Whether nearly every cell is missing, where noise lets that be told."""
    missing = [i for i, part in enumerate(parts) if part.tolist() == [column.missing_code]]
    return bool(missing) and sigma <= BLURRED and bool(shares[missing[0]] >= NEARLY - 2 * sigma)


def _remarks(
    column: ColumnBase, parts: list[NDArray[np.int64]], shares: NDArray[np.float64], sigma: float
) -> Iterator[str]:
    """What a reader would otherwise stumble over, as far as it stands out of the noise."""
    values = [i for i, part in enumerate(parts) if int(part[0]) < column.cells]
    if sigma > BLURRED:  # nothing of this can be told
        return
    if _empty(column, parts, shares, sigma):
        yield "Empty in nearly every row, as measured."
    elif len(values) > 1 and max(shares[i] for i in values) >= NEARLY - 2 * sigma:
        yield "Nearly every row is in one cell, as measured: the column says next to nothing of anyone."
        if isinstance(column, BinnedBase) and int(np.argmax(shares)) in (values[0], values[-1]):
            yield "Values beyond the declared bounds are counted there: are bounds and unit right?"
    below = sum(bool(shares[i] < SIGNIFICANT * sigma) for i in values)
    if isinstance(column, Categorical | Ordinal | Coded) and below > 0:
        yield (
            f"{below} of {len(values)} values stay below the noise (three standard deviations, "
            f"{100 * SIGNIFICANT * sigma:.2g} % of the rows): how frequent they are, nobody can tell."
        )


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


__all__ = ["FEW", "Bar", "ColumnMargin", "asked_moments", "columns", "unmeasured"]

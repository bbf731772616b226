"""Whether the real tables are what they were said to be: made the release, and were kept from it. Sentences, private.

A release carries noisy counts of the rows that it was made from, with noise of known size; `split` keeps digests of
what it wrote. Held against the tables at hand both show a mistake, where it is large beside noise and chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc

from dpsynth import private
from dpsynth.errors import BundleError
from dpsynth.evaluation.custodian.finding import Tables
from dpsynth.release.bundle import REPORT_JSON
from dpsynth.release.verification import read_predicate

FAR = 5.0
"""Standard deviations from which a difference is told: by chance once in a million reports."""
RARE = 1e-6
"""Chance of such counts, over all columns, below which the training rows are doubted."""


def doubts(tables: Tables, left_out: Mapping[str, int], release: Path, train: Any, holdout: Any) -> list[str]:
    """What speaks against the tables; empty where nothing does. One check that fails does not take the others with it.

    Args:
        tables: as read.
        left_out: real rows that were not, by reason.
        release: its folder.
        train, holdout: as they were given: digests are known of files.
    """
    checks: list[Callable[[], Iterator[str]]] = [
        lambda: _other_rows(tables, left_out, json.loads((release / REPORT_JSON).read_text("utf-8"))),
        lambda: _overlap(tables),
        lambda: _digests(train, holdout),
        lambda: _public(release, train, holdout),
    ]
    found: list[str] = []
    for check in checks:
        try:
            found += check()
        except (OSError, ValueError, KeyError, TypeError) as error:
            found.append(f"One check of the tables could not be made ({type(error).__name__}).")
    return found


def pair_digest(train: bytes, holdout: bytes) -> str:
    """By what two files of one split are known to belong together: sha256, hex."""
    digests = [hashlib.sha256(raw).digest() for raw in (train, holdout)]
    return hashlib.sha256(b"split" + b"".join(digests)).hexdigest()


def _other_rows(tables: Tables, left_out: Mapping[str, int], report: Mapping[str, Any]) -> Iterator[str]:
    """The release's noisy counts against the training rows: their number, then values of listed columns."""
    total, rows = float(report["total"]), len(tables.train)
    measured = [column for column in report["columns"] if column["source"] is not None]
    sums = {tuple(column["source"]): _summed(column["bars"], total) for column in measured}
    if sums:
        weights = np.array([1 / variance for _, variance in sums.values()])
        noisy = float(np.average([value for value, _ in sums.values()], weights=weights))
        sigma = 1 / sqrt(float(weights.sum()))
        if abs(noisy - rows) > FAR * sigma + 1:
            yield (
                f"The release was made from about {noisy:,.0f} rows (by its noisy counts; standard deviation "
                f"{sigma:,.{0 if sigma >= 10 else 1}f}), and --train has {rows:,}: it seems to have been made from "
                "another table."
            )
            return
    # Of units with more rows than a release takes, another choice of rows may have been counted.
    beyond, k = int(left_out["beyond_bound"]), tables.schema.at_most
    chosen = beyond * k**2 / 2
    chances = [_chance(tables.train[c["name"]], c["bars"], total, chosen) for c in measured if _told(tables, c)]
    if chances and min(chances) * len(chances) < RARE:
        names = sum(chance * len(chances) < RARE for chance in chances)
        yield (
            f"The counts that the release was made from differ from those of --train beyond its noise, in {names} of "
            f"{len(chances)} listed columns: it seems to have been made from other rows."
        )


def _summed(bars: list[Mapping[str, Any]], total: float) -> tuple[float, float]:
    """The noisy number of rows that a column's cells add up to, and its variance; noise is rounded."""
    value = total * sum(float(bar["measured"]) for bar in bars)
    return value, sum((total * float(bar["sigma"])) ** 2 + 1 / 12 for bar in bars)


def _told(tables: Tables, column: Mapping[str, Any]) -> bool:
    """Whether every value of a listed column was counted by itself, and is shown so."""
    cells = tables.train[column["name"]]
    return isinstance(cells.dtype, pd.CategoricalDtype) and len(column["bars"]) == column["cells"]


def _chance(cells: pd.Series[Any], bars: list[Mapping[str, Any]], total: float, chosen: float) -> float:
    """Chance of such noisy counts of the column's values, were they of these rows."""
    codes = cells.cat.codes.to_numpy()
    exact = np.bincount(codes[codes >= 0], minlength=len(cells.cat.categories))
    noisy = total * np.array([float(bar["measured"]) for bar in bars[: len(exact)]])
    variances = (total * np.array([float(bar["sigma"]) for bar in bars[: len(exact)]])) ** 2 + 1 / 12 + chosen
    return float(chdtrc(len(exact), float(((noisy - exact) ** 2 / variances).sum())))


def _overlap(tables: Tables) -> Iterator[str]:
    """Rows of the holdout that are in train as they are, against rows that train has twice: what chance would make."""
    if tables.train.empty or tables.holdout.empty:
        return
    train, holdout = _hashes(tables.train), _hashes(tables.holdout)
    _, which, times = np.unique(train, return_inverse=True, return_counts=True)
    twice, both = float((times[which] > 1).mean()), np.isin(holdout, train)
    share = max(twice, 1 / len(train))
    spread = sqrt(max(share * (1 - share), 0.0) * (1 / len(holdout) + 2 / len(train)))
    if both.mean() - twice > FAR * spread + 1 / len(holdout):
        yield (
            f"{int(both.sum()):,} of {len(holdout):,} rows of --holdout are in --train too, cell by cell, where rows "
            f"that --train has twice would explain about {twice * len(holdout):,.0f}: the holdout was not kept apart, "
            "and what is compared with it flatters the release."
        )


def _hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


def _digests(train: Any, holdout: Any) -> Iterator[str]:
    """Files of `split`: of two splits, or the wrong way round. Of other tables nothing is known."""
    if not (isinstance(train, str | Path) and isinstance(holdout, str | Path)):
        return
    files = [Path(train).read_bytes(), Path(holdout).read_bytes()]
    if files[0] == files[1]:
        yield "--train and --holdout are the same file."
    elif private.is_known(pair_digest(files[1], files[0])):
        yield "--train is what 'dpsynth split' held out, and --holdout the rest: they are the wrong way round."
    elif all(private.is_known(hashlib.sha256(raw).hexdigest()) for raw in files) and not private.is_known(
        pair_digest(*files)
    ):
        yield (
            "--train and --holdout were not written by one 'dpsynth split': what one split held out, another may have "
            "left in."
        )


def _public(release: Path, train: Any, holdout: Any) -> Iterator[str]:
    """A file that the model was trained on without noise, as a public table."""
    public = None
    with suppress(BundleError):  # without a certificate nothing is known
        public = read_predicate(release).get("public_table")
    if public is None:
        return
    for name, file in (("--train", train), ("--holdout", holdout)):
        if isinstance(file, str | Path) and hashlib.sha256(Path(file).read_bytes()).hexdigest() == public["sha256"]:
            yield f"{name} is the public table that the model was trained on without noise: no figure holds for it."


__all__ = ["doubts", "pair_digest"]

"""The noisy answers a table was made from, as one JSON file: what a receiver needs for honest error bars.

They were paid for when the model was fitted, so that publishing them costs nothing. Choices that were made on the way
are left out: they say nothing of the size of anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique
from dpsynth.errors import BundleError
from dpsynth.measurement import NoisyCounts, NoisyMoments, Score

KIND = "dpsynth noisy measurements"
VERSION = 1
_MOST, _MOST_PRODUCTS = 2**50, 2**62
_LEAST_SIGMA = 2.0**-50
"""Beyond these nothing is a count of rows, a sum of products over rows, or their noise."""
_SAYS = (
    "Counts of rows of the protected table, each with independent rounded Gaussian noise of standard deviation sigma "
    "(in rows). Values may be negative. Axes are the columns; a recoded column was counted over merged cells."
)


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """All that was learnt of the rows.

    Attributes:
        dataset: its declared id.
        generator, parameters: the recipe that asked.
        total: the model's noisy estimate of the number of rows.
        answers: noisy counts and moments, in the order in which they were given.
        bags: of the fitted model's junction tree; none of a network.
    """

    dataset: str
    generator: str
    parameters: Mapping[str, Any]
    total: float
    answers: tuple[NoisyCounts | NoisyMoments, ...]
    bags: tuple[Clique, ...] = ()

    @property
    def counts(self) -> tuple[NoisyCounts, ...]:
        """The noisy counts."""
        return tuple(answer for answer in self.answers if isinstance(answer, NoisyCounts))


def dump(said: Measurements) -> bytes:
    """The file, an answer a line. Equal measurements give equal bytes."""
    maps: dict[str, list[list[int]]] = {}
    answers = [_entry(answer, maps) for answer in said.answers]
    head = {
        "kind": KIND,
        "version": VERSION,
        "about": _SAYS,
        "dataset": said.dataset,
        "generator": said.generator,
        "parameters": dict(said.parameters),
        "total": said.total,
        "bags": [list(bag) for bag in said.bags],
        "recodings": maps,
    }
    lines = [f"{_text(name)}: {_text(value)}" for name, value in head.items()]
    listed = ",\n ".join(map(_text, answers))
    return ("{" + ",\n".join([*lines, f'"answers": [\n {listed}\n]']) + "}\n").encode("ascii")


def load(raw: bytes) -> Measurements:
    """The measurements that `dump` wrote.

    Raises:
        BundleError: the file holds none, or those of a later version.
    """
    problem = "it holds no noisy measurements of this version"
    try:
        body = json.loads(raw)
        if body["kind"] == KIND and body["version"] == VERSION:
            maps = {name: [_map(each) for each in listed] for name, listed in body["recodings"].items()}
            total = float(body["total"])
            if 0 < total <= _MOST:
                return Measurements(
                    dataset=str(body["dataset"]),
                    generator=str(body["generator"]),
                    parameters=dict(body["parameters"]),
                    total=total,
                    answers=tuple(_answer(entry, maps) for entry in body["answers"]),
                    bags=tuple(tuple(map(str, bag)) for bag in body["bags"]),
                )
    except (ArithmeticError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        problem = "it is damaged"
    raise BundleError(f"cannot read the noisy measurements: {problem}; ask for the release again")


def _entry(answer: NoisyCounts | NoisyMoments, maps: dict[str, list[list[int]]]) -> dict[str, Any]:
    recoded = {name: _place(maps.setdefault(name, []), map_) for name, map_ in (answer.recoding or {}).items()}
    values = [int(x) for x in answer.values.ravel()]
    if isinstance(answer, NoisyCounts):
        shape = list(answer.values.shape)
        named = {"kind": "counts", "columns": list(answer.clique), "sigma": answer.sigma}
        return {**named, "recoded": recoded, "shape": shape, "values": values}
    scores = [{"column": score.attribute, "values": [int(x) for x in score.values]} for score in answer.scores]
    noise = {"sigma": answer.sigma, "sigma_diagonal": answer.sigma_diagonal, "max_norm": answer.max_norm}
    return {"kind": "moments", "scores": scores, **noise, "recoded": recoded, "values": values}


def _place(known: list[list[int]], map_: NDArray[np.int64]) -> int:
    listed = [int(code) for code in map_]
    if listed not in known:
        known.append(listed)
    return known.index(listed)


def _answer(entry: Mapping[str, Any], maps: Mapping[str, Sequence[NDArray[np.int64]]]) -> NoisyCounts | NoisyMoments:
    recoding = {name: maps[name][_index(place)] for name, place in entry["recoded"].items()} or None
    products = entry["kind"] == "moments"
    sigma, values = _noise(entry["sigma"]), _integers(entry["values"], _MOST_PRODUCTS if products else _MOST)
    if products:
        scores = tuple(Score(str(each["column"]), _integers(each["values"])) for each in entry["scores"])
        square = values.reshape(len(scores), len(scores))
        return NoisyMoments(scores, int(entry["max_norm"]), square, sigma, _noise(entry["sigma_diagonal"]), recoding)
    clique, shape = tuple(map(str, entry["columns"])), tuple(map(_index, entry["shape"]))
    if entry["kind"] != "counts" or len(clique) != len(shape) or prod(shape) != len(values):
        raise ValueError("no answer")
    return NoisyCounts(clique, values.reshape(shape), sigma, recoding)


def _integers(listed: Any, most: int = _MOST) -> NDArray[np.int64]:
    array = np.array(listed, dtype=np.int64)
    if array.ndim != 1 or not all(type(each) is int and abs(each) <= most for each in listed):
        raise ValueError("no list of whole numbers")
    return array


def _map(listed: Any) -> NDArray[np.int64]:
    """Base codes to merged ones, all of 0, 1, ... in use."""
    codes = _integers(listed)
    if set(codes.tolist()) != set(range(len(set(codes.tolist())))):
        raise ValueError("no map of codes")
    return codes


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no place")
    return value


def _noise(value: Any) -> float:
    sigma = float(value)
    if not _LEAST_SIGMA <= sigma <= _MOST:
        raise ValueError("no standard deviation")
    return sigma


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


__all__ = ["KIND", "VERSION", "Measurements", "dump", "load"]

"""The noisy answers of a run as JSON and plain arrays: all that was learnt of the rows, public once answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Clique
from dpsynth.measurement import Answer, NoisyCounts, NoisyMoments, Score, Selected

Transcript = tuple[Answer, ...]
"""Answers in the order in which they were given."""


def dump(transcript: Sequence[Answer]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A JSON header and the arrays. A clique offered in several selections is written once."""
    offered: dict[Clique, int] = {}
    entries: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for i, answer in enumerate(transcript):
        match answer:
            case NoisyCounts():
                recoding = answer.recoding or {}
                entries.append(
                    {
                        "kind": "counts",
                        "clique": list(answer.clique),
                        "sigma": answer.sigma,
                        "recoded": None if answer.recoding is None else [a for a in answer.clique if a in recoding],
                    }
                )
                arrays[f"values_{i}"] = np.asarray(answer.values, dtype=np.int64)
                for j, a in enumerate(entries[-1]["recoded"] or ()):
                    arrays[f"map_{i}_{j}"] = np.asarray(recoding[a], dtype=np.int64)
            case NoisyMoments():
                named, held = [s.attribute for s in answer.scores], answer.recoding or {}
                entries.append(
                    {
                        "kind": "moments",
                        "scores": named,
                        "max_norm": answer.max_norm,
                        "sigma": answer.sigma,
                        "sigma_diagonal": answer.sigma_diagonal,
                        "recoded": None if answer.recoding is None else [a for a in dict.fromkeys(named) if a in held],
                    }
                )
                arrays[f"values_{i}"] = np.asarray(answer.values, dtype=np.int64)
                for j, score in enumerate(answer.scores):
                    arrays[f"score_{i}_{j}"] = np.asarray(score.values, dtype=np.int64)
                for j, a in enumerate(entries[-1]["recoded"] or ()):
                    arrays[f"map_{i}_{j}"] = np.asarray(held[a], dtype=np.int64)
            case Selected():
                entries.append({"kind": "selected", "index": int(answer.index)})
                places = [offered.setdefault(tuple(clique), len(offered)) for clique in answer.candidates]
                arrays[f"candidates_{i}"] = np.asarray(places, dtype=np.int64)
    return {"version": 1, "offered": [list(clique) for clique in offered], "answers": entries}, arrays


def load(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Transcript:
    """The transcript that `dump` described.

    Raises:
        ValueError: header and arrays do not describe one.
    """
    try:
        if header["version"] != 1:
            raise ValueError(f"a transcript of version {header['version']!r}; this dpsynth reads version 1")
        offered = [tuple(clique) for clique in header["offered"]]
        return tuple(_answer(i, entry, offered, arrays) for i, entry in enumerate(header["answers"]))
    except (KeyError, IndexError, TypeError):
        raise ValueError("the transcript is incomplete") from None


def _answer(i: int, entry: Mapping[str, Any], offered: Sequence[Clique], arrays: Mapping[str, NDArray[Any]]) -> Answer:
    if entry["kind"] == "selected":
        return Selected(tuple(offered[place] for place in arrays[f"candidates_{i}"]), int(entry["index"]))
    recoded = entry["recoded"]
    recoding = None if recoded is None else {a: arrays[f"map_{i}_{j}"] for j, a in enumerate(recoded)}
    values, sigma = arrays[f"values_{i}"], float(entry["sigma"])
    if entry["kind"] == "moments":
        scores = tuple(Score(a, arrays[f"score_{i}_{j}"]) for j, a in enumerate(entry["scores"]))
        return NoisyMoments(scores, int(entry["max_norm"]), values, sigma, float(entry["sigma_diagonal"]), recoding)
    return NoisyCounts(tuple(entry["clique"]), values, sigma, recoding)


__all__ = ["Transcript", "dump", "load"]

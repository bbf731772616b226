"""Nearest records, exactly and in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from dpsynth.evaluation.custodian.attacks.space import COLUMN, Points


def nearest(rows: Points, queries: Points, k: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The k nearest rows of each query, by brute force: trees do not help in so many dimensions.

    Returns:
        distances in columns' worth, nearest first, and the rows' places; shapes (queries, k). Where there are fewer
        rows than k, the rest is infinitely far and has place 0.
    """
    far = np.full((len(queries), k), np.inf)
    places = np.zeros((len(queries), k), dtype=np.intp)
    found = min(k, len(rows))
    if found and len(queries):
        search: Any = NearestNeighbors(n_neighbors=found, algorithm="brute", metric="sqeuclidean")
        distances, at = search.fit(rows).kneighbors(queries)
        far[:, :found] = np.maximum(distances, 0) / COLUMN
        places[:, :found] = at
    return far, places


__all__ = ["nearest"]

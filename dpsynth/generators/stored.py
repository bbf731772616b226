"""What all fitted models store alike, as JSON headers and plain arrays: their recoding, and weighted particles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Domain
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import RakedModel
from dpsynth.graphical.particles import Particles
from dpsynth.graphical.raking import PriorT

Header = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def dump_recoding(recoding: Recoding, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Add the maps to `arrays`; what else there is of them, as JSON."""
    for i, a in enumerate(recoding.base.attributes):
        arrays[f"map_{i}"] = recoding.maps[a].copy()
        arrays[f"weights_{i}"] = recoding.weights[a].copy()
    return {"attributes": list(recoding.base.attributes), "shape": list(recoding.base.shape)}


def load_recoding(header: Header, arrays: Arrays) -> Recoding:
    """The inverse of `dump_recoding`.

    Raises:
        KeyError, ValueError: something is missing, or does not fit.
    """
    base = Domain(tuple(header["attributes"]), tuple(int(s) for s in header["shape"]))
    places = list(enumerate(base.attributes))
    maps = {a: np.asarray(arrays[f"map_{i}"], dtype=np.int64) for i, a in places}
    weights = {a: np.asarray(arrays[f"weights_{i}"], dtype=np.float64) for i, a in places}
    return Recoding.of(base, maps, weights)


def dump_particles(raked: RakedModel[PriorT], arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Add the particles to `arrays`, but for those without weight; what else there is of them, as JSON."""
    particles, kept = raked.particles, np.flatnonzero(raked.weights)
    for i, a in enumerate(raked.domain.attributes):
        arrays[f"particle_{i}"] = particles.codes(a)[kept]
    arrays["particle_weights"] = raked.weights[kept]
    return {"cliques": [list(c) for c in raked.cliques]}


def load_particles(prior: PriorT, header: Header, arrays: Arrays) -> RakedModel[PriorT]:
    """The inverse of `dump_particles`.

    Raises:
        KeyError, ValueError: something is missing, or does not fit.
    """
    codes = {a: np.asarray(arrays[f"particle_{i}"], np.int64) for i, a in enumerate(prior.domain.attributes)}
    rows = len(arrays["particle_weights"])
    for a, held in codes.items():
        if held.shape != (rows,) or (rows and not 0 <= held.min() <= held.max() < prior.domain[a]):
            raise ValueError(f"particles of {a!r} do not fit the model")
    weights = np.asarray(arrays["particle_weights"], np.float64)
    return RakedModel(prior, Particles(prior.domain, codes), weights, [tuple(c) for c in header["cliques"]])


__all__ = ["dump_particles", "dump_recoding", "load_particles", "load_recoding"]

"""Generators: a recipe plans without rows, fits through charged looks, and yields a model that samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from types import MappingProxyType
from typing import Any

from dpsynth.generators.aim import AIM
from dpsynth.generators.base import Generator
from dpsynth.generators.deep.network_model import NetworkModel
from dpsynth.generators.gan import GAN
from dpsynth.generators.independent import Independent
from dpsynth.generators.made import MADE
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.mst import MST
from dpsynth.generators.settings import no_such_setting
from dpsynth.generators.vae import VAE

GENERATORS: Mapping[str, Callable[..., Generator]] = MappingProxyType(
    {"independent": Independent, "mst": MST, "aim": AIM, "made": MADE, "vae": VAE, "gan": GAN}
)
"""Every recipe by its short name."""


def generator_from(name: str, parameters: Mapping[str, Any] | None = None) -> Generator:
    """The recipe of that name with those settings: the inverse of ``name`` and ``parameters()``.

    The setting ``preset`` may be ``paper``: the published settings, changed by the others given.

    Raises:
        ValueError: no recipe has the name, or it does not take those settings.
    """
    if name not in GENERATORS:
        near = get_close_matches(name, GENERATORS, n=1)
        hint = f"did you mean {near[0]}? Allowed" if near else "allowed"
        raise ValueError(f"no generator is named {name!r}; {hint} are {', '.join(sorted(GENERATORS))}")
    given, allowed = dict(parameters or {}), signature(GENERATORS[name]).parameters
    make = _preset(name, given.pop("preset", None))
    problem = no_such_setting(f"generator {name!r}", given, allowed, ["preset"])
    if problem:
        raise ValueError(problem)
    return make(**given)


def _preset(name: str, preset: object) -> Callable[..., Generator]:
    if preset is None:
        return GENERATORS[name]
    published: Callable[..., Generator] | None = getattr(GENERATORS[name], "paper", None)
    if preset != "paper" or published is None:
        known = sorted(n for n, made in GENERATORS.items() if hasattr(made, "paper"))
        raise ValueError(f"preset must be paper, of the generators {', '.join(known)}; got {preset!r} for {name!r}")
    return published


__all__ = [
    "AIM",
    "GAN",
    "GENERATORS",
    "MADE",
    "MST",
    "VAE",
    "Generator",
    "Independent",
    "MarginalModel",
    "NetworkModel",
    "generator_from",
]

"""The public shape of a table: column names and how many cells each column has. No values, no rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clique = tuple[str, ...]
"""A set of attributes, in domain order."""

Codes = Mapping[str, NDArray[np.integer[Any]]]
"""Encoded rows, by column: equally long one-dimensional integer arrays, each code in ``[0, size)``."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Attribute names and their sizes, in order (the finite domain of a contingency table).

    Raises:
        ValueError: a name occurs twice, or a size is below one.
    """

    attributes: tuple[str, ...]
    shape: tuple[int, ...]
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.attributes) != len(self.shape):
            raise ValueError(f"{len(self.attributes)} attributes but {len(self.shape)} sizes; give one size each")
        object.__setattr__(self, "_places", dict(zip(self.attributes, range(len(self.attributes)), strict=True)))
        if len(self._places) != len(self.attributes):
            twice = sorted({a for a in self.attributes if self.attributes.count(a) > 1})
            raise ValueError(f"attributes named twice: {twice}; each name may occur once")
        if any(size < 1 for size in self.shape):
            raise ValueError(f"sizes must be at least 1, got {dict(zip(self.attributes, self.shape, strict=True))}")

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Domain:
        """A domain from ``{attribute: size}``."""
        return cls(tuple(sizes), tuple(int(s) for s in sizes.values()))

    def __len__(self) -> int:
        return len(self.attributes)

    def __contains__(self, attribute: object) -> bool:
        return attribute in self._places

    def __getitem__(self, attribute: str) -> int:
        return self.shape[self._places[attribute]]

    @property
    def sizes(self) -> dict[str, int]:
        """``{attribute: size}``, in order."""
        return dict(zip(self.attributes, self.shape, strict=True))

    def clique(self, attributes: Iterable[str]) -> Clique:
        """The given attributes as a clique: without repeats, in domain order, in the domain's own names.

        Raises:
            KeyError: an attribute is not in the domain.
        """
        wanted = set(attributes)
        unknown = wanted - self._places.keys()
        if unknown:
            raise KeyError(f"not in the domain: {sorted(unknown)}; the domain has {list(self.attributes)}")
        return tuple(self.attributes[place] for place in sorted(map(self._places.__getitem__, wanted)))

    def project(self, clique: Sequence[str]) -> Domain:
        """The sub-domain of `clique`, in the order given."""
        return Domain(tuple(clique), self.shape_of(clique))

    def shape_of(self, clique: Sequence[str]) -> tuple[int, ...]:
        """The shape of the marginal over `clique`, axes in the order given."""
        return tuple(self.shape[self._places[a]] for a in clique)

    def size(self, clique: Sequence[str] | None = None) -> int:
        """Number of cells of the marginal over `clique` (of the full table when None), an exact integer."""
        return prod(self.shape) if clique is None else prod(self.shape_of(clique))

    def axes(self, clique: Sequence[str]) -> tuple[int, ...]:
        """Positions of `clique`'s attributes in this domain."""
        return tuple(self._places[a] for a in clique)

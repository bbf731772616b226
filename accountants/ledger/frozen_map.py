"""A mapping that never changes: a changed copy shares what it has with the one it came from.

The states of an account are handed out and must stay as they were, and a new one is made with every row. Copying
a dict for each would make every row as slow as the ledger is long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TypeVar, final

K = TypeVar("K")
V = TypeVar("V")


@final
class FrozenMap(Mapping[K, V]):
    """Keys in the order in which they first came. Equal to any mapping of the same items.

    It is kept as a few dicts, each at most half as long as the one before; a later one hides what an earlier one
    says of a key. A look-up and, on average, a change take time in the logarithm of the length; iterating takes
    one pass.
    """

    __slots__ = ("_layers", "_length")

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._layers: tuple[dict[K, V], ...] = (dict(items),) if items else ()
        self._length = len(items) if items else 0

    def updated(self, changes: Mapping[K, V]) -> FrozenMap[K, V]:
        """A map with `changes` made. This one stays as it is."""
        if not changes:
            return self
        made: FrozenMap[K, V] = FrozenMap()
        made._length = self._length + sum(key not in self for key in changes)
        layers, top = self._layers, dict(changes)
        while layers and len(layers[-1]) < 2 * len(top):
            layers, top = layers[:-1], layers[-1] | top
        made._layers = (*layers, top)
        return made

    def __getitem__(self, key: K) -> V:
        for layer in reversed(self._layers):
            if key in layer:
                return layer[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[K]:
        return iter(dict.fromkeys(chain.from_iterable(self._layers)))

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"FrozenMap({dict(self.items())!r})"

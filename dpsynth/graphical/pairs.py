"""Every two-way marginal at once: what inference clique by clique would repeat for each pair is shared."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Domain
from dpsynth.graphical.belief_propagation import Calibrated
from dpsynth.graphical.factor import Array
from dpsynth.graphical.junction_tree import JunctionTree


def two_way(calibrated: Calibrated) -> Array:
    """The joint probability of every cell of one attribute and every cell of another.

    From the leaves up, each bag learns ``P(x | separator)`` for every cell ``x`` of every attribute that has its place
    at or below it. Two attributes meet in one bag: given a cell of that bag they are independent, so their joint is
    one matrix product there.

    Returns:
        Shape ``(m, m)`` for m cells over all attributes, attributes in domain order; the block of an attribute with
        itself is diagonal. Exact up to rounding.
    """
    tree = calibrated.tree
    place = _places(tree.domain)
    joint = np.empty((sum(tree.domain.shape),) * 2)
    below: dict[int, tuple[NDArray[np.intp], Array]] = {}
    children: list[list[int]] = [[] for _ in tree.bags]
    for bag, parent in enumerate(tree.parents[1:], start=1):
        children[parent].append(bag)
    for bag in range(len(tree.bags) - 1, -1, -1):
        separator = tree.separators[bag]
        residual = tuple(a for a in tree.bags[bag] if a not in separator)
        layout = tree.domain.project((*residual, *separator))
        belief = calibrated.beliefs[bag].transpose(layout.attributes).values.ravel()
        own = [place[a] for a in residual]
        rows = np.concatenate([*own, *(below[c][0] for c in children[bag])])
        given = np.empty((len(rows), len(belief)))  # P(x | cell of the bag)
        done = sum(map(len, own))
        given[:done] = np.concatenate([_indicators(layout, a) for a in residual])
        joint[np.ix_(rows[:done], rows[:done])] = (given[:done] * belief) @ given[:done].T
        for child in children[bag]:
            cells, conditional = below.pop(child)
            new = slice(done, done + len(cells))
            np.take(conditional, _cells(layout, tree.separators[child]), axis=1, out=given[new])
            met = (given[:done] * belief) @ given[new].T
            joint[np.ix_(rows[:done], cells)] = met
            joint[np.ix_(cells, rows[:done])] = met.T
            done = new.stop
        given *= calibrated.conditionals[bag].transpose(layout.attributes).values.ravel()
        below[bag] = rows, given.reshape(len(rows), -1, tree.domain.size(separator)).sum(axis=1)
    return joint


def two_way_cost(tree: JunctionTree) -> tuple[int, int]:
    """Numbers that `two_way` touches at most, in all and for one bag: its cells times the cells of all columns."""
    columns = sum(tree.domain.shape)
    return tree.cells * columns, max(map(tree.domain.size, tree.bags)) * columns


def _places(domain: Domain) -> dict[str, NDArray[np.intp]]:
    ends = np.cumsum(domain.shape)
    return {a: np.arange(end - size, end) for a, end, size in zip(domain.attributes, ends, domain.shape, strict=True)}


def _indicators(layout: Domain, attribute: str) -> Array:
    """Which cells of the layout have which code: shape (codes, cells)."""
    found: Array = np.equal.outer(np.arange(layout[attribute]), _cells(layout, (attribute,))).astype(np.float64)
    return found


def _cells(layout: Domain, attributes: Iterable[str]) -> NDArray[np.intp]:
    """For each cell of the layout, the cell of the marginal over `attributes` it belongs to."""
    index = np.zeros(layout.shape, np.intp)
    for attribute in attributes:
        shape = [1] * len(layout)
        (axis,) = layout.axes((attribute,))
        shape[axis] = layout[attribute]
        index = index * layout[attribute] + np.arange(layout[attribute]).reshape(shape)
    return index.ravel()


__all__ = ["two_way", "two_way_cost"]

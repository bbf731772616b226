"""Checks shared by the recipes: settings within their range, events as planned."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from accountants import FixedPlan, Plan, PlanError
from dpsynth.domain import Domain

Event = TypeVar("Event")
Recipe = TypeVar("Recipe")

DEVICES = ("auto", "cpu", "cuda")
NUMERICS = ("exact", "idealised")


def positive(name: str, value: float, *, zero: bool = False, below: float = math.inf) -> None:
    """Refuse a setting that is not a number in (0, below), or [0, below) with `zero`.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    allowed = f"a number {'of at least' if zero else 'above'} 0" + (f" and below {below}" if below < math.inf else "")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (value == 0 and not zero) or value >= below:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def whole(name: str, value: int, *, least: int) -> None:
    """Refuse a setting that is not an integer of at least `least`.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def flag(name: str, value: bool) -> None:
    """Refuse a setting that is neither true nor false.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a setting that is none of the allowed names.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    known = tuple(allowed)
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")


def no_such_setting(whose: str, given: Iterable[str], allowed: Iterable[str], others: Iterable[str] = ()) -> str:
    """What is wrong with names of settings, and which were probably meant; empty where nothing is.

    Args:
        whose: the recipe, as the message names it.
        given: the names.
        allowed: of its settings.
        others: what else may stand in their place.
    """
    known = sorted(allowed)
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return ""
    near = [near for each in unknown for near in get_close_matches(each, [*known, *others], n=1)]
    hint = f"did you mean {' and '.join(near)}? It" if near else "it"
    return f"{whose} has no setting {', '.join(unknown)}; {hint} has {', '.join(known)}"


def suggesting(recipe: type[Recipe]) -> type[Recipe]:
    """Have the recipe refuse a setting that it does not have with the name that was probably meant."""
    made, allowed = recipe.__init__, tuple(signature(recipe).parameters)

    @wraps(made)
    def init(self: Any, *args: Any, **given: Any) -> None:
        problem = no_such_setting(recipe.__name__, given, allowed)
        if problem:
            raise TypeError(problem)
        made(self, *args, **given)

    recipe.__init__ = init  # type: ignore[method-assign]
    return recipe


def shares(one_way: float, pair: float, pairs_per_column: float) -> None:
    """Refuse shares of a network's plan that leave nothing for its training.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    positive("one_way_share", one_way, below=1)
    positive("pair_share", pair, zero=True, below=1)
    positive("one_way_share + pair_share", one_way + pair, below=1)
    positive("pairs_per_column", pairs_per_column)


def cleaning(denoise: bool, merge_below: float, group_below: float) -> None:
    """Refuse settings of how noisy one-ways are cleaned.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    flag("denoise", denoise)
    positive("merge_below", merge_below, zero=True)
    positive("group_below", group_below, zero=True)


def training(device: str, numerics: str) -> None:
    """Refuse settings of where and how a network is trained.

    Raises:
        ValueError: what it is, what was given and what is allowed.
    """
    one_of("device", device, DEVICES)
    one_of("numerics", numerics, NUMERICS)


def room_for(domain: Domain, max_cells: int) -> None:
    """Refuse a limit on the model that not even independent columns keep.

    Raises:
        PlanError: with both figures.
    """
    if sum(domain.shape) > max_cells:
        raise PlanError(
            f"the one-ways alone have {sum(domain.shape)} cells, max_cells is {max_cells}; "
            "raise max_cells or use fewer bins"
        )


def planned(plan: Plan, kind: type[Event]) -> tuple[Event, ...]:
    """The events of one kind in a fixed plan, in order.

    Raises:
        PlanError: the plan is not fixed.
    """
    if not isinstance(plan, FixedPlan):
        raise PlanError(f"expected a fixed plan of this recipe's own making, got {type(plan).__name__}")
    return tuple(event for event in plan.events if isinstance(event, kind))


__all__ = [
    "cleaning",
    "flag",
    "no_such_setting",
    "one_of",
    "planned",
    "positive",
    "room_for",
    "shares",
    "suggesting",
    "training",
    "whole",
]

"""All event kinds, and their form as JSON: parameters by name, floats as their shortest decimal strings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from accountants.errors import EventError
from accountants.events.claimed import Claimed, PostProcessing
from accountants.events.gaussian import Gaussian, SubsampledGaussian, Thresholding
from accountants.events.pure import ExponentialMechanism, Laplace, RandomizedResponse
from accountants.events.selection import PoissonRuns, PrivateSelection, Runs, TruncatedNegativeBinomial
from accountants.exact import real

Event = (
    Gaussian
    | SubsampledGaussian
    | Thresholding
    | ExponentialMechanism
    | Laplace
    | RandomizedResponse
    | PrivateSelection
    | Claimed
    | PostProcessing
)
KINDS: dict[str, type[Event]] = {
    made.kind: made
    for made in (
        Gaussian,
        SubsampledGaussian,
        Thresholding,
        ExponentialMechanism,
        Laplace,
        RandomizedResponse,
        PrivateSelection,
        Claimed,
        PostProcessing,
    )
}
FILTER_KINDS = frozenset({Gaussian.kind, ExponentialMechanism.kind, Laplace.kind, RandomizedResponse.kind})
"""Kinds whose closed-form mu^2 is exact enough for a GDP filter, and that never fail outright (delta0 = 0)."""
_RUNS: dict[str, type[Runs]] = {made.kind: made for made in (TruncatedNegativeBinomial, PoissonRuns)}


def event_to_json(event: Event) -> dict[str, Any]:
    """``{"kind": ..., parameters}``; floats and decimals as strings, so nothing is rounded on the way."""
    return {"kind": event.kind, **_fields(event)}


def event_from_json(body: Mapping[str, Any]) -> Event:
    """The inverse of `event_to_json`.

    Raises:
        EventError: an unknown kind, or parameters that kind does not have.
    """
    if not isinstance(body, Mapping):
        raise EventError(f"an event is a mapping with a kind and its parameters, got {type(body).__name__}")
    fields = dict(body)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise EventError(f"unknown event kind {kind!r}; known: {sorted(KINDS)}")
    made = KINDS[kind]
    takes = sorted(field.name for field in dataclasses.fields(made))
    if sorted(fields) != takes:
        raise EventError(f"event {kind!r} takes {takes}, got {sorted(fields)}")
    if made is PrivateSelection:
        fields["base"] = _base(fields["base"])
        fields["runs"] = _runs(fields["runs"])
    return made(**fields)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case float():
            return repr(value)
        case Decimal():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case TruncatedNegativeBinomial() | PoissonRuns():
            return {"kind": value.kind, **_fields(value)}
        case int() | str():
            return value
    return event_to_json(value)


def _base(entries: object) -> tuple[Event, ...]:
    if not isinstance(entries, list) or len(entries) > 1000 or not all(isinstance(each, dict) for each in entries):
        raise EventError("base must be a list of at most 1000 events")
    if any(each.get("kind") == PrivateSelection.kind for each in entries):
        raise EventError("base must be the looks of one run, at least one and no selection among runs itself")
    return tuple(event_from_json(each) for each in entries)


def _runs(body: object) -> Runs:
    fields = dict(body) if isinstance(body, dict) else {}
    made = _RUNS.get(str(fields.pop("kind", None)))
    if made is None or sorted(fields) != sorted(field.name for field in dataclasses.fields(made)):
        raise EventError(f"runs must be one of {sorted(_RUNS)} with its parameters, got {body!r:.200}")
    return made(**{name: float(real(name, value, EventError)) for name, value in fields.items()})


__all__ = ["FILTER_KINDS", "KINDS", "Event", "event_from_json", "event_to_json"]

"""What a run may do, fixed before it looks: a list of events, or a filter's capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, final

from accountants.composition import delta0_of, mu_squared_of
from accountants.errors import PlanError
from accountants.events import (
    FILTER_KINDS,
    Event,
    Gaussian,
    PrivateSelection,
    Thresholding,
    event_from_json,
    event_to_json,
)
from accountants.exact import UP, positive_float

MOST_LOOKS, MOST_KINDS = 10**6, 64
"""Most looks of a release, and most different ones that have no closed form: more could be checked by nobody."""
TOLERANCE = Decimal("1e-12")
"""A filter's capacity is mu^2 (1 + 1e-12), charged as such: a share-out in floats never trips over its last bit."""


@final
@dataclass(frozen=True, slots=True)
class FixedPlan:
    """Events whose kinds, parameters, number and order are fixed; which clique each asks about may adapt.

    Attributes:
        events: at least one, in the order in which the run asks them.
    """

    kind: ClassVar[str] = "fixed"
    events: tuple[Event, ...]

    def __init__(self, events: Iterable[Event]) -> None:
        object.__setattr__(self, "events", tuple(events))
        if not self.events:
            raise PlanError("a fixed plan needs at least one event, got none")

    @property
    def capacity(self) -> Decimal:
        """mu^2 of the plan in closed form, whatever is used of it: looks on samples as if they were on everybody."""
        return mu_squared_of(self.events)

    @property
    def delta0(self) -> Decimal:
        """The chance that any of its events fails outright, rounded up."""
        return delta0_of(self.events)

    def to_json(self) -> dict[str, Any]:
        """As ledger and certificate record it; equal neighbours are folded into one entry with a count."""
        folded: list[dict[str, Any]] = []
        for event in self.events:
            body = event_to_json(event)
            if folded and {k: v for k, v in folded[-1].items() if k != "count"} == body:
                folded[-1]["count"] += 1
            else:
                folded.append({**body, "count": 1})
        return {"kind": self.kind, "events": folded}


@final
@dataclass(frozen=True, slots=True)
class AdaptivePlan:
    """A GDP filter: any events of the listed kinds, chosen as the run goes, while sum mu^2 stays within capacity.

    There is no filter on privacy loss distributions: "compose what was asked and stop at the budget" is unsound.

    Attributes:
        mu: the capacity, above 0.
        kinds: event kinds the filter admits, of those that never fail outright and have mu^2 in closed form.

    **Guarantee.** mu-GDP for fully adaptive composition (Smith and Thakurta 2022; Koskela, Tobaben, Honkela 2022).
    """

    kind: ClassVar[str] = "adaptive"
    delta0: ClassVar[Decimal] = Decimal(0)
    mu: float
    kinds: frozenset[str]

    def __init__(self, mu: float, kinds: Iterable[str] = FILTER_KINDS) -> None:
        object.__setattr__(self, "mu", positive_float("mu", mu, PlanError))
        object.__setattr__(self, "kinds", frozenset(kinds))
        if self.kinds - FILTER_KINDS or not self.kinds:
            raise PlanError(f"kinds must be some of {sorted(FILTER_KINDS)}, got {sorted(self.kinds)}")

    @property
    def capacity(self) -> Decimal:
        """mu^2 charged for the plan, whatever is used of it."""
        squared = UP.multiply(Decimal(self.mu), Decimal(self.mu))
        return UP.multiply(squared, 1 + TOLERANCE)

    def to_json(self) -> dict[str, Any]:
        """As ledger and certificate record it."""
        return {"kind": self.kind, "mu": repr(self.mu), "kinds": sorted(self.kinds)}


Plan = FixedPlan | AdaptivePlan


def too_many(events: Iterable[Event]) -> str | None:
    """Why nobody could check so many looks in a minute, or None: a release, and a certificate, may have no more.

    Looks of one run of a selection count as well, each once, and every step of DP-SGD.
    """
    counted = Counter(events)
    total = sum(count * getattr(each, "steps", 1) for event, count in counted.items() for each in leaves([event]))
    different = {*counted, *leaves(counted)}
    kinds = sum(event.kind not in (Gaussian.kind, Thresholding.kind) for event in different)
    if total > MOST_LOOKS:
        return f"{total} looks, the steps of DP-SGD among them, are more than {MOST_LOOKS}"
    return f"{kinds} different looks beside Gaussian noise are more than {MOST_KINDS}" if kinds > MOST_KINDS else None


def leaves(events: Iterable[Event]) -> Iterator[Event]:
    """The different events, those of one run in place of a selection among runs."""
    for event in dict.fromkeys(events):
        if isinstance(event, PrivateSelection):
            yield from leaves(event.base)
        else:
            yield event


def plan_from_json(body: dict[str, Any]) -> Plan:
    """The inverse of ``to_json``; counts are expanded into events.

    Raises:
        PlanError, EventError: the text does not describe a plan.
    """
    fields = sorted(body) if isinstance(body, dict) else []
    match body:
        case {"kind": "fixed", "events": [*entries]} if fields == ["events", "kind"]:
            events: list[Event] = []
            for entry in entries:
                if not isinstance(entry, dict):
                    raise PlanError(f"an entry of a plan is an event with its count, got {entry!r:.100}")
                event = dict(entry)
                count = event.pop("count", 1)
                if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10**6:
                    raise PlanError(f"count must be a whole number from 1 to a million, got {count!r}")
                events.extend([event_from_json(event)] * count)
            return FixedPlan(events)
        case {"kind": "adaptive", "mu": str(mu), "kinds": [*kinds]} if fields == ["kind", "kinds", "mu"]:
            if not all(isinstance(kind, str) for kind in kinds):
                raise PlanError("kinds of a plan are names of events")
            return AdaptivePlan(positive_float("mu", mu, PlanError), kinds)
    raise PlanError(f"a plan is 'fixed' with events or 'adaptive' with mu and kinds, and nothing else, got {fields}")

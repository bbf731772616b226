"""The meter: guards one running reservation, and says no before a look that its plan does not admit."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from threading import Lock
from typing import NoReturn, final

from accountants.errors import UnplannedEvent
from accountants.events import KINDS, Event, SubsampledGaussian, event_to_json
from accountants.exact import DOWN, UP
from accountants.plan import AdaptivePlan, FixedPlan, Plan


@final
class Meter:
    """Counts the looks of one run against its plan. A look is charged here before the kernel touches a row.

    Under a `FixedPlan` each look must equal the next planned event. Under an `AdaptivePlan` the GDP
    filter must admit it. The ledger was charged the plan's whole capacity when the run was reserved.

    A meter belongs to the process and the run it was made for: it cannot be copied, and in a forked child it
    admits nothing, or each copy would admit the whole plan again.
    """

    __slots__ = ("_charged", "_closed", "_lock", "_pid", "_plan", "_spent", "_steps")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._charged: list[Event] = []
        self._spent = Decimal(0)
        self._steps = 0  # made of a training under way
        self._closed = False
        self._lock = Lock()
        self._pid = os.getpid()

    @property
    def plan(self) -> Plan:
        """The plan guarded."""
        return self._plan

    @property
    def charged(self) -> tuple[Event, ...]:
        """Events charged so far, in order; a training under way counts the steps made. What they sum to is not a
        guarantee; the capacity is."""
        match self._charged:
            case [*done, SubsampledGaussian() as training] if 0 < self._steps < training.steps:
                return (*done, replace(training, steps=self._steps))
        return tuple(self._charged)

    @property
    def remaining(self) -> Decimal:
        """mu^2 not yet charged, rounded down."""
        return max(Decimal(0), DOWN.subtract(self._plan.capacity, self._spent))

    def charge(self, event: Event) -> None:
        """Charge one look.

        Raises:
            UnplannedEvent: the plan does not admit it, or the meter is closed; nothing was charged.
        """
        with self._lock:
            self._admit(event)

    def charge_step(self, training: SubsampledGaussian) -> None:
        """Charge one step of a planned training: the first charges all of it, the others are counted against it.

        Until its last step is made no other look is admitted.

        Raises:
            UnplannedEvent: the plan has another look there, or all steps are made; nothing was charged.
        """
        with self._lock:
            if self._steps == 0:
                if type(training) is not SubsampledGaussian:
                    raise UnplannedEvent(f"steps are charged of a subsampled Gaussian, got {type(training).__name__}")
                self._admit(training)
            else:
                self._guard()
                if self._charged[-1] != training:
                    raise UnplannedEvent(
                        f"a training of {event_to_json(self._charged[-1])} is under way, the step is one of "
                        f"{event_to_json(training)}; train exactly as planned"
                    )
            self._steps = (self._steps + 1) % training.steps

    def _guard(self) -> None:
        if os.getpid() != self._pid:
            raise UnplannedEvent("a forked process may not look: ask every look in the process that reserved the run")
        if self._closed:
            raise UnplannedEvent("the run is over: no further look is admitted; plan and reserve a new one")

    def _admit(self, event: Event) -> None:
        self._guard()
        if type(event) not in KINDS.values():
            raise UnplannedEvent(f"only {sorted(KINDS)} events are charged, got {type(event).__name__}")
        if self._steps:
            raise UnplannedEvent(
                f"a training of {event_to_json(self._charged[-1])} is at step {self._steps}; make its other steps first"
            )
        spent = UP.add(self._spent, event.mu_squared)
        match self._plan:
            case FixedPlan(events=events):
                position = len(self._charged)
                expected = events[position] if position < len(events) else None
                if expected != event:
                    wanted = "no further look" if expected is None else str(event_to_json(expected))
                    raise UnplannedEvent(
                        f"look {position + 1} is {event_to_json(event)} but the plan has {wanted} there; "
                        "ask exactly what was planned"
                    )
            case AdaptivePlan(kinds=kinds) as plan:
                if event.kind not in kinds:
                    raise UnplannedEvent(f"the filter admits {sorted(kinds)}, got {event.kind!r}")
                if spent > plan.capacity:
                    raise UnplannedEvent(
                        f"a look of mu^2 {event.mu_squared:.6g} exceeds the {self.remaining:.6g} left of "
                        f"the filter's {plan.capacity:.6g}; add noise or stop"
                    )
        self._spent = spent
        self._charged.append(event)

    def close(self) -> None:
        """Admit no further look."""
        with self._lock:
            self._closed = True

    def __reduce_ex__(self, protocol: object = None) -> NoReturn:
        raise TypeError("a meter cannot be copied or pickled: each copy would admit the plan again")

    __copy__ = __deepcopy__ = __getstate__ = __reduce_ex__

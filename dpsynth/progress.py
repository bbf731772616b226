"""Progress of long work, told to whoever listens: declared figures and noisy answers, never anything of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One report: the stage's name, how much of it is done (0 to 1, None when unknown), and a short note."""

    stage: str
    done: float | None = None
    note: str = ""


Listener = Callable[[Step], None]
_listener: ContextVar[Listener | None] = ContextVar("dpsynth_progress", default=None)


def report(stage: str, done: float | None = None, note: str = "") -> None:
    """Tell the listener, if there is one. Costs nothing otherwise."""
    listener = _listener.get()
    if listener is not None:
        listener(Step(stage, done, note))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every report inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)

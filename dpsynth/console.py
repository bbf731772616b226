"""What a person sees at a terminal: progress on standard error, and one sentence for each error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import click

from dpsynth.progress import Step, listening

FAILED, REFUSED, INTERRUPTED = 1, 4, 130
PATIENCE = 5.0
"""Seconds of a stage before which nothing is said of how long it takes."""


@contextmanager
def progress() -> Iterator[None]:
    """A live line on standard error for each stage; plain lines where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        with listening(_Lines()):
            yield
        return

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            done = task.completed if task.total and not task.finished else None
            return Text(left(task.elapsed or 0.0, done), style="progress.remaining")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        Left(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, int] = {}

        def listen(step: Step) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bar.add_task(step.stage, total=1.0 if step.done is not None else None, note="")
            total = {} if step.done is None else {"total": 1.0}
            bar.update(tasks[step.stage], completed=step.done, note=step.note, **total)  # type: ignore[arg-type]

        with listening(listen):
            yield


def left(elapsed: float, done: float | None) -> str:
    """About how long a stage will still take, by how much of it took how long; empty where that tells nothing yet.

    Shares of work are those of the plan (looks, steps, budget), never of rows.
    """
    if done is None or not 0.02 <= done < 1 or elapsed < PATIENCE:
        return ""
    seconds = elapsed * (1 - done) / done
    return f"about {lasting(seconds)} left"


def lasting(seconds: float) -> str:
    """A time for people, in one unit: ``40 s``, ``7 min``, ``3 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class _Lines:
    """A line for each stage, and one for each further fifth of it; how long it took and may take, where it is long."""

    def __init__(self) -> None:
        self._said: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def __call__(self, step: Step) -> None:
        fifth = -1 if step.done is None else int(step.done * 5)
        elapsed = monotonic() - self._began.setdefault(step.stage, monotonic())
        if self._said.get(step.stage) != fifth:
            self._said[step.stage] = fifth
            done = "" if step.done is None else f" {step.done:.0%}"
            times = [f"after {lasting(elapsed)}", left(elapsed, step.done)] if elapsed >= PATIENCE else []
            words = [step.stage + done, *([", ".join(filter(None, times))] if times else []), step.note]
            click.echo("  ".join(filter(None, words)), err=True)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, by somebody who knows what it cost and says so."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn errors into a sentence and an exit code: 1 failed, 4 refused by the gate, 130 interrupted. No traceback.

    The text of an error nobody foresaw is withheld, since it may quote a row; where it happened is told.
    """
    code, said = 0, ""
    try:
        yield
    except Interrupted as stopped:
        code, said = INTERRUPTED, f"Interrupted. {stopped}"
    except KeyboardInterrupt:
        code, said = INTERRUPTED, "Interrupted. If a run had begun, its budget is spent; see 'dpsynth ledger show'."
    except (click.ClickException, click.exceptions.Exit, SystemExit, BrokenPipeError):
        raise  # click knows what to do, with a reader that went away too
    except Exception as error:
        code, said = _told(error)
        from dpsynth.errors import CHARGED

        said += "\n" + CHARGED if CHARGED in getattr(error, "__notes__", ()) else ""
    if code:
        click.echo(said, err=True)
        sys.exit(code)


def _told(error: Exception) -> tuple[int, str]:
    """Exit code and sentence. Errors of our own say what they may; the text of any other is withheld."""
    from accountants.errors import AccountingError, GateRefused
    from dpsynth.errors import DpsynthError

    if isinstance(error, GateRefused):
        return REFUSED, f"Refused ({error.rule}): {error.reason} {error.way_out}"
    if isinstance(error, DpsynthError | AccountingError):
        return FAILED, f"Error: {error}"
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}" if frame else "?"
    kind = type(error).__name__
    return FAILED, f"Error: {kind} at {where}; details are withheld as they may be private. Please report it."

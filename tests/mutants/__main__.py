"""``python -m tests.mutants``: break every guard in turn; exit 1 unless a test notices each time."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.mutants.catalogue import Mutant, MutantError, catalogue
from tests.mutants.runner import Outcome, Runner
from tests.mutants.table import PAGE, write


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants, and write no page")
    parser.add_argument("--page", action="store_true", help="write the page after --only too; other rows stay")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default 2)")
    parser.add_argument("--list", action="store_true", help="name the mutants and run none")
    asked = parser.parse_args(arguments)
    try:
        mutants = catalogue()
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1
    if asked.only:
        unknown = sorted(set(asked.only) - {mutant.name for mutant in mutants})
        if unknown:
            parser.error(f"no mutant is called {', '.join(unknown)}; --list names them")
        asked_for = tuple(mutant for mutant in mutants if mutant.name in asked.only)
    else:
        asked_for = mutants
    if asked.list:
        print("\n".join(f"{mutant.name:32} {mutant.guard}" for mutant in asked_for))
        return 0
    stale = [problem for mutant in asked_for if (problem := mutant.problem()) is not None]
    if stale:
        print("\n".join(stale), file=sys.stderr)
        return 1
    return _run(asked_for, asked.jobs, mutants if asked.page or not asked.only else ())


def _run(mutants: tuple[Mutant, ...], jobs: int, on_page: tuple[Mutant, ...]) -> int:
    outcomes: dict[str, Outcome] = {}
    errors: list[MutantError] = []

    def done(mutant: Mutant, result: Outcome | MutantError) -> None:
        count = f"[{len(outcomes) + len(errors) + 1}/{len(mutants)}]"
        if isinstance(result, MutantError):
            errors.append(result)
            print(f"{count} ERROR     {result}", flush=True)
            return
        outcomes[mutant.name] = result
        what = "SURVIVED  " if result.killer is None else "killed    "
        print(f"{count} {what}{mutant.name} ({result.seconds:.1f} s) {result.killer or ''}", flush=True)

    for signals in (signal.SIGTERM, signal.SIGINT):  # also where a shell that runs us in the background ignored it
        signal.signal(signals, signal.default_int_handler)
    try:
        with Runner() as runner:
            print(f"control: the tests of {len(mutants)} mutants, nothing broken ...", flush=True)
            print(f"control: passed ({runner.control(mutants):.0f} s)", flush=True)
            runner.run_all(mutants, jobs, done)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1
    survived = [name for name, outcome in outcomes.items() if outcome.killer is None]
    print(f"{len(outcomes) - len(survived)} killed, {len(survived)} survived, {len(errors)} could not be judged")
    if survived:
        print("no test noticed: " + ", ".join(survived), file=sys.stderr)
    if on_page and not errors:
        write(on_page, outcomes)
        print(f"written: {PAGE}")
    return 1 if survived or errors else 0


if __name__ == "__main__":
    sys.exit(main())

"""The committed table: every guard, how it was broken, and the test that noticed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import ROOT
from tests.mutants.runner import Outcome

PAGE = ROOT / "docs" / "mutants.md"

_HEAD = """# Mutants

A guard that no test would miss is a guard nobody has. `make mutants` breaks each of the guards below in a copy of the
tree, one at a time, and runs the test files named for it: a test must fail. A mutant that survives, or whose text is no
longer there, ends the command with an error. What is replaced by what is in `tests/mutants/*.toml`; this page is
written by `make mutants`.

{killed} of {all} mutants are killed. Seconds are those of one run on a shared two-core machine, to the first failure.
"""
_COLUMNS = ["| mutant | file | what the guard is for | killed by | s |", "|---|---|---|---|---|"]


def page(outcomes: Sequence[Outcome]) -> str:
    """The Markdown page."""
    killed = sum(outcome.killer is not None for outcome in outcomes)
    lines = [_HEAD.format(killed=killed, all=len(outcomes)).rstrip("\n")]
    part = ""
    for outcome in sorted(outcomes, key=lambda outcome: outcome.mutant.part):  # stable: in the catalogue's order
        mutant = outcome.mutant
        if mutant.part != part:
            part = mutant.part
            lines += [f"\n## {part}\n", *_COLUMNS]
        killer = "**survived**" if outcome.killer is None else f"`{_short(outcome.killer)}`"
        file = mutant.file.rsplit("/", 1)[-1]
        lines.append(f"| {mutant.name} | `{file}` | {mutant.guard} | {killer} | {outcome.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def write(outcomes: Sequence[Outcome], path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page(outcomes), encoding="utf-8")


def _short(killer: str) -> str:
    """The test's id without its folder and its parameters, which may hold anything."""
    name = killer.removeprefix("tests/").split("[")[0]
    return name.replace("|", "\\|")

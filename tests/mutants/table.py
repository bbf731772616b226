"""The committed table: every guard, how it was broken, and the test that noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutants.catalogue import ROOT, Mutant
from tests.mutants.runner import Outcome

PAGE = ROOT / "docs" / "mutants.md"

_HEAD = """# Mutants

A guard that no test would miss is a guard nobody has. `make mutants` breaks each of the guards below in a copy of the
tree, one at a time, and runs the test files named for it: a test must fail. A mutant that survives, or whose text is no
longer there, ends the command with an error. What is replaced by what is in `tests/mutants/*.toml`; this page is
written by `make mutants`.

{killed} of {all} mutants are killed. Seconds are those of a run on a shared two-core machine, to the first failure;
mutants that a later run left out (`--only ... --page`) keep their rows.
"""
_COLUMNS = ["| mutant | file | what the guard is for | killed by | s |", "|---|---|---|---|---|"]
_SURVIVED = "**survived**"


def page(mutants: Sequence[Mutant], outcomes: Mapping[str, Outcome], before: str = "") -> str:
    """The Markdown page: what was run now, and of other mutants the rows of the page `before`."""
    kept = {line.split("|")[1].strip(): line for line in before.splitlines() if line.startswith("| ")}
    rows = {m.name: _row(outcomes[m.name]) if m.name in outcomes else kept[m.name] for m in mutants}
    killed = sum(_SURVIVED not in row for row in rows.values())
    lines = [_HEAD.format(killed=killed, all=len(rows)).rstrip("\n")]
    part = ""
    for mutant in sorted(mutants, key=lambda mutant: mutant.part):  # stable: in the catalogue's order
        if mutant.part != part:
            part = mutant.part
            lines += [f"\n## {part}\n", *_COLUMNS]
        lines.append(rows[mutant.name])
    return "\n".join(lines) + "\n"


def write(mutants: Sequence[Mutant], outcomes: Mapping[str, Outcome], path: Path = PAGE) -> None:
    """Write the page.

    Raises:
        KeyError: a mutant was neither run nor is it on the page.
    """
    path.write_text(page(mutants, outcomes, path.read_text(encoding="utf-8")), encoding="utf-8")


def _row(outcome: Outcome) -> str:
    killer = _SURVIVED if outcome.killer is None else f"`{_short(outcome.killer)}`"
    file = outcome.mutant.file.rsplit("/", 1)[-1]
    return f"| {outcome.mutant.name} | `{file}` | {outcome.mutant.guard} | {killer} | {outcome.seconds:.0f} |"


def _short(killer: str) -> str:
    """The test's id without its folder and its parameters, which may hold anything."""
    name = killer.removeprefix("tests/").split("[")[0]
    return name.replace("|", "\\|")

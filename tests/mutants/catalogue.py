"""The mutants as data: which text is replaced by which, and which tests must notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
SELF_TEST = "tests/test_mutants.py"
"""Checks that mutants apply, so in a mutated tree it always fails: it kills nothing."""


class MutantError(Exception):
    """A mutant that cannot be judged: it does not apply, or its tests do not run. Never taken for a success."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, broken.

    Attributes:
        name: short, unique, as on the command line.
        guard: one sentence: what the guard is for.
        file: the file it is in, from the repository's root.
        old, new: the text that occurs there exactly once, and what takes its place.
        tests: the test files that are run; one of them must fail.
    """

    name: str
    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def part(self) -> str:
        """The package it is in, for headings."""
        folders = self.file.split("/")[:-1]
        return "/".join(folders[:2])

    def problem(self, root: Path = ROOT) -> str | None:
        """Why it does not apply to the tree at `root`; None where it does."""
        try:
            found = (root / self.file).read_text(encoding="utf-8").count(self.old)
        except OSError:
            return f"{self.name}: there is no {self.file}"
        if found != 1:
            return f"{self.name}: its old text occurs {found} times in {self.file}, and must occur once; anchor it anew"
        if self.old == self.new:
            return f"{self.name}: it changes nothing"
        missing = [test for test in self.tests if not (root / test).is_file()]
        if missing or not self.tests or SELF_TEST in self.tests:
            return f"{self.name}: its tests must be files other than {SELF_TEST}, got {list(self.tests)}"
        return None

    def apply(self, root: Path) -> None:
        """Break the guard in the tree at `root`.

        Raises:
            MutantError: it does not apply there.
        """
        problem = self.problem(root)
        if problem is not None:
            raise MutantError(problem)
        path = root / self.file
        path.write_text(path.read_text(encoding="utf-8").replace(self.old, self.new), encoding="utf-8")


def catalogue(folder: Path = FOLDER) -> tuple[Mutant, ...]:
    """All mutants, in the order of the files' names and then of the files.

    Raises:
        MutantError: a file is no list of mutants, an entry has other fields, or a name occurs twice.
    """
    mutants: list[Mutant] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise MutantError(f"{path.name} is not a list of mutants: {error}") from None
        for entry in entries:
            try:
                mutants.append(Mutant(**{**entry, "tests": tuple(entry["tests"])}))
            except (TypeError, KeyError) as error:
                raise MutantError(f"{path.name}: {entry.get('name')!r} is not a mutant: {error}") from None
    names = [mutant.name for mutant in mutants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MutantError(f"mutants named twice: {twice}")
    return tuple(mutants)

"""Runs tests in copies of the tree, each with one guard broken. Nothing is changed in the tree itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mutants.catalogue import ROOT, Mutant, MutantError
from tests.mutants.witness import REPORT

LIMIT = 600.0
"""Seconds a run of tests may take. Longer is an error, not a kill: a machine may just be slow."""
PASSED, FAILED = 0, 1
"""pytest's exit codes. Any other (nothing collected, an import that fails) proves nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant.

    Attributes:
        mutant: which.
        killer: the first test that failed; None where all passed, so that the mutant survived.
        seconds: wall clock of the tests.
    """

    mutant: Mutant
    killer: str | None
    seconds: float


class Runner:
    """Copies and processes, cleaned up however the ``with`` block ends.

    Every run starts from one snapshot of the tree, so that editing on meanwhile changes no verdict.

    Args:
        root: the tree to copy: files git knows or would add.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mutants-")).resolve()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        try:
            _snapshot(root, self._folder / "tree")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def control(self, mutants: Sequence[Mutant]) -> float:
        """The tests of all `mutants` on a copy with nothing broken; seconds taken.

        Raises:
            MutantError: a test fails, so that a failure proves nothing.
        """
        with self._copy() as copy:
            killer, seconds = self._test(copy, sorted({test for mutant in mutants for test in mutant.tests}), "control")
        if killer is not None:
            raise MutantError(f"without any mutant {killer} fails; mend that first")
        return seconds

    def run(self, mutant: Mutant) -> Outcome:
        """The mutant's tests on a copy in which its guard is broken.

        Raises:
            MutantError: it does not apply, or its tests do not run.
        """
        with self._copy() as copy:
            mutant.apply(copy)
            return Outcome(mutant, *self._test(copy, mutant.tests, mutant.name))

    def run_all(
        self, mutants: Sequence[Mutant], jobs: int, done: Callable[[Mutant, Outcome | MutantError], None]
    ) -> None:
        """Run each, `jobs` at a time, and tell `done` of each as it ends. Ctrl-C stops them all and leaves nothing."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(self.run, mutant): mutant for mutant in mutants}
            try:
                for future in as_completed(futures):
                    error = future.exception()
                    if error is not None and not isinstance(error, MutantError):
                        raise error
                    done(futures[future], error if error is not None else future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise

    def stop(self) -> None:
        """Kill every test process that runs."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)

    @contextlib.contextmanager
    def _copy(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            shutil.copytree(self._folder / "tree", folder, dirs_exist_ok=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _test(self, copy: Path, tests: Sequence[str], name: str) -> tuple[str | None, float]:
        """The first failing test, if any, and seconds."""
        report = copy / ".mutant-report.json"
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.witness", "--hypothesis-seed=0"]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))},
            "PYTHONPATH": str(copy),
            "PYTHONHASHSEED": "0",
            REPORT: str(report),
        }
        start = time.monotonic()
        code, output = self._process([sys.executable, "-m", "pytest", *options, *tests], copy, environment, name)
        seconds = time.monotonic() - start
        tail = "\n".join(output.decode(errors="replace").splitlines()[-25:])
        if code not in (PASSED, FAILED) or not report.is_file():
            raise MutantError(f"{name}: the tests did not run (pytest ended with {code}):\n{tail}")
        finding = json.loads(report.read_text(encoding="utf-8"))
        if finding["strangers"]:
            raise MutantError(f"{name}: tested something else than the copy: {finding['strangers'][0]}")
        if (code == FAILED) != bool(finding["failed"]):
            raise MutantError(f"{name}: pytest ended with {code} but names no test:\n{tail}")
        return (finding["failed"][0] if finding["failed"] else None), seconds

    def _process(self, command: list[str], folder: Path, environment: dict[str, str], name: str) -> tuple[int, bytes]:
        with self._lock:
            if self._stopped:
                raise MutantError(f"{name}: stopped")
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            output, _ = process.communicate(timeout=LIMIT)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            raise MutantError(f"{name}: its tests ran past {LIMIT:g} s") from None
        finally:
            _kill(process)
            process.wait()
            with self._lock:
                self._running.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _snapshot(root: Path, folder: Path) -> None:
    """Copy the files git tracks, and the new ones it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode()
    for name in sorted(set(filter(None, listed.split("\0")))):
        if (root / name).is_file():  # not deleted since it was added
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)

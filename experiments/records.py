"""Cells of an experiment, each run in a process of its own, and the tab-separated record that they are appended to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(
    script: Path, data: Path, cells: Iterable[Sequence[str]], columns: Sequence[str], out: Path | None, again: bool
) -> None:
    """Run ``script --data DATA --one CELL`` for each cell, with one thread; print what it found, append it to `out`.

    Args:
        columns: of the record, what tells cells apart first. The script prints a JSON object of them.
        again: run cells that are on record too.
    """
    held = out.read_text().splitlines() if out and out.exists() and not again else []
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), str(script), "--data", str(data), "--one"]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    for cell in cells:
        if any(line.startswith("\t".join(cell) + "\t") for line in held):
            continue
        ran = subprocess.run([*command, *cell], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(ran.stdout)
        shown = [row.get(name, "") for name in columns]
        line = "\t".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in shown)
        print(line, flush=True)
        if out:
            fresh = not out.exists()
            with out.open("a") as file:
                file.write(("\t".join(columns) + "\n" if fresh else "") + line + "\n")

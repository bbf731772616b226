"""Tier 2: whole generators audited in a few runs each, by canaries whose presence is guessed from the fitted model.

A made-up table of 2,000 rows and 1,000 canaries, each of them a row with a value of one column that nobody else has,
present by a fair coin of its own. A recipe is fitted with the operating system's noise; whoever sees the model (not the
noisy answers) scores each canary by how many rows the model expects of its value, and guesses about the highest and the
lowest scores. Coins of all runs are put together. Recipes do not merge rare cells here: merging hides canaries.

The control is the same with a hundredth of the noise that is charged. Networks make a hundred steps.

    python experiments/canaries.py --out experiments/results/canaries.tsv
"""

from __future__ import annotations

import argparse
import sys
import time
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accountants import Allowance, Budget, Meter
from dpsynth.audit.canaries import Guesses, guess
from dpsynth.audit.draws import Faulty
from dpsynth.generators import GENERATORS, generator_from
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.schema import Schema

CANARIES, OTHERS, DELTA, ALPHA = 1000, 2000, "1e-9", 0.05
SETTINGS = {"merge_below": 0.0, "group_below": 0.0, "denoise": False, "steps": 100}
SCHEMA = Schema.from_domain({"id": CANARIES + 1, "b": 2, "c": 3}, about_rows=OTHERS + CANARIES // 2)
FIELDS = (
    *("generator", "epsilon", "noise", "runs", "canaries", "at_least", "correct", "guessed", "verdict", "seconds"),
)


def recipe(name: str) -> Any:
    has = signature(GENERATORS[name]).parameters
    return generator_from(name, {key: value for key, value in SETTINGS.items() if key in has})


def scored(generator: Any, plan: Any, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    present = rng.random(CANARIES) < 0.5
    ids = np.r_[np.full(OTHERS, CANARIES), np.flatnonzero(present)]
    frame = pd.DataFrame({"id": ids, "b": ids % 2, "c": rng.integers(0, 3, len(ids))})
    noise: Any = Noise() if spread == 1.0 else Faulty(Noise(), spread=spread)
    private = PrivateTable(Rows(frame, SCHEMA), Meter(plan), noise)
    return generator.fit(private, plan, SCHEMA.hints).project(("id",))[:CANARIES], present


def audited(name: str, epsilon: float, spread: float, runs: int) -> tuple[Guesses, float]:
    generator, rng, start = recipe(name), np.random.default_rng(), time.process_time()
    plan = generator.plan(SCHEMA.domain, Allowance(Budget(epsilon, DELTA)), SCHEMA.hints)
    scores, present = zip(*(scored(generator, plan, spread, rng) for _ in range(runs)), strict=True)
    return guess(np.concatenate(scores), np.concatenate(present), float(DELTA), ALPHA), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", nargs="+", default=list(GENERATORS), choices=list(GENERATORS))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 10.0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--network-runs", type=int, default=1, help="of recipes that train, which take longer")
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    cases = [(name, e, s) for name in asked.generators for e in asked.epsilons for s in (1.0, 0.01) if s == 1 or e <= 1]
    with asked.out.open("w", encoding="utf-8") if asked.out else sys.stdout as out:
        print("\t".join(FIELDS), file=out, flush=True)
        for name, epsilon, spread in cases:
            runs = asked.network_runs if "steps" in recipe(name).parameters() else asked.runs
            found, seconds = audited(name, epsilon, spread, runs)
            verdict = "refuted" if found.epsilon > epsilon else "not refuted"
            planted = "as charged" if spread == 1.0 else f"{spread:g} of it"
            figures = [f"{found.epsilon:.3f}", str(found.correct), str(found.guessed), verdict, f"{seconds:.0f}"]
            print("\t".join([name, f"{epsilon:g}", planted, str(runs), str(found.canaries), *figures]), file=out)
            out.flush()


if __name__ == "__main__":
    main()

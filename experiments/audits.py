"""All audits at length: every generator on several surrogate tables and schemas, every look from many draws.

Tier 0 replays every recipe, trainings with more steps than in the tests, on tables made up for the small schema that
audits have and for those of public benchmark tables (their schemas alone are read). Tier 1 makes 100,000 draws of each
look on each table, a tenth of a training's. A row is written as soon as its audit is done.

    python experiments/audits.py --out experiments/results/audits.tsv
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

from dpsynth.audit import Finding
from dpsynth.audit.auditing import SHORT, Job, replays, statistics
from dpsynth.audit.draws import Drawing
from dpsynth.audit.neighbours import SCHEMA, Surrogate
from dpsynth.generators import GENERATORS, generator_from
from dpsynth.schema import Schema

SCHEMAS = Path(__file__).parents[1] / "tests" / "data"
FIELDS = (
    *("tier", "audit", "table", "claim", "claimed", "at_least", "delta", "confidence"),
    *("caught", "controls", "verdict", "seconds", "said"),
)


def recipes(steps: int) -> list[Any]:
    found = []
    for name, recipe in GENERATORS.items():
        settings = {
            key: value for key, value in {**SHORT, "steps": steps}.items() if key in signature(recipe).parameters
        }
        found.append(generator_from(name, settings))
    return found


def jobs(seeds: int, steps: int, draws: int, schemas: list[str]) -> Iterator[tuple[str, Job]]:
    for job in statistics(Drawing(draws)):
        yield "", job
    for seed in range(seeds):
        for job in replays(None, Surrogate.of(Schema.loads(SCHEMA), seed)):
            yield f"surrogate {seed}", job
        for job in replays(recipes(steps), Surrogate.of(Schema.loads(SCHEMA), seed)):
            yield f"surrogate {seed}, {steps} steps", job
    for name in schemas:
        surrogate = Surrogate.of(Schema.from_yaml(SCHEMAS / f"{name}.yaml"))
        for job in replays(["independent", "mst", "aim"], surrogate):
            yield name, job


def row(table: str, finding: Finding, seconds: float) -> list[str]:
    said = "; ".join([*finding.violations, *(f"{c.fault}: {c.said}" for c in finding.controls)])
    return [
        str(finding.tier),
        finding.audit,
        table,
        finding.claim,
        f"{finding.claimed:.5g}",
        f"{finding.bound:.5g}",
        "" if finding.delta is None else f"{finding.delta:g}",
        "exact" if finding.confidence == 1.0 else f"{finding.confidence:.7f}",
        str(sum(control.caught for control in finding.controls)),
        str(len(finding.controls)),
        finding.verdict,
        f"{seconds:.0f}",
        finding.skipped or f"{finding.note}; {said}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--schemas", nargs="*", default=["adult", "support2", "diabetes130"])
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    failed = 0
    with asked.out.open("w", encoding="utf-8") if asked.out else sys.stdout as out:
        print("\t".join(FIELDS), file=out, flush=True)
        for table, (name, job) in jobs(asked.seeds, asked.steps, asked.draws, asked.schemas):
            print(f"{name} {table}", file=sys.stderr, flush=True)
            start = time.process_time()
            finding = job()
            failed += not finding.passed
            print("\t".join(row(table, finding, time.process_time() - start)), file=out, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

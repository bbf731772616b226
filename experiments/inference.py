"""Inference alone, without any private table: what AIM asks of a junction tree in every round, and what it costs.

Random cliques join columns of 2 to 9 values at most four apart. A tree grows by one of them at a time, as it does in
AIM. Timed on it, in seconds of the processor, with one thread:

* `scratch_ms`: deciding one more pair by triangulating anew (mean of 25), which for all pairs would take `scratch_all`;
* `pairs`, `pairs_tight`: deciding all pairs here, where all fit, and where few do (a limit 5 % above the model's size);
* `triples`: the same for all triples, up to 50 columns;
* `propagation_ms`: one belief propagation;
* `cold`, `warm`: estimation from nothing, and from the model before the last clique was measured;
* `two_way`: every pair of columns exactly; `sample`, `counted`: drawing rows, and counting every pair in them.

What is fitted are the counts of a made-up table with made-up noise: there is nothing private here, and it has a seed.

    python experiments/inference.py --out experiments/results/inference.tsv
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from wide_tables import network_table

from dpsynth.domain import Clique, Domain
from dpsynth.graphical import JunctionTree, Measurement, MessagePassing, estimate
from dpsynth.graphical.pairs import two_way

APART = 4
CASES = ((14, 24), (50, 84), (250, 200), (250, 360))
SAMPLED, SIGMA = 25, 10.0


def seconds(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Processor seconds of one of `times` calls, and what the last one gave."""
    start, result = time.process_time(), None
    for _ in range(times):
        result = work()
    return (time.process_time() - start) / times, result


def local_cliques(domain: Domain, count: int, rng: np.random.Generator) -> list[Clique]:
    names = domain.attributes
    near = [(names[i], names[j]) for i, j in combinations(range(len(names)), 2) if j - i <= APART]
    return [near[i] for i in rng.choice(len(near), count, replace=False)]


def one(columns: int, cliques: int, rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([columns, cliques, seed])
    table = network_table(columns, rows, seed)
    domain = Domain.of({a: int(c.max()) + 1 for a, c in table.items()})
    chosen = local_cliques(domain, cliques, rng)
    tree = JunctionTree.of(domain, [(a,) for a in domain.attributes]).covering(chosen)

    pairs = list(combinations(domain.attributes, 2))
    some = [pairs[i] for i in rng.choice(len(pairs), SAMPLED)]
    scratch, _ = seconds(lambda: [JunctionTree.of(domain, [*chosen, c]).cells for c in some])

    def fresh() -> JunctionTree:  # a tree remembers what it was asked
        return JunctionTree(
            domain, tree.cliques, tree.bags, tree.parents, tree.separators, tree._masks, tree._clique_masks
        )

    loose, fitting = seconds(lambda: fresh().fitting(pairs, 10**12))
    assert len(fitting) == len(pairs)
    tight, _ = seconds(lambda: fresh().fitting(pairs, tree.cells + tree.cells // 20))
    triples = list(combinations(domain.attributes, 3)) if columns <= 50 else []
    of_three, _ = seconds(lambda: fresh().fitting(triples, 10**12))

    def measurement(clique: Clique) -> Measurement:
        shape = domain.shape_of(clique)
        cells = np.ravel_multi_index(tuple(table[a] for a in clique), shape)
        counts = np.bincount(cells, minlength=domain.size(clique)).reshape(shape)
        return Measurement(clique, counts + np.rint(rng.normal(scale=SIGMA, size=shape)), SIGMA)

    measurements = [measurement((a,)) for a in domain.attributes] + [measurement(c) for c in chosen]
    cold, _ = seconds(lambda: estimate(domain, measurements, tree=tree))
    before = estimate(domain, measurements[:-1])
    warm, model = seconds(lambda: estimate(domain, measurements, tree=tree, warm=before.potentials))
    passing = MessagePassing(model.tree, tuple(model.potentials))
    propagation, _ = seconds(lambda: passing.run(tuple(model.potentials.values())), 20)
    every, _ = seconds(lambda: two_way(model.calibrated), 5)
    drawn, codes = seconds(lambda: model.sample(rows, rng))

    def counted() -> None:
        for a, b in pairs:
            np.bincount(codes[a] * domain[b] + codes[b], minlength=domain[a] * domain[b])

    counting, _ = seconds(counted)
    return {
        "columns": columns,
        "cliques": cliques,
        "rows": rows,
        "seed": seed,
        "bags": len(tree.bags),
        "cells": tree.cells,
        "cells_scratch": JunctionTree.of(domain, chosen).cells,
        "scratch_ms": round(1000 * scratch / SAMPLED, 2),
        "scratch_all": round(scratch / SAMPLED * len(pairs), 2),
        "pairs": round(loose, 4),
        "pairs_tight": round(tight, 4),
        "triples": round(of_three, 4) if triples else "",
        "propagation_ms": round(1000 * propagation, 3),
        "cold": round(cold, 3),
        "warm": round(warm, 3),
        "two_way": round(every, 4),
        "sample": round(drawn, 4),
        "counted": round(counting, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of inference in junction trees of many columns.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="tab-separated file to append to")
    arguments = parser.parse_args()
    for columns, cliques in CASES:
        for seed in range(arguments.seeds):
            row = one(columns, cliques, arguments.rows, seed)
            print(*row.values(), sep="\t", flush=True)
            if arguments.out:
                fresh = not arguments.out.exists()
                with arguments.out.open("a") as file:
                    if fresh:
                        file.write("\t".join(row) + "\n")
                    file.write("\t".join(map(str, row.values())) + "\n")


if __name__ == "__main__":
    main()

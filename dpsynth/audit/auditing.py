"""The audits in order: what `dpsynth audit` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from inspect import signature

from dpsynth.audit.draws import Drawing
from dpsynth.audit.findings import Audits, Finding
from dpsynth.audit.neighbours import SCHEMA, Surrogate
from dpsynth.audit.primitives import (
    LOOKS,
    MOMENTS,
    TRAININGS,
    audit_gaussian,
    audit_repeats,
    audit_sampler,
    audit_selections,
    audit_threshold,
)
from dpsynth.audit.replays import audit_generator, audit_looks
from dpsynth.generators import GENERATORS, Generator, generator_from
from dpsynth.kernel.noise import Noise
from dpsynth.progress import report
from dpsynth.schema import Schema

Job = tuple[str, Callable[[], Finding]]

DRAWS = 100_000
TIERS = (0, 1)
SHORT = {"steps": 4, "pair_share": 0.2, "pairs_per_column": 0.4}
"""Settings of recipes that train, as far as they have them: few steps, and choices of pairs after them."""


def run(
    tiers: Sequence[int] = TIERS,
    *,
    generators: Sequence[Generator | str] | None = None,
    schema: Schema | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    source: Callable[[], Noise] = Noise,
) -> Audits:
    """Audit the kernel's looks and the generators, on tables made up from a schema: no row of anybody's is read.

    A bound above its claim is wrong with probability at most 1e-7 for each audit of tier 1; those of tier 0 are exact.
    Staying below a claim proves nothing: audits falsify, they never certify.

    Args:
        tiers: 0: replays on worst-case neighbours; 1: statistics of each look.
        generators: recipes, or names, to replay; every one by default, trainings with few steps.
        schema: what surrogate tables of tier 0 are made for; one with units, missing cells and a fine grid by default.
        draws: of each look on each table, in tier 1; trainings get a tenth.
        seed: of the surrogate tables.
        source: makes the noise of tier 1: the operating system's by default.

    Raises:
        ValueError: another tier, an unknown generator, or too few draws to notice a planted fault.
    """
    if not tiers or set(tiers) - set(TIERS):
        raise ValueError(f"tiers must be some of {list(TIERS)}, got {list(tiers)}")
    if not 10_000 <= draws <= 10**8:
        raise ValueError(f"draws must lie between 10000 and 10^8, got {draws}")
    jobs: list[Job] = []
    if 0 in tiers:
        jobs += replays(generators, Surrogate.of(Schema.loads(SCHEMA) if schema is None else schema, seed))
    if 1 in tiers:
        jobs += statistics(Drawing(draws, source))
    findings: list[Finding] = []
    for number, (name, job) in enumerate(jobs):
        report("audits", number / len(jobs), name)
        findings.append(job())
    report("audits", 1.0)
    return Audits(tuple(findings))


def replays(generators: Sequence[Generator | str] | None, surrogate: Surrogate) -> Iterator[Job]:
    """Tier 0: names and audits."""
    if generators is None:
        yield "replay every look", partial(audit_looks, surrogate)
    for recipe in [_recipe(each) for each in (GENERATORS if generators is None else generators)]:
        yield f"replay {recipe.name}", partial(audit_generator, recipe, surrogate)


def statistics(drawing: Drawing) -> Iterator[Job]:
    """Tier 1: names and audits."""
    yield "rounded Gaussian", partial(audit_gaussian, drawing)
    yield "noise of two runs", partial(audit_repeats, drawing)
    yield "sampler of selections", partial(audit_sampler, drawing)
    yield "selections enumerated", audit_selections
    for look in (*LOOKS, *(TRAININGS if find_spec("torch") else ())):
        yield look.name, partial(look.audit, drawing)
    yield "threshold of new keys", partial(audit_threshold, drawing)
    yield MOMENTS.name, partial(MOMENTS.audit, drawing)


def _recipe(generator: Generator | str) -> Generator:
    if not isinstance(generator, str):
        return generator
    if generator not in GENERATORS:
        return generator_from(generator)  # raises, and says which there are
    has = signature(GENERATORS[generator]).parameters
    return generator_from(generator, {name: value for name, value in SHORT.items() if name in has})


__all__ = ["DRAWS", "SHORT", "TIERS", "replays", "run", "statistics"]

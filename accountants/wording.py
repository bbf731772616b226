"""The sentences of a certificate: pure functions of declared parameters. None of them ever sees an answer.

What they may say of the software holds for every run of it; what depends on the release follows from its unit,
plan, filter and numerics. Only the custodian knows the rest: see `accountants.deployment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_FLOOR, Context, Decimal

from accountants.budget import Budget
from accountants.events import ADD_OR_REMOVE, BLANK
from accountants.exact import DOWN
from accountants.public import PublicTable
from accountants.reading import read
from accountants.unit import PrivacyUnit

_THOUSANDS = ("", "thousand", "million", "billion", "trillion")
_RELATIONS = {
    ADD_OR_REMOVE: "two tables are neighbours if one is the other and one unit more",
    BLANK: (
        "two tables of as many rows are neighbours if one is the other with one unit's rows blank: what takes the "
        "number of rows for public reads a blank row as some row fixed beforehand, all else leaves it out"
    ),
}


def unit_in_words(unit: PrivacyUnit) -> str:
    """Who is protected: ``any single row``, or ``any one unit (all rows that share one value of 'patient', ...)``."""
    return "any single row" if unit.column is None else f"any one unit ({_rows_of(unit)})"


def _rows_of(unit: PrivacyUnit) -> str:
    return f"all rows that share one value of '{unit.column}', at most {unit.at_most} of them used"


def relation_in_words(unit: PrivacyUnit, relation: str = ADD_OR_REMOVE) -> str:
    """Which two tables an observer of the release can hardly tell apart."""
    whose = "any single row" if unit.column is None else _rows_of(unit)
    return f"{_RELATIONS[relation]}; a unit is {whose}"


def chance_in_words(chance: Decimal) -> str:
    """A small probability for people: ``1 in a billion``. Where it is not exact it is rounded up.

    >>> chance_in_words(Decimal("1e-9")), chance_in_words(Decimal("0.00001")), chance_in_words(Decimal("3e-7"))
    ('1 in a billion', '1 in 100 thousand', 'about 1 in 3.33 million')
    """
    one_in = DOWN.divide(1, chance)
    power = min(max(one_in.adjusted() // 3, 0), len(_THOUSANDS) - 1)
    step = Decimal(10) ** (3 * power)
    figure = Context(prec=3, rounding=ROUND_FLOOR).divide(one_in, step).normalize()
    if one_in > 10**15:
        return "less than 1 in 1000 trillion"
    about = "" if figure * step * chance == 1 else "about "
    if power and figure == 1:
        return f"{about}1 in a {_THOUSANDS[power]}"
    return f"{about}1 in {figure:f} {_THOUSANDS[power]}".rstrip()


def guarantee_in_words(budget: Budget, unit: PrivacyUnit) -> str:
    """The promise in one sentence."""
    reading = read(budget)
    return (
        f"Whether {unit_in_words(unit)} was in the source table or not changes the probability of whatever this "
        f"release shows by a factor of at most e^{budget.epsilon.normalize():f} (about {reading.odds}), but for "
        f"a probability of {budget.delta.normalize():e} ({chance_in_words(budget.delta)})."
    )


def lifetime_in_words(budget: Budget, relation: str) -> str:
    """The cap over all releases of the dataset, in sentences."""
    whom = "for one unit more or less; "
    if relation != ADD_OR_REMOVE:
        whom = "for one unit's rows being blank in a table of publicly known size; "
    return (
        f"All releases ever made from this dataset's account together stay within {budget}; {whom}"
        "they are not independent of each other, and whoever collects several has the benefit of all of them. "
        "This is the cap on the day of issue, and these are the neighbours it is about: only its keeper can widen the "
        "cap, or charge to the account what takes the number of rows for public, and the ledger then shows it."
    )


def anchor_in_words(rollback_detectable: bool) -> str:
    """What the ledger head can be held against."""
    if rollback_detectable:
        return "the head of the ledger is kept outside its store as well, so a rollback of the ledger is detectable"
    return "rollback not detectable: the ledger has no anchor outside its store"


def given_assumptions(given: tuple[str, ...]) -> list[str]:
    """What supplying columns at sampling takes for public."""
    return [f"values of the given columns are public: {', '.join(given)}"] if given else []


def describes(unit: PrivacyUnit) -> list[str]:
    """Which rows the release speaks of, each in a sentence."""
    if unit.column is None:
        return ["all rows of the source table"]
    rows = "1 row" if unit.at_most == 1 else f"{unit.at_most} rows"
    return [
        f"at most {rows} of each '{unit.column}': further ones were left out before the first look",
        f"rows without a '{unit.column}' were left out too",
    ]


def protected(unit: PrivacyUnit) -> list[str]:
    """What the guarantee covers."""
    return [
        f"the presence or absence of {unit_in_words(unit)}, and every value in it",
        "against any knowledge the observer has beside the release, any computation, and any later use of the files",
    ]


def not_protected(unit: PrivacyUnit, given: tuple[str, ...] = (), public: PublicTable | None = None) -> list[str]:
    """What the guarantee does not cover, each in a sentence."""
    if unit.column is None:
        who = ["a person with several rows is not protected as a person: the unit is the row"]
    else:
        who = ["several units together are protected less than one: the bound weakens with each of them"]
    return [
        *who,
        *(
            [f"the columns supplied when the table was drawn ({', '.join(given)}): they are as supplied"]
            if given
            else []
        ),
        *([public.unprotected] if public else []),
        "how long the run took, the memory it used, and whether it ended",
        "that the dataset exists, and its schema, which was public before",
        "what is true of the population whether or not a unit took part: such conclusions can still concern a unit",
        "copies of the source data, answers given outside this account, and other datasets with the same units",
    ]


def contribution(unit: PrivacyUnit) -> str:
    """How many rows of a unit count, and who sees to it."""
    if unit.column is None:
        return "each row is its own unit, so a unit has one row"
    rows = "1 row" if unit.at_most == 1 else f"{unit.at_most} rows"
    return (
        f"at most {rows} of each '{unit.column}' are kept before the first look, chosen within the unit alone by a "
        "keyed hash whose key is secret and ends with the run; the noise is scaled to that bound"
    )


_CELLS = "the cells are those of the public schema; the kernel computes the sensitivity from the question and the unit"
MECHANISMS: Mapping[str, tuple[str, str, str]] = {
    "gaussian": (
        "Gaussian mechanism: a table of counts, with rounded Gaussian noise on every cell, the empty ones too; "
        "or a matrix of second moments of public scores, rows held to a public norm, with such noise on every entry",
        "noise of noise_multiplier times what one unit can change the answer by (L2); it is (1/noise_multiplier)-GDP",
        _CELLS,
    ),
    "exponential_mechanism": (
        "exponential mechanism: a choice of what to count among public candidates; only the choice is learnt",
        "probabilities proportional to e^(eta x score / (2 x sensitivity)); its privacy loss has range eta",
        "candidates, weights and estimates are fixed before the look; the kernel computes scores and sensitivity",
    ),
    "subsampled_gaussian": (
        "subsampled Gaussian mechanism: gradients of a random part of the units, clipped for each unit, with noise",
        "each unit is in a step with probability sample_rate; noise of noise_multiplier times the clipping bound",
        "sample rate, number of steps and clipping bound are declared and do not depend on the rows",
    ),
    "thresholding": (
        "thresholding: noisy counts of values that no schema lists, shown only where they exceed a threshold",
        "Gaussian noise as above; with a probability of at most delta, a value that one unit alone has is shown",
        "the threshold follows from delta, the noise and the bound on a unit's rows, not from the rows",
    ),
    "laplace": (
        "Laplace mechanism: counts with two-sided exponential noise on every cell",
        "noise of noise_multiplier times what one unit can change the counts by (L1): epsilon is 1/noise_multiplier",
        _CELLS,
    ),
    "randomized_response": (
        "a mechanism of pure epsilon, charged as the worst there is: binary randomised response",
        "no answer is more than e^epsilon times as probable with a unit as without it",
        "the mechanism really is of that epsilon",
    ),
    "private_selection": (
        "private selection: one mechanism is run a random number of times, and only the best run is shown",
        "the number of runs is hidden and drawn from the distribution declared; the price is that of its worst case",
        "which run is best is judged by the answers alone",
    ),
    "claimed": (
        "a mechanism of another library, charged at the epsilon and delta which that library claims",
        "as claimed, converted to this certificate's unit; with probability delta it protects nothing",
        "the claim is taken at its word: nothing here checked it",
    ),
    "post_processing": (
        "work on answers already given",
        "costs nothing",
        "it does not see the rows",
    ),
}
"""Kinds of looks: what is asked, what protects, what it takes for granted."""


def mechanisms(kinds: Mapping[str, Iterable[str]]) -> list[dict[str, str]]:
    """Each kind of look that a release may make, in words.

    Args:
        kinds: what else the looks of each kind take for granted, in phrases.
    """
    unknown = ("a look of this kind", "see its parameters under 'looks'", "see docs/proofs of this version")
    entries = []
    for kind in sorted(kinds):
        asks, privacy, assumes = MECHANISMS.get(kind, unknown)
        more = "; ".join([assumes, *dict.fromkeys(kinds[kind])])
        entries.append({"kind": kind, "asks": asks, "privacy": privacy, "assumes": more})
    return entries


def within_release(plan_kind: str) -> str:
    """How the looks of a release add up."""
    if plan_kind == "adaptive":
        return (
            "looks are chosen as the run goes, under a Gaussian-DP filter: the sum of mu^2 may never exceed the "
            "capacity declared, and the release is charged the whole capacity, whatever it used"
        )
    return (
        "the number, the kinds and the parameters of all looks were fixed before the first one, and all are charged, "
        "asked or not; which columns a look concerns may follow from earlier answers"
    )


def across_releases(filter: str) -> str:
    """How the releases of a dataset add up."""
    how = {
        "gdp": "a Gaussian-DP filter on the sum of mu^2",
        "sum": "a filter on the sum of epsilon and the sum of delta",
    }.get(filter, f"the filter '{filter}'")
    return f"{how}, declared before the first release; later releases may be chosen after seeing earlier ones"


SECOND = "epsilon lies in this interval by a second accountant, which shares no code with the first"
NO_SECOND = "the second accountant knows no formula for these looks, so that epsilon rests on the first alone"
REPLENISHED = (
    "never: what is spent stays spent, however much time passes. Newly collected data under another dataset id have a "
    "budget of their own, and for a unit that is in both the two budgets add up"
)
PARALLEL = "not used: no look is charged less because it concerns other rows than another look"
_FITTED = "a statistical model is fitted to the noisy answers and to nothing else"
_POST_PROCESSING = (
    "negative noisy counts and answers that contradict each other are reconciled by that fit",
    "rows are drawn from the model; values inside a bin are drawn evenly, or as noisy counts of its parts say",
    "rows that break a constraint of the schema are drawn again; further draws cost nothing",
)


def post_processing(public: PublicTable | None = None) -> list[str]:
    """What is done with noisy answers, at no cost."""
    return [_FITTED if public is None else public.post_processing, *_POST_PROCESSING]


TRUSTED = (
    "the curator: holds the source rows, runs dpsynth, charges every release to one account",
    "the machine that ran it, its libraries and its operating system's random numbers",
    "whoever wrote the schema: from public knowledge, without looking at the rows",
)
NOT_TRUSTED = (
    "whoever receives a file of this folder, alone or together with others, whatever else they know and compute",
)
ONE_RELEASE = "this table was released once; the account may pay for more until its lifetime budget is spent"
STATIC = "the table was read once; rows added to the source later had no part in this release"
NON_INTERACTIVE = "nobody can ask the source rows anything through this release, nor measure how long an answer takes"

INPUT = "one table of rows, with the columns that schema.yaml declares"
INPUT_WITH_PUBLIC = f"{INPUT}; and a public table, with the same columns, that the model was trained on first"
OUTPUT = "synthetic.parquet: rows with the same columns, drawn from a statistical model, none of them copied"

PREPROCESSING = (
    "each cell is mapped to a code of the public schema by itself; what the schema does not list shares one code",
    "rows beyond the bound on a unit, and rows without a unit where one is declared, are left out",
    "nothing is imputed, scaled, binned or selected by looking at other rows",
)
TUNING = (
    "this software chose no setting by looking at the rows outside the looks listed here. Whether a person did, by "
    "trying settings on the same rows, only the curator can declare"
)
LIBRARY = "the mechanisms and samplers are those of the software named in 'software'; its docs/proofs argue each one"
FLOATING_POINT: Mapping[str, str] = {
    "exact": (
        "noise is a whole number, drawn from cryptographic random bits with certified error bounds and as many digits "
        "as it takes, never a rounded floating-point draw; what distance is left to the ideal mechanism is bounded and "
        "taken off delta"
    ),
    "idealised": (
        "noise is drawn in floating point: the guarantee holds for the ideal mechanism, and how far the one that ran "
        "is from it is not bounded"
    ),
}


def tuning(reads: int) -> str:
    """What may have been chosen by looking at the rows, and whether anybody could have."""
    if not reads:
        return TUNING
    reports = "one private report" if reads == 1 else f"{reads} private reports"
    return (
        f"{TUNING}. Before this certificate was issued, the curator had {reports} made about releases of this dataset: "
        "computed from the source rows, outside the looks listed here and charged nowhere. The guarantee takes for "
        "granted that neither this release nor a setting of it was chosen after reading what they say"
    )


RANDOMNESS = "ChaCha20, keyed by the operating system for each run; privacy noise can be neither repeated nor chosen"
SIDE_CHANNELS = (
    "running time, memory and power are not protected; nobody but the curator can start or time a run",
    "values in the rows change no message, no exit code and not which looks are made",
    "a crash is charged whole; that a run ended or failed is not protected",
)
DATA_SECURITY = (
    "outside the guarantee: the source rows are in memory while a run lasts, are written nowhere by this software, and "
    "are otherwise the curator's to secure; a breach of the source makes the guarantee void"
)

UTILITY = "report.html says for each margin how it was measured, with how much noise, and how far the table is from it"
BIAS = (
    "the same noise falls on a small count as on a large one, so small groups are described worst",
    "shares below the noise may vanish or be overstated, and counts forced above zero overstate rare cells",
    "relations between columns that were never counted together are the model's, not the data's",
    "standard errors computed from the table alone are too small: they leave out the noise",
)

READER_CHECKS = (
    "that the unit is what you take for a person, a household or whatever must be protected",
    "that epsilon and delta are compared only with guarantees for the same unit, and epsilon only at the same delta",
    "that the lifetime budget, not this release's alone, is one you can accept",
    "that the schema and every assumption really were public",
    "that the signing key is the issuer's, learnt by another way than this folder",
    "that `dpsynth verify` finds the folder intact, with the ledger's head anchored or its keeper trusted",
    "what else was released from the same source data outside this account",
    "that what you want to know was measured: report.html says which margins were",
)


def rests_on(idealised: Sequence[str]) -> str:
    """What the lifetime's guarantee takes on trust beside this software."""
    if not idealised:
        return "every release charged so far was made with this software's exact noise"
    return (
        f"what {', '.join(idealised)} did is charged as it claims: its noise is not this software's exact one, and "
        "what each claim assumes stands in the ledger"
    )


def unprotected_quantities(given: tuple[str, ...] = (), public: PublicTable | None = None) -> list[str]:
    """What the folder states without noise, and why that is no statistic of the rows."""
    return [
        "none computed from the source rows: every figure of theirs in this folder passed through a look listed here",
        "the schema, and the number of rows drawn: declared, or itself a noisy answer",
        *([f"the columns supplied when the table was drawn: {', '.join(given)}"] if given else []),
        *([f"name, digest and number of rows of the public table {public.name!r}"] if public else []),
    ]

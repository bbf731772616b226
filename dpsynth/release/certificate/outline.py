"""A certificate's predicate in the order in which a person reads it. Nothing in it is left out, nothing is added; looks
that are alike are one line with their number.

What `LAYOUT` does not name comes last, under its own name, so that a field added to the file is never missing from
the page. The predicate may come from anyone: every value is shown as text, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from accountants.deployment import ASKS, NOT_DECLARED
from accountants.events import ADD_OR_REMOVE

MOST_COLUMNS = 8
"""A list of mappings with more names than this is shown one value a line: a table of it could be huge."""

_FIRST = (
    "kind",
    "asks",
    "privacy",
    "id",
    "column",
    "false_positive_rate",
    "at_most",
    "epsilon",
    "delta",
    "mu_squared",
    "delta0",
    "low",
)
"""Names that lead their group; the others follow by name."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One field, or one group of fields.

    Attributes:
        label: what it is.
        lines: its values, one line each.
        columns: names, where the values are a table with these columns; empty otherwise.
        rows: the cells of that table.
        absent: whether it says only that something was left out.
    """

    label: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Entries under a title, with a sentence of what they are."""

    title: str
    intro: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a guarantee means for one person, as the certificate has it.

    Attributes:
        epsilon, delta: as declared.
        whether: the question that the figures are about, for people.
        odds: the most that anyone's odds on it can change.
        found, accused: of a hundred members and a hundred outsiders, how many a test can find and wrongly accuse.
        curve: (false-positive rate, best true-positive rate), for a plot.
    """

    epsilon: str
    delta: str
    whether: str
    odds: str
    found: str
    accused: str
    curve: tuple[tuple[float, float], ...]


IN_THE_DATA = "whether one unit is in the data"
BLANK_OR_NOT = "whether one unit's rows are blank, where the number of rows is public,"
DECLARED = "In the curator's own words"
"""Title of the section of what only the custodian knows."""

LAYOUT: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "What is promised",
        "",
        (
            ("guarantee.in_words", "In words"),
            ("lifetime.in_words", "Over all releases"),
            ("guarantee.scope", "Scope"),
            ("guarantee.definition", "Definition"),
            ("guarantee.variant", "Variant"),
            ("guarantee.budget", "Budget of this release"),
            ("lifetime.budget", "Lifetime budget of the dataset"),
            ("lifetime.replenished", "When the budget is replenished"),
            ("guarantee.unit", "Privacy unit"),
            ("guarantee.relation_in_words", "Neighbouring tables"),
            ("lifetime.relation_in_words", "Neighbouring tables, all releases"),
            ("lifetime.relation", ""),
            ("guarantee.contribution", "Bound on contributions"),
        ),
    ),
    (
        "What that covers",
        "",
        (
            ("protected", "Protected"),
            ("not_protected", "Not protected"),
            ("describes", "What the data describe"),
            ("unprotected_quantities", "Stated without noise"),
            ("assumptions", "Taken as public"),
            ("public_table", "Public table it started from"),
            ("trust.model", "Trust model"),
            ("trust.trusted", "Trusted"),
            ("trust.not_trusted", "Not trusted"),
        ),
    ),
    ("What to check before relying on it", "", (("reader_checks", "Check"),)),
    (
        DECLARED,
        "Declared by whoever published the release. Nothing here was checked by software.",
        tuple((f"deployment.{name}", label) for name, label in ASKS.items()),
    ),
    (
        "The release",
        "",
        (
            ("synthetic", "Synthetic"),
            ("product.type", "Product"),
            ("product.input", "Made from"),
            ("product.output", "What was made"),
            ("dataset", "Dataset (account)"),
            ("issued", "Released on"),
            ("release", "Release"),
            ("table", "Table"),
            ("schema", "Schema"),
            ("generator.name", "Generator"),
            ("generator.parameters", "Its parameters"),
            ("model", "Model"),
            ("trust.release_type", "Releases"),
            ("trust.release_type_in_words", ""),
            ("trust.data_source", "Source data"),
            ("trust.data_source_in_words", ""),
            ("trust.access", "Access"),
            ("trust.access_in_words", ""),
        ),
    ),
    (
        "What was asked of the rows",
        "Epsilon follows from these looks, at the parameters given, and from nothing else. Looks that are alike are "
        "counted together; certificate.json has them in the order in which they came.",
        (
            ("mechanisms", "Kinds of looks"),
            ("looks.plan.events", "Looks planned"),
            ("looks.plan", "Plan"),
            ("looks.frame", "Looks beside the plan"),
            ("looks.capacity_mu_squared", "Charged: mu squared at capacity"),
            ("looks.charged.plan", "Looks that ran"),
            ("looks.charged.frame", "Looks that ran beside the plan"),
            ("looks.realised_mu_squared", "Their mu squared"),
            ("looks.realised_in_words", ""),
            ("composition.within_release", "Composition within the release"),
            ("composition.across_releases", "Composition across releases"),
            ("composition.parallel", "Parallel composition"),
            ("composition.post_processing", "Post-processing"),
        ),
    ),
    (
        "How it was done",
        "",
        (
            ("implementation.preprocessing", "Before the first look"),
            ("implementation.tuning", "Tuning"),
            ("implementation.private_reports", "Private reports read before"),
            ("implementation.library", "Library"),
            ("implementation.floating_point", "Floating point"),
            ("guarantee.numerics", "Numerics"),
            ("implementation.trained_on", "Network trained on"),
            ("implementation.randomness", "Randomness"),
            ("implementation.side_channels", "Side channels"),
            ("implementation.data_security", "Security of the source data"),
        ),
    ),
    ("What it is good for", "", (("utility.in_words", "Accuracy"), ("utility.bias", "Bias"))),
    (
        "The figures",
        "Rates are rounded up. A test for who is in the data finds at most the share given of those who are, where it "
        "wrongly accuses the share given of those who are not; guessing finds as many as it accuses.",
        (
            ("guarantee.accounting", "Accounting of this release"),
            ("guarantee.most_the_odds_can_change", "Most the odds can change, this release"),
            ("guarantee.best_true_positive_rate", "Best true-positive rate, this release"),
            ("lifetime.most_the_odds_can_change", "Most the odds can change, all releases"),
            ("lifetime.best_true_positive_rate", "Best true-positive rate, all releases"),
            ("lifetime.filter", "Filter of the lifetime"),
            ("lifetime.cap", "Its cap"),
            ("lifetime.charged", "Charged so far, this release included"),
            ("lifetime.rests_on", "What that rests on"),
            ("lifetime.idealised", "Charged with numerics that are not exact"),
            ("guarantee.trade_off", "Trade-off curve, this release"),
            ("lifetime.trade_off", "Trade-off curve, all releases"),
        ),
    ),
    (
        "Who signed it",
        "A key in this folder tells intact from broken; it is never a reason to trust.",
        (
            ("version", "Version of the certificate"),
            ("software", "Issued by"),
            ("issuer.key_id", "Signing key"),
            ("issuer.public_key", "Public key"),
            ("ledger", "Head of the ledger"),
        ),
    ),
)
"""Sections: title, sentence, and the fields shown with their labels. One without a label joins the one before it."""

_LOOKS = frozenset({"looks.plan.events", "looks.frame", "looks.charged.plan", "looks.charged.frame"})


def outline(predicate: Mapping[str, Any]) -> list[Section]:
    """The sections of a certificate. Every leaf of `predicate` is in exactly one entry; what the custodian did not
    declare shares one, and so do looks that are alike."""
    left = dict(predicate)
    undeclared = _take_undeclared(left)
    sections = []
    for title, intro, fields in LAYOUT:
        entries: list[Entry] = []
        for name, label in fields:
            found, value = _take(left, tuple(name.split(".")))
            if found and not label and entries and not entries[-1].columns:
                entries[-1] = replace(entries[-1], lines=(*entries[-1].lines, *_lines(value)))
            elif found:
                entries.append(entry(label or name, _counted(value) if name in _LOOKS else value))
        if title == DECLARED and undeclared:
            label = "What was left out" if entries else "Nothing was declared about the deployment"
            entries.append(Entry(label, (f"{NOT_DECLARED}: {', '.join(undeclared)}",), absent=True))
        if entries:
            sections.append(Section(title, intro, tuple(entries)))
    rest = tuple(Entry(shown(".".join(path)), (shown(leaf),)) for path, leaf in leaves(left))
    return [*sections, Section("Further fields", "", rest)] if left else sections


def _take_undeclared(body: dict[str, Any]) -> list[str]:
    """Remove the fields that the custodian left out, and name them: a line each would bury the others."""
    said = body.get("deployment")
    given = said if isinstance(said, Mapping) else {}
    names = [name for name in ASKS if given.get(name) == NOT_DECLARED]
    for name in names:
        _take(body, ("deployment", name))
    return names


def _take(body: dict[str, Any], path: Path) -> tuple[bool, Any]:
    """Remove the value at `path`. Mappings on the way are copied, and dropped once empty: the caller's stay whole."""
    name, *rest = path
    if name not in body:
        return False, None
    if not rest:
        return True, body.pop(name)
    if not isinstance(body[name], Mapping):
        return False, None
    inner = dict(body[name])
    found, value = _take(inner, tuple(rest))
    if found:
        body[name] = inner
        if not inner:
            del body[name]
    return found, value


def entry(label: str, value: Any) -> Entry:
    """One field for people: a line, a list, or a table of what has the same columns throughout."""
    match value:
        case [*items] if items and all(_flat(item) for item in items) and len(columns := _names(items)) <= MOST_COLUMNS:
            rows = tuple(tuple(shown(item[name]) if name in item else "" for name in columns) for item in items)
            return Entry(label, (), columns, rows)
    return Entry(label, _lines(value))


def _counted(looks: Any) -> Any:
    """Looks that differ in their count alone as one with the sum, where the first of them was; all else as it is."""
    if not isinstance(looks, list) or not all(_flat(look) and type(look.get("count")) is int for look in looks):
        return looks
    alike: dict[str, dict[str, Any]] = {}
    for look in looks:
        none = {name: look[name] for name in _ordered(look)} | {"count": 0}
        alike.setdefault(repr(none), none)["count"] += look["count"]
    return list(alike.values())


def _lines(value: Any) -> tuple[str, ...]:
    """A value in lines: of a list each item, of anything deeper each leaf with where it is."""
    match value:
        case [*items] if items and not any(isinstance(item, Mapping | list) for item in items):
            return tuple(shown(item) for item in items)
        case Mapping() | [*_] if value:
            return tuple(f"{shown('.'.join(path))}: {shown(leaf)}" for path, leaf in leaves(value))
    return (shown(value),)


def _names(items: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(_ordered({name for item in items for name in item}))


def _flat(item: Any) -> bool:
    return isinstance(item, Mapping) and len(item) > 0 and not any(isinstance(v, Mapping | list) for v in item.values())


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value in a JSON value that holds no other, with where it is. Empty lists and mappings count as leaves."""
    if isinstance(value, Mapping) and value:
        for name in _ordered(value):
            yield from leaves(value[name], (*path, str(name)))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value, start=1):
            yield from leaves(inner, (*path, str(number)))
    else:
        yield path, value


def _ordered(names: Iterable[str]) -> list[str]:
    """The same whatever order a file has them in: those that come first for people, then by name."""
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def shown(leaf: Any) -> str:
    """A leaf as text. What does not print is replaced; line breaks stay."""
    match leaf:
        case None | [] | {}:
            return "none"
        case bool():
            return "yes" if leaf else "no"
    text = str(leaf).strip("\n")
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def figures(predicate: Mapping[str, Any], part: str) -> Figures:
    """The plain figures of ``guarantee`` or ``lifetime``. What a certificate lacks is shown as a dash."""

    def get(*path: str) -> Any:
        value: Any = predicate
        for name in (part, *path):
            value = value.get(name) if isinstance(value, Mapping) else None
        return "–" if value is None else value

    return Figures(
        epsilon=shown(get("budget", "epsilon")),
        delta=shown(get("budget", "delta")).lower(),
        whether=IN_THE_DATA if get("relation") in ("–", ADD_OR_REMOVE) else BLANK_OR_NOT,
        odds=shown(get("most_the_odds_can_change")),
        found=_hundredths(get("best_true_positive_rate", "at_most")),
        accused=_hundredths(get("best_true_positive_rate", "false_positive_rate")),
        curve=tuple(_points(get("trade_off"))),
    )


def _hundredths(rate: Any) -> str:
    try:
        exact = Decimal(str(rate))
    except InvalidOperation:
        return shown(rate)
    return f"{(exact * 100).normalize():f}" if 0 <= exact <= 1 and exact.adjusted() > -20 else shown(rate)


def _points(curve: Any) -> Iterator[tuple[float, float]]:
    for point in curve if isinstance(curve, Sequence) else ():
        match point:
            case {"false_positive_rate": str(rate), "at_most": str(best)}:
                try:
                    x, y = float(rate), float(best)
                except ValueError:
                    continue
                if 0 <= x <= 1 and 0 <= y <= 1:
                    yield x, y


__all__ = ["DECLARED", "LAYOUT", "Entry", "Figures", "Section", "entry", "figures", "leaves", "outline", "shown"]

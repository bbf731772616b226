"""Questions as they are typed, read against a schema."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches

from dpsynth.analysis.values import Values, numbers, question
from dpsynth.columns import BinnedBase, Boolean, Categorical, Integer, Ordinal
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.schema import Schema

_COMPARISON = re.compile(r"\s*(>=|<=|!=|>|<|=)\s*")
_NO_TERM = re.compile(r"[:*^()/|]|\s-|-\s|^[-.\d]+$")
"""Signs of other languages of formulas."""
_TERMS = "terms are columns, questions or C(COLUMN), joined by +; no interactions or functions; each once"
_MOST_VALUES = 30
"""Values of a column up to which it is a regressor, one term a value."""


def column_in(schema: Schema, text: str) -> str:
    """The column of that name.

    Raises:
        NotSupported: there is none.
    """
    name = text.strip()
    if name in schema.names:
        return name
    near = get_close_matches(name, schema.names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(schema.names[:12])}"
    raise NotSupported(f"the release has no column {name!r}; {hint}")


def question_in(schema: Schema, text: str) -> Values:
    """``column=value``, ``column<number`` or ``column>=number``.

    Raises:
        NotSupported: it is no such question, or one that cells cannot answer.
    """
    for name in sorted(schema.names, key=len, reverse=True):  # a name may hold signs of comparison
        if text.strip().startswith(name) and (sign := _COMPARISON.match(text.strip(), len(name))):
            return _comparison(schema, name, sign[1], text.strip()[sign.end() :].strip().strip('"'))
    if (name := text.strip()) in schema.names:
        column = schema.column(name)
        if isinstance(column, BinnedBase):
            raise NotSupported(
                f"{name!r} is no question but a column; ask {name}<NUMBER or {name}>=NUMBER, or its mean"
            )
        labels = Encoder(schema).decode_labels(name)[: column.cells]
        example = labels[1] if isinstance(column, Boolean) else labels[0]
        raise NotSupported(f"{name!r} is no question but a column; ask {name}=VALUE, such as {name}={example}")
    head = _COMPARISON.split(text, maxsplit=1)
    column_in(schema, head[0])
    raise NotSupported(f"{text!r} is no question; ask COLUMN=VALUE, COLUMN<NUMBER or COLUMN>=NUMBER")


def _comparison(schema: Schema, name: str, sign: str, value: str) -> Values:
    if sign not in (">", "<=", "!="):
        return question(schema, name, sign, value)
    if sign == "!=":
        raise NotSupported(f"{name}!={value} is not asked; ask {name}={value}, and take it from 1")
    if not isinstance(schema.column(name), BinnedBase):
        raise NotSupported(f"{name!r} holds no numbers, so {name}{sign}{value} has no answer; ask {name}=VALUE")
    told = "only < and >= are asked, at the start of a bin"
    if isinstance(schema.column(name), Integer) and re.fullmatch(r"-?\d{1,18}", value):
        told += f"; of whole numbers write {name}{'>=' if sign == '>' else '<'}{int(value) + 1}"
    raise NotSupported(f"{name}{sign}{value}: {told}")


def outcome_in(schema: Schema, text: str) -> Values:
    """A column of numbers, or a question.

    Raises:
        NotSupported: it is neither.
    """
    return numbers(schema, text.strip()) if text.strip() in schema.names else question_in(schema, text)


def groups_in(schema: Schema, text: str) -> tuple[Values, Values]:
    """``column`` with two values (the second less the first), ``column: A - B``, or a question (its rows less others).

    Raises:
        NotSupported: it names no two groups.
    """
    head, colon, tail = text.partition(":") if text.strip() not in schema.names else (text, "", "")
    if not colon and head.strip() not in schema.names and _COMPARISON.search(head):
        asked = question_in(schema, head)
        return asked, replace(asked, name=f"not {asked.name}", mean=asked.valid - asked.mean)
    name = column_in(schema, head)
    labels = Encoder(schema).decode_labels(name)[: schema.column(name).cells]
    if not colon:
        if len(labels) != 2:
            raise NotSupported(
                f"{name!r} has {len(labels)} values; say which to compare, as {name}: {labels[-1]} - {labels[0]}"
            )
        first, second = labels[1], labels[0]
    else:
        found = [
            (a, b)
            for a in labels
            for b in labels
            if a != b and re.fullmatch(rf"\s*{re.escape(a)}\s+-\s+{re.escape(b)}\s*", tail)
        ]
        if not found:
            raise NotSupported(
                f"{tail.strip()!r} does not name two values of {name!r}, as A - B; it has {', '.join(labels[:12])}"
            )
        first, second = found[0]
    return question(schema, name, "=", first), question(schema, name, "=", second)


def compared_in(schema: Schema, text: str) -> tuple[Values, Values, Values]:
    """``outcome by groups``.

    Raises:
        NotSupported: it is no such comparison.
    """
    for found in re.finditer(r"\s+by\s+", text):
        return outcome_in(schema, text[: found.start()]), *groups_in(schema, text[found.end() :])
    raise NotSupported(f"{text!r} is no comparison; ask as 'length_of_stay by sex', or 'cost by ward: north - south'")


def effect_in(schema: Schema, text: str) -> tuple[Values, Values, Values, tuple[str, ...]]:
    """``outcome of treatment given covariates``.

    Raises:
        NotSupported: it asks for no effect.
    """
    found = re.fullmatch(r"(.+?)\s+of\s+(.+?)\s+given\s+(.+)", text)
    if not found:
        raise NotSupported(f"{text!r} asks for no effect; ask as 'outcome of treatment given age' (more with +)")
    given = tuple(column_in(schema, part) for part in found[3].split("+"))
    return outcome_in(schema, found[1]), *groups_in(schema, found[2]), given


def formula_in(schema: Schema, text: str) -> tuple[Values, tuple[Values, ...]]:
    """``y ~ x1 + x2``: numbers as they are, other columns (and ``C(code)``) by their values, less the first.

    Raises:
        NotSupported: it is no such formula.
    """
    left, tilde, right = text.partition("~")
    if not tilde or not right.strip():
        raise NotSupported(f"{text!r} is no regression; ask as 'cost ~ age + sex'")
    terms: list[Values] = []
    parts = [part.strip() for part in right.split("+")]
    for name in parts:
        head = _COMPARISON.split(name)[0] if name not in schema.names else name
        bare = head[2:-1].strip() if head.startswith("C(") and head.endswith(")") else head
        if parts.count(name) > 1:
            raise NotSupported(f"{name!r} stands there twice; {_TERMS}")
        if not {head, bare} & {*schema.names} and _NO_TERM.search(bare):
            raise NotSupported(f"{name!r} is no term; {_TERMS}")
        if name not in schema.names and _COMPARISON.search(name):
            terms.append(question_in(schema, name))
            continue
        coded = name.startswith("C(") and name.endswith(")") and name not in schema.names
        name = name[2:-1].strip() if coded else name
        column = schema.column(column_in(schema, name))
        if coded or isinstance(column, Categorical | Ordinal | Boolean):
            labels = Encoder(schema).decode_labels(name)[: column.cells]
            if len(labels) > _MOST_VALUES:
                raise NotSupported(f"{name!r} has {len(labels)} values, too many for terms of a regression")
            terms += [replace(question(schema, name, "=", label), against=labels[0]) for label in labels[1:]]
        else:
            terms.append(numbers(schema, name))
    return outcome_in(schema, left), tuple(terms)


__all__ = ["column_in", "compared_in", "effect_in", "formula_in", "groups_in", "outcome_in", "question_in"]

"""The four kinds of constraint a schema may declare, as frozen types, as JSON and in words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, field_validator, model_validator

from dpsynth.declared import Declared, unknown
from dpsynth.errors import SchemaError

Bound = bool | int | float | str | date | datetime


class Range(Declared):
    """Values of an ordered column from one bound to another; at least one is given.

    Attributes:
        min, max: bounds that belong to the range.
        above, below: bounds that do not.
    """

    min: Bound | None = None
    above: Bound | None = None
    max: Bound | None = None
    below: Bound | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Range:
        low = [key for key in ("min", "above") if getattr(self, key) is not None]
        high = [key for key in ("max", "below") if getattr(self, key) is not None]
        if not low + high or len(low) > 1 or len(high) > 1:
            raise ValueError("a range has one of 'min' and 'above', one of 'max' and 'below', or both")
        return self

    def bounds(self) -> dict[str, Bound]:
        """The bounds given, by name."""
        return {key: bound for key in type(self).model_fields if (bound := getattr(self, key)) is not None}


Item = Range | Bound | None
"""A value, a range of values, or None for an empty cell."""

Conditions = tuple[tuple[str, tuple[Item, ...]], ...]
"""Columns, each with what its cell must be among; all must hold."""


def _conditions(raw: Any) -> Any:
    if isinstance(raw, Mapping):
        raw = tuple(raw.items())
    if not isinstance(raw, tuple) or not raw or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in raw):
        raise ValueError("conditions must be a mapping like {sex: F, age: {min: 15}}, with at least one column")
    return tuple((_column(name), _items(name, items)) for name, items in raw)


def _column(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"a column must be named in text, got {name!r}; put it in quotes")
    return name


def _items(name: Any, raw: Any) -> tuple[Item, ...]:
    listed = tuple(raw) if isinstance(raw, (list, tuple, set, frozenset)) else (raw,)
    if not listed:
        raise ValueError(f"the condition on {name!r} lists nothing; give a value, a list of values or a range")
    return tuple(_item(name, each) for each in listed)


def _item(name: Any, raw: Any) -> Item:
    if isinstance(raw, Mapping):
        keys = list(Range.model_fields)
        for key in raw:
            if key not in keys:
                raise ValueError(f"the range of {name!r}: {unknown('key', str(key), keys)}")
        return Range(**raw)
    if raw is None or isinstance(raw, (Range, bool, int, float, str, date)):
        return raw
    raise ValueError(f"the condition on {name!r} holds {raw!r}; allowed are values, ranges like {{min: 15}} and null")


def _names(raw: Any) -> Any:
    if isinstance(raw, str):
        return (raw,)
    return tuple(raw) if isinstance(raw, list) else raw


Where = Annotated[Conditions, BeforeValidator(_conditions)]
Columns = Annotated[tuple[str, ...], BeforeValidator(_names)]


class Constraint(Declared):
    """What all constraints share. Abstract: use one of the types below.

    Attributes:
        name: what messages and the report call it, optional.
    """

    keys: ClassVar[Mapping[str, str]]
    """Keys in YAML and JSON, and the attributes they fill; the first tells the kind."""

    name: str | None = None

    @field_validator("name")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            raise ValueError("'name' of a constraint must not be blank; leave it out")
        return name

    @property
    def title(self) -> str:
        """Its name, or else what it says."""
        return self.name or str(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it speaks of, each once."""
        return tuple(dict.fromkeys(self._mentioned()))

    @abstractmethod
    def _mentioned(self) -> Iterator[str]: ...

    def to_json(self) -> dict[str, Any]:
        """JSON values; `parse_constraint` gives an equal constraint back."""
        return self._mapping(_iso)

    def to_mapping(self) -> dict[str, Any]:
        """As `to_json`, with dates as dates: what YAML holds."""
        return self._mapping(lambda bound: bound)

    def _mapping(self, spelled: Callable[[Any], Any]) -> dict[str, Any]:
        named = {} if self.name is None else {"name": self.name}
        fields = type(self).model_fields
        body = {key: getattr(self, field) for key, field in self.keys.items()}
        kept = {k: v for k, v in body.items() if v != fields[self.keys[k]].default}
        return named | {key: _plain(value, spelled) for key, value in kept.items()}


class Forbid(Constraint):
    """No row meets all the conditions.

    Attributes:
        where: columns, each with values, ranges or None (an empty cell).
    """

    keys: ClassVar[Mapping[str, str]] = {"forbid": "where"}
    where: Where

    def _mentioned(self) -> Iterator[str]:
        return (name for name, _ in self.where)

    def __str__(self) -> str:
        return f"never {_said(self.where)}"


class Implies(Constraint):
    """A row that meets all conditions of `when` meets all of `then`.

    Attributes:
        when, then: columns, each with values, ranges or None (an empty cell).
    """

    keys: ClassVar[Mapping[str, str]] = {"if": "when", "then": "then"}
    when: Where
    then: Where

    def _mentioned(self) -> Iterator[str]:
        return (name for name, _ in (*self.when, *self.then))

    def __str__(self) -> str:
        return f"if {_said(self.when)} then {_said(self.then)}"


class Order(Constraint):
    """Each column is at most the next one, wherever neither cell is empty.

    Attributes:
        order: two columns or more, from the lowest: numbers, dates, or ordinals of the same values.
        strict: less than, not at most.
        derive: whether columns may be encoded by their distance from another (`dpsynth.derived`); by default dates are,
            and numbers are not.
    """

    keys: ClassVar[Mapping[str, str]] = {"order": "order", "strict": "strict", "derive": "derive"}
    order: Columns
    strict: bool = False
    derive: bool | None = None

    @model_validator(mode="after")
    def _several(self) -> Order:
        if len(self.order) < 2 or len(set(self.order)) < len(self.order):
            raise ValueError(f"'order' needs two different columns or more, got {list(self.order)}")
        return self

    def _mentioned(self) -> Iterator[str]:
        return iter(self.order)

    def __str__(self) -> str:
        return (" < " if self.strict else " <= ").join(self.order)


class Total(Constraint):
    """One column is the sum of others, wherever no cell of them is empty.

    Attributes:
        total: the column that is the sum.
        parts: the columns added up; one alone must equal the total.
        derive: whether the total may be encoded as the sum of its parts (`dpsynth.derived`); by default it is.
    """

    keys: ClassVar[Mapping[str, str]] = {"total": "total", "parts": "parts", "derive": "derive"}
    total: str
    parts: Columns
    derive: bool | None = None

    @model_validator(mode="after")
    def _parts(self) -> Total:
        if not self.parts or len({self.total, *self.parts}) <= len(self.parts):
            raise ValueError(f"'parts' needs columns other than the total, each once, got {list(self.parts)}")
        return self

    def _mentioned(self) -> Iterator[str]:
        return iter((self.total, *self.parts))

    def __str__(self) -> str:
        return f"{self.total} = {' + '.join(self.parts)}"


KINDS: tuple[type[Constraint], ...] = (Forbid, Implies, Order, Total)


def parse_constraint(spec: Any, number: int) -> Constraint:
    """One constraint from its YAML or JSON mapping, or a constraint itself.

    Args:
        spec: the mapping.
        number: its place in the list, from 1, for messages.

    Raises:
        SchemaError: it describes no constraint.
    """
    if isinstance(spec, Constraint):
        return spec
    which = f"constraint {number}"
    if not isinstance(spec, Mapping):
        raise SchemaError(f"{which}: it must be a mapping like {{forbid: {{sex: M, pregnant: true}}}}, got {spec!r}")
    first = [next(iter(kind.keys)) for kind in KINDS]
    kinds = [kind for kind, key in zip(KINDS, first, strict=True) if key in spec]
    every = dict.fromkeys(key for kind in KINDS for key in ("name", *kind.keys))
    alien = [str(key) for key in spec if key not in every]
    if alien:
        raise SchemaError(f"{which}: {unknown('key', alien[0], every)}")
    if len(kinds) != 1:
        got = "none" if not kinds else " and ".join(repr(next(iter(kind.keys))) for kind in kinds)
        raise SchemaError(f"{which}: one of the keys {', '.join(map(repr, first))} says its kind, got {got}")
    (kind,) = kinds
    for key in spec:
        if key != "name" and key not in kind.keys:
            raise SchemaError(f"{which}: {unknown('key', str(key), ['name', *kind.keys])}")
    for key, field in kind.keys.items():
        if key not in spec and kind.model_fields[field].is_required():
            raise SchemaError(f"{which}: {key!r} is required beside {next(iter(kind.keys))!r}; add it")
    problem = ""
    try:
        return kind(**{"name": spec.get("name")}, **{f: spec[k] for k, f in kind.keys.items() if k in spec})
    except SchemaError as error:
        problem = str(error)
    raise SchemaError(f"{which}: {problem}")


def _plain(value: Any, spelled: Callable[[Any], Any]) -> Any:
    match value:
        case Range():
            return {key: spelled(bound) for key, bound in value.bounds().items()}
        case tuple() if value and isinstance(value[0], tuple):
            return {name: [_plain(item, spelled) for item in items] for name, items in value}
        case tuple():
            return list(value)
    return spelled(value)


def _iso(bound: Any) -> Any:
    match bound:
        case datetime():
            return bound.isoformat(sep=" ")
        case date():
            return bound.isoformat()
    return bound


def _said(conditions: Conditions) -> str:
    return " and ".join(f"{name} is {' or '.join(map(_word, items))}" for name, items in conditions)


def _word(item: Item) -> str:
    match item:
        case None:
            return "empty"
        case bool():
            return str(item).lower()
        case Range():
            words = {"min": "at least", "above": "above", "max": "at most", "below": "below"}
            return " and ".join(f"{words[key]} {bound}" for key, bound in item.bounds().items())
    return str(item)


__all__ = ["KINDS", "Bound", "Conditions", "Constraint", "Forbid", "Implies", "Item", "Order", "Range", "Total"]
__all__ += ["parse_constraint"]

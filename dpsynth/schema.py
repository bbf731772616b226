"""The schema: everything public about a table, declared before any row is read. YAML and JSON to frozen types."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BeforeValidator, model_validator
from ruamel.yaml.comments import CommentedMap

from dpsynth import checks
from dpsynth.columns import COLUMN_TYPES, BinnedBase, Coded, Column, ColumnBase
from dpsynth.constraints import Constraint, Forbid, Implies, Order, Total, parse_constraint
from dpsynth.constraints.rules import Rules
from dpsynth.constraints.search import first_conflict
from dpsynth.declared import Declared, unknown
from dpsynth.derived import Derived, derive
from dpsynth.domain import Domain
from dpsynth.errors import SchemaError
from dpsynth.hints import Hints
from dpsynth.schema_yaml import column_yaml, dump_yaml, flow, parse_yaml, scalar

FORMAT = 1
"""Version of the schema's JSON form and of the encoding it stands for."""

MOST_CONSTRAINTS = 1000
_KEYS = ("name", "unit", "at_most", "about_rows", "origin", "columns", "constraints")


def _tuple(raw: Any) -> Any:
    return tuple(raw) if isinstance(raw, list) else raw


def _constraints(raw: Any) -> Any:
    if not isinstance(raw, list | tuple):
        raise ValueError(
            f"'constraints' must be a list like [{{forbid: {{sex: M, pregnant: true}}}}], got {_shape(raw)}"
        )
    if len(raw) > MOST_CONSTRAINTS:
        raise ValueError(f"'constraints' may list at most {MOST_CONSTRAINTS}, got {len(raw)}; join some of them")
    return tuple(parse_constraint(spec, number) for number, spec in enumerate(raw, start=1))


class Schema(Declared):
    """The public description of a table.

    Attributes:
        columns: the columns to release, in order.
        name: a short name for the table, optional.
        unit: the column that names the privacy unit (a patient); None if each row is a unit of its own.
            It is never among `columns`.
        at_most: rows kept of each unit at most (``k``); 1 without a unit column.
        about_rows: a rough, publicly known number of rows, optional.
        origin: ``declared``, or ``public-frame`` if values and bounds were read from a table declared public.
        constraints: what holds between columns in every synthetic row; kept in canonical form.

    Raises:
        SchemaError: whatever is wrong, in one sentence.
    """

    columns: Annotated[tuple[Column, ...], BeforeValidator(_tuple)]
    name: str | None = None
    unit: str | None = None
    at_most: int = 1
    about_rows: int | None = None
    origin: Literal["declared", "public-frame"] = "declared"
    constraints: Annotated[tuple[Forbid | Implies | Order | Total, ...], BeforeValidator(_constraints)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        if not self.columns:
            raise ValueError("'columns' is empty; declare at least one column")
        names = [column.name for column in self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"column {twice!r} is declared twice; name each column once")
        if self.name is not None:
            checks.text_name(self.name, "'name'")
        if self.unit is not None:
            checks.text_name(self.unit, "'unit'")
        if self.unit in names:
            raise ValueError(
                f"the unit column {self.unit!r} is also among 'columns'; a unit's name is never released, "
                "remove it from 'columns'"
            )
        if not 1 <= self.at_most <= 10**9:
            raise ValueError(f"'at_most' must lie between 1 and 1000000000, got {self.at_most}")
        if self.at_most > 1 and self.unit is None:
            raise ValueError(
                f"'at_most' is {self.at_most} but no 'unit' is named, so that each row is a unit; "
                "name the unit column or leave 'at_most' out"
            )
        if self.about_rows is not None and not 1 <= self.about_rows <= 10**15:
            raise ValueError(f"'about_rows' must lie between 1 and 10**15, got {self.about_rows}")
        declared = Rules(self.columns, self.constraints)
        object.__setattr__(self, "constraints", declared.constraints)
        if (conflict := first_conflict(declared.components)) is not None:
            title = self.constraints[conflict.source].title
            if conflict.proved:
                others = "" if conflict.alone else " together with the constraints before it"
                raise ValueError(
                    f"constraint {title!r} cannot hold in any row of the declared values{others}; remove or relax it"
                )
            raise ValueError(
                f"constraint {title!r}: no row was found that satisfies it and the constraints before it; "
                "declare fewer or simpler constraints on its columns"
            )
        return self

    def __repr__(self) -> str:
        unit = f", unit {self.unit!r} of at most {self.at_most} rows" if self.unit is not None else ""
        return f"Schema({len(self.columns)} columns{unit})"

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> ColumnBase:
        """The column of that name.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"no column {name!r}; the schema has {list(self.names)}")

    @cached_property
    def derived(self) -> Mapping[str, Derived]:
        """The columns that are encoded relative to others of their row, by name; see `dpsynth.derived`."""
        return {each.name: each for each in derive(self.columns, self.constraints)}

    @cached_property
    def encoded(self) -> tuple[ColumnBase, ...]:
        """The columns as they are encoded: as declared, or derived from others."""
        return tuple(self.derived.get(column.name, column) for column in self.columns)

    @cached_property
    def domain(self) -> Domain:
        """Columns and their sizes as they are encoded, the missing and out-of-domain cells included."""
        return Domain.of({column.name: column.size for column in self.encoded})

    @cached_property
    def hints(self) -> Hints:
        """The public facts a plan may use."""
        return Hints(
            at_most=self.at_most,
            about_rows=self.about_rows,
            ordered=frozenset(c.name for c in self.encoded if c.ordered),
            missing={c.name: c.missing_code for c in self.encoded if c.missing_code is not None},
            out_of_domain={c.name: c.outside_code for c in self.encoded},
            fine={
                c.name: tuple((c.positions if isinstance(c, Derived) else c.partition.positions).tolist())
                for c in self.encoded
                if isinstance(c, BinnedBase | Derived) and c.fine
            },
            logarithmic=frozenset(
                c.name for c in self.encoded if isinstance(c, BinnedBase) and c.fine and c.partition.log is not None
            ),
        )

    @cached_property
    def rules(self) -> Rules:
        """What the constraints say about codes."""
        return Rules(self.columns, self.constraints, tuple(self.derived.values()))

    def with_constraints(self, *constraints: Constraint | Mapping[str, Any]) -> Schema:
        """The schema with these constraints instead of its own, each a type or its mapping as in YAML.

        Raises:
            SchemaError: one is wrong, or they cannot hold together.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "constraints"}
        held: Any = constraints
        return type(self)(**fields, constraints=held)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON form (RFC 8785), in hex."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values; `from_json` gives an equal schema back."""
        body = {"format": FORMAT, **self.model_dump(mode="json", exclude_none=True, exclude={"constraints"})}
        return body | ({"constraints": [c.to_json() for c in self.constraints]} if self.constraints else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The schema that `to_json` described.

        Raises:
            SchemaError: the data describe no schema, or one of another format.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            got = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise SchemaError(f"a schema in JSON must have 'format': {FORMAT}, got {got!r}")
        specs = data.get("columns")
        if not isinstance(specs, (list, tuple)) or not all(isinstance(spec, Mapping) for spec in specs):
            raise SchemaError("'columns' of a schema in JSON must be a list of objects; export it again")
        columns = [parse_column(spec.get("name"), {k: spec[k] for k in spec if k != "name"}) for spec in specs]
        rest = {key: value for key, value in data.items() if key not in ("format", "columns")}
        return cls(columns=tuple(columns), **rest)

    def to_yaml(self) -> str:
        """The schema as YAML, stable from one call to the next; `loads` gives an equal schema back."""
        document = CommentedMap()
        for key in _KEYS[:-2]:
            value = getattr(self, key)
            if value is not None and value != type(self).model_fields[key].default:
                document[key] = scalar(value)
        document["columns"] = CommentedMap()
        for column in self.columns:
            document["columns"][scalar(column.name)] = column_yaml(column)
        if self.constraints:
            document["constraints"] = [flow(constraint.to_mapping()) for constraint in self.constraints]
        return dump_yaml(document)

    @classmethod
    def loads(cls, text: str) -> Schema:
        """A schema from YAML text.

        Raises:
            SchemaError: the text is not YAML, or describes no schema.
        """
        data = parse_yaml(text)
        if not isinstance(data, dict):
            raise SchemaError(f"a schema is a mapping with the key 'columns', got {_shape(data)}")
        if {"claim", "schema"} <= data.keys():
            raise SchemaError("this is a plan, no schema; give the schema that it was made from")
        for key in data:
            if key not in _KEYS:
                raise SchemaError(unknown("key", str(key), _KEYS))
        specs = data.get("columns")
        if not isinstance(specs, dict):
            got = f"got {_shape(specs)}" if "columns" in data else "it is not there"
            raise SchemaError(f"'columns' must map column names to their types, {got}")
        columns = [parse_column(name, spec) for name, spec in specs.items()]
        rest = {key: value for key, value in data.items() if key != "columns"}
        return cls(columns=tuple(columns), **rest)

    @classmethod
    def from_yaml(cls, path: str | PathLike[str]) -> Schema:
        """A schema from a YAML file.

        Raises:
            SchemaError: the file cannot be read, is not YAML, or describes no schema.
        """
        text = None
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        if text is None:
            raise SchemaError(
                f"cannot read the schema file {str(path)!r}: {reason}; 'dpsynth schema draft' makes one from a codebook"
            )
        return cls.loads(text)

    @classmethod
    def from_domain(
        cls,
        sizes: Mapping[str, int],
        *,
        ordered: Collection[str] = (),
        name: str | None = None,
        unit: str | None = None,
        at_most: int = 1,
        about_rows: int | None = None,
    ) -> Schema:
        """A schema for a table of integer codes: column ``a`` holds ``0 .. sizes[a] - 1``.

        Args:
            sizes: the number of codes of each column.
            ordered: columns whose neighbouring codes are neighbouring values, such as ages.
            name, unit, at_most, about_rows: see `Schema`.

        Raises:
            SchemaError: a size below 1, no columns, or an ordered one that is not among them.
        """
        named = (ordered,) if isinstance(ordered, str) else ordered
        alien = next((column for column in named if column not in sizes), None)
        if alien is not None:
            raise SchemaError(f"'ordered' names an {unknown('column', str(alien), map(str, sizes))}")
        columns = tuple(
            Coded(name=str(column), cardinality=int(size), in_order=column in named) for column, size in sizes.items()
        )
        return cls(columns=columns, name=name, unit=unit, at_most=at_most, about_rows=about_rows)

    @classmethod
    def from_public(
        cls,
        frame: Any,
        *,
        name: str | None = None,
        unit: str | None = None,
        at_most: int = 1,
        about_rows: int | None = None,
        bins: int = checks.DEFAULT_BINS,
    ) -> Schema:
        """A schema that takes values, bounds and nullability from `frame`, **which you declare to be public**.

        The guarantee does not cover what the schema says: never pass the table you want to protect. The
        schema's ``origin`` becomes ``public-frame``, and a certificate says so.

        Raises:
            SchemaError: a column no type fits, or a table that is marked as private.
        """
        from dpsynth.private import is_private
        from dpsynth.public_frame import columns_of

        if is_private(frame):
            raise SchemaError(
                "the table is marked private: it was split from real rows for a private report, so no schema can be "
                "taken from it; write one from a codebook"
            )
        return cls(
            columns=columns_of(frame, skip=unit, bins=bins),
            name=name,
            unit=unit,
            at_most=at_most,
            about_rows=about_rows,
            origin="public-frame",
        )


def parse_column(name: Any, spec: Any) -> Any:
    """One column from its YAML or JSON mapping.

    Raises:
        SchemaError: it describes no column.
    """
    if not isinstance(name, str):
        raise SchemaError(f"column {name!r}: a column name must be text; put it in quotes")
    if not isinstance(spec, Mapping):
        raise SchemaError(f"column {name!r}: its description must be a mapping like {{type: boolean}}, got {spec!r}")
    if "type" not in spec:
        raise SchemaError(f"column {name!r}: 'type' is required; allowed: {', '.join(COLUMN_TYPES)}")
    kind = spec["type"]
    if not isinstance(kind, str) or kind not in COLUMN_TYPES:
        raise SchemaError(f"column {name!r}: {unknown('type', str(kind), COLUMN_TYPES)}")
    keys = [field for field in COLUMN_TYPES[kind].model_fields if field != "name"]
    for key in spec:
        if key not in keys:
            raise SchemaError(f"column {name!r}: {unknown('key', str(key), keys)}")
    return COLUMN_TYPES[kind](name=name, **spec)


def _shape(data: Any) -> str:
    return "nothing" if data is None else f"a {type(data).__name__}"


__all__ = ["FORMAT", "Schema", "parse_column"]

"""A codebook, the list of columns every study has, turned into a schema. It describes the table; it is not data.

`draft` says what the file looks like.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from dpsynth.checks import AUTO
from dpsynth.columns import COLUMN_TYPES, BinnedBase, Column, ColumnBase, Float, Integer
from dpsynth.declared import unknown
from dpsynth.errors import SchemaError
from dpsynth.schema import Schema, parse_column
from dpsynth.schema_yaml import column_yaml, dump_yaml, scalar

FIELDS = (
    *("column", "type", "values", "min", "max", "missing", "label", "description"),
    *("bins", "atoms", "scale", "decimals"),
)
"""Fields a codebook may have; the first two are required."""

_TYPES = {
    **{name: name for name in COLUMN_TYPES},
    **dict.fromkeys(("category", "nominal", "text"), "categorical"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
    **dict.fromkeys(("int", "count"), "integer"),
    **dict.fromkeys(("number", "numeric", "real", "double"), "float"),
    "ordered": "ordinal",
    "timestamp": "datetime",
}
_FLAGS = {
    **dict.fromkeys(("yes", "y", "true", "t", "1"), True),
    **dict.fromkeys(("", "no", "n", "false", "f", "0"), False),
}

_HEADER = """\
Drafted from a codebook. Everything in this file is public: it is released with the synthetic table and nothing
in it is protected. Check values and bounds against what is known without the data, never against the data.
With 'bins: auto' numbers and dates are cut where the noisy counts of a fine grid say; 'bins' may also be a count or a
list of edges."""
_UNIT = "The column that names the privacy unit (a person); it is never released."
_NO_UNIT = "unit: person_id   # no unit column was given: each row counts as one person. Name it if a person has more."
_AT_MOST = """\
Rows kept of each unit at most. Choose about what a unit commonly has, from what is known without the data: rows of
one unit beyond it are dropped, and a larger number needs more noise, in proportion."""
_ABOUT = "about_rows: 20000   # a rough number of rows, if it is public; helps planning."
_WIDE = 1000
"""From this maximum on (and this many times the minimum) cells of equal width may be too wide for most values."""
_AMOUNT = 10_000
"""From this maximum on a number with decimals that starts at 0 is drafted as an amount."""
_IS_LOG = """\
Taken for an amount (many small values, few large): the grid widens with the value.
For a grid of equal width remove 'scale: log'."""
_TRY_LOG = "A grid of equal width. If most values are small and few large, add 'scale: log'."


def read_codebook(path: str | PathLike[str]) -> Schema:
    """The schema a codebook describes.

    Raises:
        SchemaError: the file cannot be read, or one of its lines describes no column; the message says which.
    """
    columns: list[Column] = []
    lines: dict[str, int] = {}
    unit = None
    for line, row in _rows(path):
        name = row.get("column", "")
        if not name:
            raise SchemaError(f"codebook line {line}: 'column' is empty; give the column's name")
        if name in lines:
            raise SchemaError(f"codebook line {line}: column {name!r} is already on line {lines[name]}; remove one")
        lines[name] = line
        if row.get("type", "").lower() == "unit":
            if unit is not None:
                raise SchemaError(f"codebook line {line}: {unit!r} is already the unit; a table has one unit column")
            unit = name
            continue
        columns.append(_column(line, name, row))
    if not columns:
        raise SchemaError("the codebook describes no column; give it one line per column of the table")
    return Schema(columns=tuple(columns), unit=unit)


def draft(path: str | PathLike[str]) -> str:
    """A schema in YAML, with comments for the person who completes it, from a codebook.

    The codebook is a CSV file, separated by commas, with a header line and one line per column of the table::

        column,type,values,min,max,missing,label
        patient_id,unit,,,,,
        sex,categorical,F|M,,,yes,Sex at birth
        stage,ordinal,I|II|III|IV,,,,
        age,integer,,0,110,,Age in years
        cost,float,,0,100000,,

    ``column`` and ``type`` are required. The type ``unit`` marks the column that names the person; the others are
    those of a schema. ``values`` are separated by ``|``; numbers and dates have ``min`` and ``max``; ``missing`` is
    yes or no. ``description``, ``bins`` (a number, or edges separated by ``|``), ``atoms`` (values separated by ``|``),
    ``scale`` and ``decimals`` may follow.

    Where the codebook names no ``bins``, numbers and dates are drafted with ``bins: auto``. Where it names neither
    ``bins`` nor ``scale``, a float from 0 to 10000 or more is drafted with ``scale: log``, as amounts are skewed; a
    comment says how to undo it. Codebooks that say ``linear`` get that.

    Raises:
        SchemaError: the file cannot be read, or one of its lines describes no column; the message says which.
    """
    schema = read_codebook(path)
    document = CommentedMap()
    document.yaml_set_start_comment(_HEADER)
    notes = []
    if schema.unit is not None:
        document["unit"] = scalar(schema.unit)
        document.yaml_set_comment_before_after_key("unit", before="\n" + _UNIT)
        document["at_most"] = schema.at_most
        document.yaml_set_comment_before_after_key("at_most", before=_AT_MOST)
    else:
        notes.append(_NO_UNIT)
    notes.append(_ABOUT)
    document["columns"] = CommentedMap()
    for column in schema.columns:
        proposed, note = _proposal(column)
        document["columns"][scalar(column.name)] = column_yaml(proposed)
        if note:
            document["columns"].yaml_set_comment_before_after_key(column.name, before=note, indent=2)
    document.yaml_set_comment_before_after_key("columns", before="\n".join(notes))
    return dump_yaml(document)


def _proposal(column: ColumnBase) -> tuple[ColumnBase, str | None]:
    """The column as it is drafted, and what its reader should decide about its scale."""
    if not isinstance(column, BinnedBase) or "bins" in column.model_fields_set:
        return column, None
    column = column.model_copy(update={"bins": AUTO})
    if not isinstance(column, (Integer, Float)) or "scale" in column.model_fields_set:
        return column, None
    if column.min < 0 or column.max < _WIDE * max(1, column.min):
        return column, None
    if isinstance(column, Float) and column.min == 0 and column.max >= _AMOUNT:
        return column.model_copy(update={"scale": "log"}), _IS_LOG
    return column, _TRY_LOG


def _rows(path: str | PathLike[str]) -> Iterator[tuple[int, dict[str, str]]]:
    text = None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
    if text is None:
        raise SchemaError(f"cannot read the codebook {str(path)!r}: {reason}")
    records = _records(text)
    header = [name.lower() for name in records[0][1]] if records else []
    if header and not {"column", "type"} & set(header) and not any(";" in name or "\t" in name for name in header):
        # Not quoted: a table taken for a codebook may have no header, and then its first line is data.
        raise SchemaError(
            f"codebook line 1: this is not the header of a codebook, which names some of {', '.join(FIELDS)}; is this "
            "the table itself?"
        )
    for name in header:
        if ";" in name or "\t" in name:
            separator = "semicolons" if ";" in name else "tabs"
            raise SchemaError(f"codebook line 1: the file is separated by {separator}; separate with commas")
        if name not in FIELDS:
            raise SchemaError(f"codebook line 1: {unknown('field', name, FIELDS)}")
    for needed in ("column", "type"):
        if header.count(needed) != 1:
            raise SchemaError(f"codebook line 1: the field {needed!r} is required once, got {header}")
    for line, cells in records[1:]:
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise SchemaError(
                f"codebook line {line}: it has {len(cells)} fields, the header {len(header)}; "
                "put text with commas in double quotes"
            )
        yield line, dict(zip(header, cells, strict=False))


def _records(text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(StringIO(text, newline=""))
    records, line = [], 1
    try:
        for record in reader:
            if any("," in more for cell in record for more in cell.splitlines()[1:]):
                raise SchemaError(
                    f"codebook line {line}: a field goes over several lines, with commas; a double quote is probably "
                    "left open there"
                )
            records.append((line, [cell.strip() for cell in record]))
            line = reader.line_num + 1
        return records
    except csv.Error as error:
        problem = str(error)
    raise SchemaError(f"codebook line {line}: not readable as CSV: {problem}")


def _column(line: int, name: str, row: dict[str, str]) -> Any:
    given = row.get("type", "").lower()
    if given not in _TYPES:
        raise SchemaError(f"codebook line {line}: column {name!r}: {unknown('type', given, [*COLUMN_TYPES, 'unit'])}")
    kind = _TYPES[given]
    spec: dict[str, Any] = {"type": kind}
    problem = None
    try:
        for field in FIELDS[2:]:
            if text := row.get(field, ""):
                spec[field] = _value(kind, field, text)
        if kind == "boolean" and all(str(v).lower() in _FLAGS for v in spec.get("values", ())):
            spec.pop("values", None)
        if "atoms" in spec:
            spec.setdefault("bins", AUTO)
        return parse_column(name, spec)
    except SchemaError as error:
        problem = str(error)
    except ValueError as error:
        problem = f"column {name!r}: {error}"
    raise SchemaError(f"codebook line {line}: {problem}")


def _value(kind: str, field: str, text: str) -> Any:
    if field == "values":
        values = _split(text)
        if len(values) == 1 and "," in text:
            raise ValueError(f"'values' is a single value with a comma, {text!r}; separate values with |")
        return [int(v) for v in values] if all(_is_code(v) for v in values) else values
    if field == "missing":
        if text.lower() not in _FLAGS:
            raise ValueError(f"'missing' must be yes or no, got {text!r}")
        return _FLAGS[text.lower()]
    if field == "decimals":
        return _number(field, text, whole=True)
    if field == "bins":
        edges = _split(text)
        if len(edges) == 1 and "," in text:
            raise ValueError(f"'bins' has a comma, {text!r}; separate edges with |")
        if len(edges) > 1:
            return [_bound(kind, field, e) for e in edges]
        return AUTO if text.lower() == AUTO else _number(field, text, whole=True)
    if field == "atoms":
        return [_bound(kind, field, atom) for atom in _split(text)]
    if field in ("min", "max"):
        return _bound(kind, field, text)
    return text


def _bound(kind: str, field: str, text: str) -> Any:
    return _number(field, text, whole=kind == "integer") if kind in ("integer", "float") else text


def _number(field: str, text: str, *, whole: bool) -> int | float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        pass
    raise ValueError(f"{field!r} must be {'a whole number' if whole else 'a number'}, got {text!r}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split("|" if "|" in text else ";")]


def _is_code(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0") and text != "-0"


__all__ = ["FIELDS", "draft", "read_codebook"]

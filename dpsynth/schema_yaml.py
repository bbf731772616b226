"""YAML as schemas are written in it: a column on one line, text in quotes where it needs them; and read back."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from dpsynth.columns import ColumnBase
from dpsynth.errors import SchemaError

_WORDS = re.compile(r"\w(?:[\w ./+-]*[\w.+-])?")
_ORDER = (
    *("values", "cardinality", "in_order", "min", "max", "bins", "atoms", "scale", "decimals"),
    *("missing", "label", "description"),
)
"""Keys of a column as they stand in YAML."""


def column_yaml(column: ColumnBase) -> CommentedMap:
    """A column's description as it stands in YAML, on one line and without what is left at its default."""
    spec = CommentedMap({"type": getattr(column, "type", None)})
    fields = type(column).model_fields
    for key in _ORDER:
        if key in fields and (value := getattr(column, key)) != fields[key].default:
            spec[key] = [scalar(each) for each in value] if isinstance(value, tuple) else scalar(value)
    spec.fa.set_flow_style()
    return spec


def scalar(value: Any) -> Any:
    """The value; text with anything but words in it asks for double quotes, which hold whatever it is."""
    if not isinstance(value, str) or _WORDS.fullmatch(value):
        return value
    return DoubleQuotedScalarString(value)


def dump_yaml(document: CommentedMap) -> str:
    """YAML text of a document, comments included."""
    yaml = YAML(typ="rt", pure=True)
    yaml.Representer = _Representer
    yaml.width = 2**31
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.allow_unicode = True
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes a null out, which inside brackets nothing else would say."""

    def represent_none(self, data: Any) -> Any:
        """``null``."""
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def flow(value: Any) -> Any:
    """JSON values for YAML on one line, a list of one as what it holds."""
    if isinstance(value, dict):
        mapping = CommentedMap((scalar(key), flow(each)) for key, each in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list) and len(value) != 1:
        listed = CommentedSeq(map(flow, value))
        listed.fa.set_flow_style()
        return listed
    return flow(value[0]) if isinstance(value, list) else scalar(value)


class _Constructor(SafeConstructor):
    """Reads what looks like a date and is none, such as 2020-02-31, as text, so that its column can say so."""

    def construct_yaml_timestamp(self, node: Any, values: Any = None) -> Any:
        """A date, a moment, or the text."""
        try:
            return super().construct_yaml_timestamp(node, values)
        except ValueError:
            return node.value


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_timestamp)


def parse_yaml(text: str) -> Any:
    """What YAML text holds: mappings, lists and plain values.

    Raises:
        SchemaError: the text is not YAML.
    """
    problem = None
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Constructor = _Constructor
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        what = (error.problem or error.context or "unreadable").partition(" with value ")[0]
        problem = f"{what}{where}"
    except (YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else "it is nested too deeply"
    raise SchemaError(f"the schema is not valid YAML: {problem}")


__all__ = ["column_yaml", "dump_yaml", "flow", "parse_yaml", "scalar"]

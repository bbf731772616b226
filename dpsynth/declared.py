"""What a person declares: the frozen base of every schema type, with errors a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dpsynth.errors import SchemaError

_SEPARATORS = re.compile("[ ,._'\u00a0\u2009\u202f]")
MOST_TOLD = 20
"""Names listed in one message."""
_WANTED = {
    "int": "an integer",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "literal": "one of the declared choices",
    "tuple": "a list",
}


class Declared(BaseModel):
    """A frozen, strictly typed declaration without unknown keys.

    Raises:
        SchemaError: whatever is wrong with it, in one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None:
            problem = None
            try:
                super().__init__(**data)
            except ValidationError as error:
                problem = explain(error, type(self), data)
            if problem is not None:
                raise SchemaError(problem)


def explain(error: ValidationError, model: type[BaseModel], data: dict[str, Any]) -> str:
    """One sentence for the first thing wrong in `data`, which was meant to become a `model`."""
    first = error.errors(include_url=False)[0]
    kind, where = first["type"], ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    if kind == "value_error":
        problem = first["ctx"]["error"]
        if isinstance(problem, SchemaError):
            return str(problem)
        return subject(model, data) + str(problem)
    if kind == "extra_forbidden":
        return subject(model, data) + unknown("key", where, [f for f in model.model_fields if f != "origin"])
    if kind == "missing":
        return f"{subject(model, data)}{where!r} is required; add it"
    wanted = next((text for prefix, text in _WANTED.items() if kind.startswith(prefix)), None)
    if wanted is None:
        return f"{subject(model, data)}{where!r}: {first['msg']}"
    if kind == "literal_error":
        wanted = first["ctx"]["expected"]
    return f"{subject(model, data)}{where!r} must be {wanted}, got {first['input']!r}{_written(kind, first['input'])}"


def _written(kind: str, given: object) -> str:
    """How to write a whole number that stands in quotes or has separators between its thousands."""
    digits = _SEPARATORS.sub("", given) if isinstance(given, str) else ""
    plain = kind.startswith("int") and digits.isascii() and digits.isdigit()
    return f"; write {int(digits)}, without quotes or separators" if plain and len(digits) < 20 else ""


def subject(model: type[BaseModel], data: dict[str, Any]) -> str:
    """How a message about this declaration begins."""
    return f"column {data['name']!r}: " if "type" in model.model_fields and "name" in data else ""


def unknown(what: str, got: str, allowed: Iterable[str]) -> str:
    """Says that `got` is not a known `what`, and which was probably meant."""
    allowed = list(allowed)
    near = get_close_matches(got, allowed, n=1)
    more = f" and {len(allowed) - MOST_TOLD} more" if len(allowed) > MOST_TOLD else ""
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed[:MOST_TOLD])}{more}"
    return f"unknown {what} {got!r}; {hint}"


__all__ = ["Declared", "explain", "subject", "unknown"]

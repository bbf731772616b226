"""What a report is asked, held against the schema, which is public, before a row is read or anything is noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dpsynth.columns import BinnedBase, Float, Integer
from dpsynth.declared import unknown
from dpsynth.encoding import Encoder
from dpsynth.errors import QuestionError
from dpsynth.schema import Schema


@final
@dataclass(frozen=True, slots=True)
class Questions:
    """What a report is asked beyond its fixed parts.

    Attributes:
        target: ``COLUMN`` or ``COLUMN=LEVEL`` to predict.
        sensitive: the column whose strata are compared.
        time, event: columns of follow-up.
        deep: also what refits models many times.
    """

    target: str | None = None
    sensitive: str | None = None
    time: str | None = None
    event: str | None = None
    deep: bool = False

    def check(self, schema: Schema) -> None:
        """Hold names, levels and types against the schema.

        Raises:
            QuestionError: one of them cannot be answered for any table of that schema.
        """
        problem = _target(self.target, schema) or _sensitive(self, schema) or _follow_up(self, schema)
        if problem:
            raise QuestionError(problem)


NOTHING_ELSE = Questions()


def named(schema: Schema, target: str) -> tuple[str, str]:
    """Column and level that ``COLUMN`` or ``COLUMN=LEVEL`` names; no level is the empty text. A column's name may hold
    an equals sign."""
    column, _, level = target.partition("=") if target not in schema.names else (target, "", "")
    return column, level


def _column(option: str, name: str, schema: Schema) -> str:
    if name in schema.names:
        return ""
    if name == schema.unit:
        return f"{option}: {name!r} is the unit, which is never released; name one of the schema's columns"
    return f"{option}: {unknown('column', name, schema.names)}"


def _listed(name: str, schema: Schema) -> bool:
    return not isinstance(schema.column(name), BinnedBase)


def _target(target: str | None, schema: Schema) -> str:
    if target is None:
        return ""
    name, level = named(schema, target)
    if problem := _column("--target", name, schema):
        return problem
    if not level:
        return f"--target: no level stands after {target!r}; name one or leave '=' out" if target != name else ""
    if not _listed(name, schema):
        return f"--target: the column {name!r} has no levels, it is predicted as a number; write --target {name}"
    labels = Encoder(schema).decode_labels(name)[: schema.column(name).cells]
    return "" if level in labels else f"--target: {unknown(f'level of {name!r}', level, labels)}"


def _sensitive(asked: Questions, schema: Schema) -> str:
    if asked.sensitive is None:
        return ""
    if asked.target is None:
        return "--sensitive needs --target: fairness is about what is predicted"
    if problem := _column("--sensitive", asked.sensitive, schema):
        return problem
    name, _ = named(schema, asked.target)
    if name == asked.sensitive:
        return f"--sensitive: {name!r} is the target itself; name another column"
    if not _listed(name, schema):
        return f"--sensitive needs a target of listed values, and {name!r} is a number; name another --target"
    return ""


def _follow_up(asked: Questions, schema: Schema) -> str:
    if asked.time is None and asked.event is None:
        return ""
    if asked.time is None or asked.event is None:
        return "--time and --event go together: a length of follow-up, and whether it ended so"
    if problem := _column("--time", asked.time, schema) or _column("--event", asked.event, schema):
        return problem
    if not isinstance(schema.column(asked.time), Integer | Float):
        return f"--time: the column {asked.time!r} holds no numbers; name a number of days or the like"
    if not _listed(asked.event, schema) or schema.column(asked.event).cells != 2:
        return f"--event: the column {asked.event!r} is no flag; name one of two levels, the second being the event"
    return ""


__all__ = ["NOTHING_ELSE", "Questions", "named"]

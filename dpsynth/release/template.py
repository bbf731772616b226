"""The one way pages are made: what is filled in is escaped, what is missing raises, equal values give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

NAME = "template.html"


def template(module: str, /, functions: Mapping[str, Callable[..., Any]] | None = None, **filters: Any) -> Template:
    """The page beside a module.

    Args:
        module: its ``__file__``.
        functions: that the page may call.
        filters: that it may use.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(module).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    environment.globals.update(functions or {})
    return environment.get_template(NAME)


__all__ = ["template"]

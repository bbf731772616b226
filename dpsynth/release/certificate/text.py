"""The certificate as plain text for a terminal: what the page says, in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from dpsynth.release.certificate.outline import Entry, Figures, figures, outline, shown

_WIDTH = 96
_NARROW = 24
"""A table whose cells are no wider is set in columns."""


def certificate_text(predicate: Mapping[str, Any]) -> str:
    """The text."""
    lines = [
        "CERTIFICATE OF A RELEASE OF SYNTHETIC DATA",
        f"{shown(predicate.get('dataset'))}, {shown(predicate.get('issued'))}".replace("\n", " "),
    ]
    for title, part in (("This release", "guarantee"), ("All releases of this dataset together", "lifetime")):
        lines += ["", title, *_reading(figures(predicate, part))]
    for section in outline(predicate):
        lines += ["", section.title.upper()]
        if section.intro:
            lines.append(_prose(section.intro, ""))
        for entry in section.entries:
            lines += [_prose(entry.label, "  "), *_values(entry)]
    return "\n".join(lines) + "\n"


def _reading(read: Figures) -> list[str]:
    return [
        f"  epsilon {read.epsilon} at delta {read.delta}",
        f"  x {read.odds} is the most anyone's odds on {read.whether} can change, but for a chance of delta",
        f"  {read.found} in 100 is the best hit rate of any test that falsely accuses {read.accused} in 100",
    ]


def _values(entry: Entry) -> Iterator[str]:
    if not entry.columns:
        for line in entry.lines:
            if "\n" in line:
                yield from (f"      {part}" for part in line.split("\n"))
            else:
                yield _prose(line, "      ", "    - " if len(entry.lines) > 1 else None)
        return
    widths = [max(map(len, cells)) for cells in zip(entry.columns, *entry.rows, strict=True)]
    if max(widths) <= _NARROW:
        for row in (entry.columns, *entry.rows):
            cells = (cell.replace("\n", " ").ljust(width) for cell, width in zip(row, widths, strict=True))
            yield ("      " + "  ".join(cells)).rstrip()
        return
    for row in entry.rows:
        for i, (name, cell) in enumerate(zip(entry.columns, row, strict=True)):
            yield _prose(f"{name}: {cell}", "      ", "    - " if i == 0 else None)


def _prose(text: str, indent: str, first: str | None = None) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


__all__ = ["certificate_text"]

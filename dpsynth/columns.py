"""The column types of a schema: what a column may hold, and how many cells that makes.

Every column's codes are its in-domain cells ``0..cells-1``, then the missing cell if one is declared, then,
always and last, the out-of-domain cell.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dpsynth import checks, grids
from dpsynth.bins import Bins
from dpsynth.declared import Declared

_EPOCH = datetime(1970, 1, 1)

Values = Annotated[tuple[checks.Value, ...], BeforeValidator(checks.categories)]
Auto = Literal["auto"]


class ColumnBase(Declared):
    """What all columns share. Abstract: use one of the types below.

    Attributes:
        name: the column's name in the table.
        label: a short human name, optional.
        description: free text, optional.
        missing: whether nulls are expected; they then have a cell of their own.
    """

    name: str
    label: str | None = None
    description: str | None = None
    missing: bool = False

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return checks.text_name(name, "a column name")

    @property
    @abstractmethod
    def cells(self) -> int:
        """Number of in-domain cells."""

    @property
    def ordered(self) -> bool:
        """Whether neighbouring codes are neighbouring values."""
        return False

    @property
    def size(self) -> int:
        """Number of all cells: in-domain, missing (if declared) and out-of-domain."""
        return self.cells + self.missing + 1

    @property
    def missing_code(self) -> int | None:
        """Code of the missing cell, None if nulls were not declared."""
        return self.cells if self.missing else None

    @property
    def outside_code(self) -> int:
        """Code of the out-of-domain cell, the last one."""
        return self.size - 1


class Categorical(ColumnBase):
    """One of the listed values, in no order."""

    type: Literal["categorical"] = "categorical"
    values: Values

    @property
    def cells(self) -> int:
        """Number of values."""
        return len(self.values)


class Ordinal(ColumnBase):
    """One of the listed values, from lowest to highest."""

    type: Literal["ordinal"] = "ordinal"
    values: Values

    @property
    def cells(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def ordered(self) -> bool:
        """Always."""
        return True


class Boolean(ColumnBase):
    """False (code 0) or true (code 1)."""

    type: Literal["boolean"] = "boolean"

    @property
    def cells(self) -> int:
        """Two."""
        return 2


class Coded(ColumnBase):
    """An integer code ``0..cardinality-1`` without a declared meaning: a research table already discretised.

    Attributes:
        cardinality: number of codes.
        in_order: whether neighbouring codes are neighbouring values, as in an age; None means no.
    """

    type: Literal["coded"] = "coded"
    cardinality: int
    in_order: bool | None = None

    @field_validator("cardinality")
    @classmethod
    def _cardinality(cls, cardinality: int) -> int:
        if not 1 <= cardinality <= checks.MOST_CELLS:
            raise ValueError(
                f"'cardinality' must lie between 1 and {checks.MOST_CELLS}, got {cardinality}; "
                "it is the number of codes"
            )
        return cardinality

    @field_validator("in_order")
    @classmethod
    def _in_order(cls, in_order: bool | None) -> bool | None:
        return in_order or None  # left out of the canonical form, as it always was

    @property
    def cells(self) -> int:
        """The cardinality."""
        return self.cardinality

    @property
    def ordered(self) -> bool:
        """Where it is declared."""
        return bool(self.in_order)


class BinnedBase(ColumnBase):
    """Columns cut into bins. Abstract: use one of the types below."""

    @property
    @abstractmethod
    def partition(self) -> Bins:
        """The bins, in grid units."""

    @property
    def fine(self) -> bool:
        """Whether the bins are a fine grid (``auto``), whose cells a generator merges by their noisy counts."""
        return getattr(self, "bins", None) == checks.AUTO

    @property
    def cells(self) -> int:
        """Number of bins."""
        return len(self.partition)

    @property
    def ordered(self) -> bool:
        """Always."""
        return True

    @model_validator(mode="before")
    @classmethod
    def _bounds_from_edges(cls, data: Any) -> Any:
        return checks.with_bounds_from_edges(data)


class Integer(BinnedBase):
    """Whole numbers from `min` to `max`, both included.

    Attributes:
        bins: how many bins, or their edges; one bin per value if there are fewer values than bins. ``auto``: a
            fine grid whose cells are merged by their noisy counts.
        atoms: values with a cell of their own in a fine grid, beside the bounds and zero.
        scale: ``log`` for bins that widen with the value (needs ``min >= 0``).
    """

    type: Literal["integer"] = "integer"
    min: int
    max: int
    bins: Annotated[Auto | int | tuple[int, ...], BeforeValidator(checks.integer_bins)] = checks.DEFAULT_BINS
    atoms: Annotated[tuple[int, ...] | None, BeforeValidator(checks.integer_atoms)] = None
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _consistent(self) -> Integer:
        checks.check_range(self.min, self.max, self.bins, self.scale, self.atoms)
        checks.check_size(self.min, self.max, 0)
        return self

    @property
    def unit(self) -> int:
        """Grid units per 1.0."""
        return 1

    @cached_property
    def partition(self) -> Bins:
        """The bins, in whole numbers."""
        if self.bins == "auto":
            return grids.numbers(self.min, self.max, 1 if self.scale == "log" else None, self.atoms or ())
        return _partition(self.min, self.max, self.bins, self.scale, 1)


class Float(BinnedBase):
    """Numbers from `min` to `max`, both included, released with `decimals` digits after the point.

    Attributes:
        bins: how many bins, or their edges, or ``auto``; bounds, edges and atoms must be representable at
            `decimals` digits.
        atoms: values with a cell of their own in a fine grid, beside the bounds and zero.
        scale: ``log`` for bins that widen with the value (needs ``min >= 0``).
        decimals: digits after the point of released values. Default: at least 2, as many as the bounds and
            edges have, and enough for a thousand different values between the bounds.
    """

    type: Literal["float"] = "float"
    min: float
    max: float
    bins: Annotated[Auto | int | tuple[float, ...], BeforeValidator(checks.float_bins)] = checks.DEFAULT_BINS
    atoms: Annotated[tuple[float, ...] | None, BeforeValidator(checks.float_atoms)] = None
    scale: Literal["linear", "log"] = "linear"
    decimals: int

    @model_validator(mode="before")
    @classmethod
    def _decimals(cls, data: Any) -> Any:
        return checks.with_decimals(checks.with_bounds_from_edges(data))

    @model_validator(mode="after")
    def _consistent(self) -> Float:
        if not 0 <= self.decimals <= checks.DIGITS:
            raise ValueError(f"'decimals' must lie between 0 and {checks.DIGITS}, got {self.decimals}")
        checks.check_range(self.min, self.max, self.bins, self.scale, self.atoms)
        checks.check_size(self.min, self.max, self.decimals)
        edges = self.bins if isinstance(self.bins, tuple) else ()
        for bound in (self.min, self.max, *edges, *(self.atoms or ())):
            checks.check_decimals(bound, self.decimals)
        return self

    @property
    def unit(self) -> int:
        """Grid units per 1.0."""
        return int(10**self.decimals)

    @cached_property
    def partition(self) -> Bins:
        """The bins, in units of the last decimal."""
        bins = self.bins
        low, high = self._points((self.min, self.max))
        if bins == "auto":
            return grids.numbers(low, high, self.unit if self.scale == "log" else None, self._points(self.atoms or ()))
        return _partition(low, high, bins if isinstance(bins, int) else self._points(bins), self.scale, self.unit)

    def _points(self, numbers: Iterable[float]) -> tuple[int, ...]:
        return tuple(checks.on_grid(number, self.decimals) for number in numbers)


class Date(BinnedBase):
    """Days from `min` to `max`, both included.

    Attributes:
        bins: how many bins, or their edges, or ``auto``.
        atoms: see `Integer`.
    """

    type: Literal["date"] = "date"
    min: Annotated[date, BeforeValidator(checks.day)]
    max: Annotated[date, BeforeValidator(checks.day)]
    bins: Annotated[Auto | int | tuple[date, ...], BeforeValidator(checks.day_bins)] = checks.DEFAULT_BINS
    atoms: Annotated[tuple[date, ...] | None, BeforeValidator(checks.day_atoms)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Date:
        checks.check_range(self.min, self.max, self.bins, "linear", self.atoms)
        return self

    @cached_property
    def partition(self) -> Bins:
        """The bins, in days since 1970-01-01."""
        bins = self.bins
        if bins == "auto":
            return grids.days(_days(self.min), _days(self.max), map(_days, self.atoms or ()))
        edges = bins if isinstance(bins, int) else tuple(_days(edge) for edge in bins)
        return _partition(_days(self.min), _days(self.max), edges, "linear", 1)


class Datetime(BinnedBase):
    """Moments of wall-clock time from `min` to `max`, both included, to the second and without a zone.

    Attributes:
        bins: how many bins, or their edges, or ``auto``.
        atoms: see `Integer`.
    """

    type: Literal["datetime"] = "datetime"
    min: Annotated[datetime, BeforeValidator(checks.moment)]
    max: Annotated[datetime, BeforeValidator(checks.moment)]
    bins: Annotated[Auto | int | tuple[datetime, ...], BeforeValidator(checks.moment_bins)] = checks.DEFAULT_BINS
    atoms: Annotated[tuple[datetime, ...] | None, BeforeValidator(checks.moment_atoms)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Datetime:
        checks.check_range(self.min, self.max, self.bins, "linear", self.atoms)
        return self

    @cached_property
    def partition(self) -> Bins:
        """The bins, in seconds since 1970-01-01."""
        bins = self.bins
        if bins == "auto":
            return grids.moments(_seconds(self.min), _seconds(self.max), map(_seconds, self.atoms or ()))
        edges = bins if isinstance(bins, int) else tuple(_seconds(edge) for edge in bins)
        return _partition(_seconds(self.min), _seconds(self.max), edges, "linear", 1)


Column = Annotated[
    Categorical | Ordinal | Boolean | Integer | Float | Date | Datetime | Coded, Field(discriminator="type")
]
"""Any column of a schema; ``type`` says which."""

COLUMN_TYPES: dict[str, type[ColumnBase]] = {
    "categorical": Categorical,
    "ordinal": Ordinal,
    "boolean": Boolean,
    "integer": Integer,
    "float": Float,
    "date": Date,
    "datetime": Datetime,
    "coded": Coded,
}
"""The column classes by the name they have in YAML."""


def _partition(low: int, high: int, bins: int | tuple[int, ...], scale: str, unit: int) -> Bins:
    log = unit if scale == "log" else None
    if not isinstance(bins, int):
        return Bins.explicit(bins, log)
    return Bins.logarithmic(low, high, bins, unit) if scale == "log" else Bins.even(low, high, bins)


def _days(day: date) -> int:
    return (day - _EPOCH.date()).days


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


__all__ = [
    "COLUMN_TYPES",
    "BinnedBase",
    "Boolean",
    "Categorical",
    "Coded",
    "Column",
    "ColumnBase",
    "Date",
    "Datetime",
    "Float",
    "Integer",
    "Ordinal",
]

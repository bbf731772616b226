"""What an organisation admits beyond the budget: ceilings, generators, numerics, caps by purpose or recipient."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from accountants.budget import Budget
from accountants.errors import BudgetError, PolicyError
from accountants.exact import positive

VERSION = 2
"""Version 1 had no lifetime ceilings, third parties or unchecked accounting; it reads as leaving them out."""
NUMERICS = frozenset({"exact", "idealised"})
SCHEMA_ORIGINS = frozenset({"declared", "domain", "public-frame", "none"})
_CAPS = ("purposes", "recipients")
_FLAGS = ("unlisted_purposes", "unlisted_recipients", "unchecked")


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """Rules on declared parameters. The defaults admit every private release that still means something.

    Attributes:
        max_epsilon: the most one release may declare. At 20 and above the odds may change by half a billion.
        max_delta: the most one release may declare.
        max_lifetime_epsilon: the most that all releases of an account may come to, at its lifetime's delta; None
            leaves it to the account. An account opened for more is stopped there.
        max_lifetime_delta: the largest lifetime delta of an account that may be released from; None admits any.
        generators: recipe names admitted; None admits any.
        numerics: numerics classes admitted, of ``exact`` and ``idealised``. ``none`` never is.
        schema_origins: of ``declared``, ``domain``, ``public-frame``, and ``none`` (a third party's mechanism).
        third_party: names of those whose claims are taken at their word (``opacus``, ``diffprivlib`` ...); None
            admits any.
        unchecked: whether accounting that no second accountant can check is admitted.
        purposes, recipients: the most that all releases of an account under one label may spend together, by label.
        unlisted_purposes, unlisted_recipients: whether a label that is not listed, or no label, is admitted.

    Raises:
        PolicyError: a value that means nothing.
    """

    max_epsilon: Decimal = Decimal(20)
    max_delta: Decimal = Decimal("1e-5")
    max_lifetime_epsilon: Decimal | None = None
    max_lifetime_delta: Decimal | None = None
    generators: frozenset[str] | None = None
    numerics: frozenset[str] = NUMERICS
    schema_origins: frozenset[str] = SCHEMA_ORIGINS
    third_party: frozenset[str] | None = None
    unchecked: bool = False
    purposes: Mapping[str, Budget] = field(default_factory=dict)
    recipients: Mapping[str, Budget] = field(default_factory=dict)
    unlisted_purposes: bool = True
    unlisted_recipients: bool = True

    def __post_init__(self) -> None:
        for name in ("max_epsilon", "max_delta", "max_lifetime_epsilon", "max_lifetime_delta"):
            value = getattr(self, name)
            if value is None and name.startswith("max_lifetime"):
                continue
            object.__setattr__(self, name, positive(name, value, PolicyError))
            if name.endswith("delta") and getattr(self, name) >= 1:
                raise PolicyError(f"{name} must be below 1, got {value}")
        for name in ("generators", "third_party"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(name, getattr(self, name), None))
        object.__setattr__(self, "numerics", _names("numerics", self.numerics, NUMERICS))
        object.__setattr__(self, "schema_origins", _names("schema_origins", self.schema_origins, SCHEMA_ORIGINS))
        for name in _CAPS:
            object.__setattr__(self, name, MappingProxyType(_caps(name, getattr(self, name))))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise PolicyError(f"{name} must be true or false, got {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """As an opening row records it."""
        return {
            "version": VERSION,
            "max_epsilon": str(self.max_epsilon),
            "max_delta": str(self.max_delta),
            "max_lifetime_epsilon": None if self.max_lifetime_epsilon is None else str(self.max_lifetime_epsilon),
            "max_lifetime_delta": None if self.max_lifetime_delta is None else str(self.max_lifetime_delta),
            "generators": None if self.generators is None else sorted(self.generators),
            "numerics": sorted(self.numerics),
            "schema_origins": sorted(self.schema_origins),
            "third_party": None if self.third_party is None else sorted(self.third_party),
            "unchecked": self.unchecked,
            "purposes": {label: cap.to_json() for label, cap in sorted(self.purposes.items())},
            "recipients": {label: cap.to_json() for label, cap in sorted(self.recipients.items())},
            "unlisted_purposes": self.unlisted_purposes,
            "unlisted_recipients": self.unlisted_recipients,
        }

    @classmethod
    def from_json(cls, body: object) -> Policy:
        """The inverse of `to_json`; what is left out keeps its default.

        Raises:
            PolicyError: not a mapping, an unknown key, another version, or a value that means nothing.
        """
        if not isinstance(body, Mapping):
            raise PolicyError(f"a policy is a mapping of settings, got {type(body).__name__}")
        fields = dict(body)
        version = fields.pop("version", VERSION)
        if version not in (1, VERSION):
            raise PolicyError(
                f"the policy's version is {version!r}, this dpsynth reads 1 and {VERSION}; upgrade dpsynth"
            )
        known = [entry.name for entry in dataclasses.fields(cls)]
        for key in fields:
            if key not in known:
                _unknown(key, [*known, "version"])
        return cls(**fields)

    @classmethod
    def from_yaml(cls, path: Path | str) -> Policy:
        """Read a policy file.

        Raises:
            PolicyError: unreadable, not YAML, or no policy; the message names the file and the setting.
        """
        path = Path(path)
        try:
            body = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PolicyError(f"cannot read the policy {path} ({error.strerror})") from None
        except (YAMLError, UnicodeDecodeError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f" near line {mark.line + 1}" if mark is not None else ""
            raise PolicyError(f"the policy {path} is not YAML{line}; see docs/ledger.md for an example") from None
        try:
            return cls.from_json({} if body is None else body)
        except PolicyError as error:
            raise PolicyError(f"{path}: {error}") from None


def _names(name: str, value: object, allowed: frozenset[str] | None) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise PolicyError(f"{name} must be a list of names, got {value!r}")
    names = list(value)
    for entry in names:
        if not isinstance(entry, str) or (allowed is not None and entry not in allowed):
            choice = "names" if allowed is None else f"some of {sorted(allowed)}"
            raise PolicyError(f"{name} must be {choice}, got {entry!r}")
    return frozenset(names)


def _caps(name: str, value: object) -> dict[str, Budget]:
    if not isinstance(value, Mapping):
        raise PolicyError(f"{name} must map labels to budgets, got {value!r}")
    return {_label(name, label): _cap(name, label, cap) for label, cap in value.items()}


def _label(name: str, label: object) -> str:
    if not isinstance(label, str) or not label:
        raise PolicyError(f"a label in {name} must be text, got {label!r}")
    return label


def _cap(name: str, label: object, cap: object) -> Budget:
    if isinstance(cap, Budget):
        return cap
    if not isinstance(cap, Mapping) or "epsilon" not in cap:
        raise PolicyError(f"{name}.{label} must be a budget such as {{epsilon: 1, delta: 1e-9}}, got {cap!r}")
    for key in cap:
        if key not in ("epsilon", "delta"):
            _unknown(f"{name}.{label}.{key}", [f"{name}.{label}.epsilon", f"{name}.{label}.delta"])
    try:
        return Budget(cap["epsilon"], cap.get("delta", Decimal("1e-9")))
    except BudgetError as error:
        raise PolicyError(f"{name}.{label}: {error}") from None


def _unknown(key: object, known: list[str]) -> NoReturn:
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {sorted(known)}"
    raise PolicyError(f"unknown setting {key!r} in the policy; {hint}")


DEFAULT_POLICY = Policy()

"""Errors of the accounting side. Messages state declared figures only: what, got, allowed, what to do.

AccountingError                  everything below
├── BudgetError                  an epsilon, a delta or a privacy unit that means nothing      (also ValueError)
├── EventError                   a mechanism event with impossible parameters                  (also ValueError)
├── PlanError                    a plan that cannot be made within its allowance               (also ValueError)
├── UnplannedEvent               a look that the running plan does not admit; nothing was charged
├── LedgerError                  the ledger cannot be read, written or trusted
│   ├── UnknownDataset           no account of that name
│   ├── LedgerBusy               another session runs on this dataset, or the store is locked
│   └── LedgerCorrupt            a row was edited, removed, or signed by a key not trusted
├── KeyFileError                 a signing key is missing, unreadable, or open to other users
├── PolicyError                  a policy file that cannot be read                             (also ValueError)
└── GateRefused                  the gate's decision: carries the rule, the figures and the way out
"""

from __future__ import annotations


class AccountingError(Exception):
    """Base of every error the accountants raise on purpose."""


class BudgetError(AccountingError, ValueError):
    """An epsilon, a delta or a privacy unit that means nothing."""


class EventError(AccountingError, ValueError):
    """A mechanism event with impossible parameters."""


class PlanError(AccountingError, ValueError):
    """A plan that cannot be made within its allowance."""


class UnplannedEvent(AccountingError):
    """A look that the running plan does not admit. It was refused before any row was touched."""


class LedgerError(AccountingError):
    """The ledger cannot be read, written or trusted."""


class UnknownDataset(LedgerError):
    """No account of that name is open."""


class LedgerBusy(LedgerError):
    """Another session runs on this dataset, or the store is locked."""


class LedgerCorrupt(LedgerError):
    """A ledger row was edited, removed, reordered, or signed by a key that is not trusted."""


class KeyFileError(AccountingError):
    """A signing key is missing, unreadable, or readable by other users."""


class PolicyError(AccountingError, ValueError):
    """A policy file that cannot be read or means nothing."""


class GateRefused(AccountingError):
    """The gate said no.

    Attributes:
        rule: which rule, a short name from a closed list.
        reason: one sentence with the figures.
        way_out: one sentence on what would be admitted.
    """

    def __init__(self, rule: str, reason: str, way_out: str) -> None:
        super().__init__(rule, reason, way_out)
        self.rule = rule
        self.reason = reason
        self.way_out = way_out

    def __str__(self) -> str:
        return f"refused by rule '{self.rule}': {self.reason} {self.way_out}"

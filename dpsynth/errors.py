"""Every error dpsynth raises on purpose.

```
DpsynthError
├── BundleError                   a release folder cannot be written, or a draw cannot be made as asked
├── ModelStoreError               a stored model is missing, damaged or not the one asked for
├── PlanFileError (ValueError)    a plan that cannot be read, or whose parts do not fit each other
├── QuestionError (ValueError)    a private report is asked what no table of the schema could answer
├── NotSupported (ValueError)     a question that noisy margins cannot answer; it says what can be asked
├── KernelError                   a look failed after its charge; its details are withheld
├── SchemaError (ValueError)      the public description of the table is wrong
└── SourceError (ValueError)      the rows cannot be reached, or their structure does not fit the schema
```

A message is one sentence or two: what, got, allowed, what to do. A `SourceError` names columns the schema
declares, positions and suffixes, never a cell, and it is raised outside any ``except`` block, so that neither
``__cause__`` nor ``__context__`` carries one.
"""

from __future__ import annotations

CHARGED = "If the run had begun it is charged whole: 'dpsynth ledger show' tells."
"""Noted on whatever ends a run badly."""


class DpsynthError(Exception):
    """Base of everything dpsynth raises on purpose."""


class BundleError(DpsynthError):
    """A release folder cannot be written, or a table cannot be drawn as asked. Nothing was charged."""


class ModelStoreError(DpsynthError):
    """A stored model is missing, damaged or not the one its digest names."""


class PlanFileError(DpsynthError, ValueError):
    """A plan that cannot be read, or whose parts do not fit each other. Nothing was charged."""


class QuestionError(DpsynthError, ValueError):
    """A private report is asked what no table of its schema could answer. Nothing was read or noted."""


class NotSupported(DpsynthError, ValueError):
    """An analysis asks what the noisy margins of a release cannot answer. It says what they can."""


class KernelError(DpsynthError):
    """A look failed inside the kernel after it was charged. Carries no detail: any might quote a row."""


class SchemaError(DpsynthError, ValueError):
    """The public description of the table is wrong. It may quote the schema, which is public."""


class SourceError(DpsynthError, ValueError):
    """The rows cannot be reached, or the table's structure does not fit the schema. It never quotes a cell."""


__all__ = [
    "BundleError",
    "DpsynthError",
    "KernelError",
    "ModelStoreError",
    "NotSupported",
    "PlanFileError",
    "QuestionError",
    "SchemaError",
    "SourceError",
]

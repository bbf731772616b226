"""dpsynth: synthetic tables under differential privacy, with a ledger, a release gate and a certificate.

>>> import dpsynth as dp
>>> schema = dp.Schema.from_domain({"age": 85, "sex": 2})
>>> planned = dp.plan("mst", schema, dp.Budget(1.0, 1e-9))   # reads no rows
>>> planned.claim.generator
'mst'

The whole path: `plan`, `fit` on an account, `FittedModel.sample`, `admit`, `Release.write`; or `synthesize` at once.
"""

from accountants import Budget, GateRefused, Policy
from dpsynth.errors import DpsynthError
from dpsynth.generators import AIM, MST, Independent
from dpsynth.home import open_ledger
from dpsynth.kernel import Rows
from dpsynth.planned import ReleasePlan, plan
from dpsynth.release import FittedModel, Release, SealedTable, admit, verify
from dpsynth.schema import Schema
from dpsynth.session import fit, synthesize

__all__ = [
    "AIM",
    "MST",
    "Budget",
    "DpsynthError",
    "FittedModel",
    "GateRefused",
    "Independent",
    "Policy",
    "Release",
    "ReleasePlan",
    "Rows",
    "Schema",
    "SealedTable",
    "admit",
    "fit",
    "open_ledger",
    "plan",
    "synthesize",
    "verify",
]

"""dpsynth: synthetic tables under differential privacy, with a ledger, a release gate and a certificate.

>>> import dpsynth as dp
>>> schema = dp.Schema.from_domain({"age": 85, "sex": 2})
>>> planned = dp.plan("mst", schema, dp.Budget(1.0, 1e-9))   # reads no rows
>>> planned.claim.generator
'mst'

The whole path: `plan`, `fit` on an account, `FittedModel.sample`, `admit`, `Release.write`; or `synthesize` at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accountants import Budget as Budget
    from accountants import GateRefused as GateRefused
    from accountants import Policy as Policy
    from accountants import PrivacyUnit as PrivacyUnit
    from dpsynth.errors import DpsynthError as DpsynthError
    from dpsynth.generators import AIM as AIM
    from dpsynth.generators import GAN as GAN
    from dpsynth.generators import MADE as MADE
    from dpsynth.generators import MST as MST
    from dpsynth.generators import VAE as VAE
    from dpsynth.generators import Independent as Independent
    from dpsynth.home import open_ledger as open_ledger
    from dpsynth.kernel import Rows as Rows
    from dpsynth.planned import ReleasePlan as ReleasePlan
    from dpsynth.planned import plan as plan
    from dpsynth.release import FittedModel as FittedModel
    from dpsynth.release import Release as Release
    from dpsynth.release import SealedTable as SealedTable
    from dpsynth.release import admit as admit
    from dpsynth.release import verify as verify
    from dpsynth.schema import Schema as Schema
    from dpsynth.session import fit as fit
    from dpsynth.session import synthesize as synthesize

_HOMES = {
    "accountants": ("Budget", "GateRefused", "Policy", "PrivacyUnit"),
    "dpsynth.errors": ("DpsynthError",),
    "dpsynth.generators": ("AIM", "GAN", "MADE", "MST", "VAE", "Independent"),
    "dpsynth.home": ("open_ledger",),
    "dpsynth.kernel": ("Rows",),
    "dpsynth.planned": ("ReleasePlan", "plan"),
    "dpsynth.release": ("FittedModel", "Release", "SealedTable", "admit", "verify"),
    "dpsynth.schema": ("Schema",),
    "dpsynth.session": ("fit", "synthesize"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that ``dpsynth --help`` does not wait for SciPy."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dpsynth' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names and the dunders: not what this module itself imports."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

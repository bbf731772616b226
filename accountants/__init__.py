"""Privacy loss, budgets, and the record of both. Sees no rows, imports no data library.

>>> import accountants as acc
>>> spent = acc.compose([acc.Gaussian(noise_multiplier=20.0), acc.ExponentialMechanism(eta=0.1)])
>>> spent.epsilon(delta=1e-9) < 0.4
True
"""

from accountants.allowance import Allowance, mu_squared_cap, numerical_slack
from accountants.budget import Budget
from accountants.claim import Claim
from accountants.composition import compose
from accountants.errors import (
    AccountingError,
    BudgetError,
    EventError,
    GateRefused,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    PlanError,
    PolicyError,
    UnknownDataset,
    UnplannedEvent,
)
from accountants.events import Event, ExponentialMechanism, Gaussian
from accountants.filters import Meter
from accountants.plan import AdaptivePlan, FixedPlan, Plan, plan_from_json
from accountants.profile import Profile
from accountants.unit import PrivacyUnit

__all__ = [
    "AccountingError",
    "AdaptivePlan",
    "Allowance",
    "Budget",
    "BudgetError",
    "Claim",
    "Event",
    "EventError",
    "ExponentialMechanism",
    "FixedPlan",
    "GateRefused",
    "Gaussian",
    "LedgerBusy",
    "LedgerCorrupt",
    "LedgerError",
    "Meter",
    "Plan",
    "PlanError",
    "PolicyError",
    "PrivacyUnit",
    "Profile",
    "UnknownDataset",
    "UnplannedEvent",
    "compose",
    "mu_squared_cap",
    "numerical_slack",
    "plan_from_json",
]

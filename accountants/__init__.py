"""Privacy loss, budgets, and the record of both. Sees no rows, imports no data library.

>>> import accountants as acc
>>> spent = acc.compose([acc.Gaussian(noise_multiplier=20.0), acc.ExponentialMechanism(eta=0.1)])
>>> spent.epsilon(delta=1e-9) < 0.5
True
"""

from accountants.allowance import Allowance, declared_delta0, mu_squared_cap, numerical_slack
from accountants.budget import Budget
from accountants.calibration import calibrate
from accountants.claim import Claim
from accountants.composition import NumericalProfile, compose
from accountants.errors import (
    AccountingError,
    BudgetError,
    EventError,
    GateRefused,
    KeyFileError,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    PlanError,
    PolicyError,
    UnknownDataset,
    UnplannedEvent,
)
from accountants.events import (
    Claimed,
    Event,
    ExponentialMechanism,
    Gaussian,
    Laplace,
    PoissonRuns,
    PostProcessing,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    TruncatedNegativeBinomial,
)
from accountants.filters import Meter
from accountants.gate import decide, decide_draw, decide_release
from accountants.keys import Keyring, PublicKey, SigningKey
from accountants.ledger import Account, AccountState, Ledger, ReasonCode, ReleaseState, Reservation, Row, Status
from accountants.lifetime import Charge, Lifetime
from accountants.plan import AdaptivePlan, FixedPlan, Plan, plan_from_json
from accountants.policy import Policy
from accountants.profile import Profile
from accountants.public import PublicTable
from accountants.unit import PrivacyUnit
from accountants.verdict import Admitted, Refused, Rule

__all__ = [
    "Account",
    "AccountState",
    "AccountingError",
    "AdaptivePlan",
    "Admitted",
    "Allowance",
    "Budget",
    "BudgetError",
    "Charge",
    "Claim",
    "Claimed",
    "Event",
    "EventError",
    "ExponentialMechanism",
    "FixedPlan",
    "GateRefused",
    "Gaussian",
    "KeyFileError",
    "Keyring",
    "Laplace",
    "Ledger",
    "LedgerBusy",
    "LedgerCorrupt",
    "LedgerError",
    "Lifetime",
    "Meter",
    "NumericalProfile",
    "Plan",
    "PlanError",
    "PoissonRuns",
    "Policy",
    "PolicyError",
    "PostProcessing",
    "PrivacyUnit",
    "PrivateSelection",
    "Profile",
    "PublicKey",
    "PublicTable",
    "RandomizedResponse",
    "ReasonCode",
    "Refused",
    "ReleaseState",
    "Reservation",
    "Row",
    "Rule",
    "SigningKey",
    "Status",
    "SubsampledGaussian",
    "Thresholding",
    "TruncatedNegativeBinomial",
    "UnknownDataset",
    "UnplannedEvent",
    "calibrate",
    "compose",
    "decide",
    "decide_draw",
    "decide_release",
    "declared_delta0",
    "mu_squared_cap",
    "numerical_slack",
    "plan_from_json",
]

"""Mechanism events: one frozen, validated type for each kind of look. It holds the privacy, not the noise scale.

An event says what the mechanism does to *one privacy unit*: the kernel turns it into noise for at most k
rows a unit. No event of the kernel's holds k, so the account of a plan does not change with it.

Every event has ``mu_squared`` and ``delta0``: the closed-form domination ``delta(g) <= delta0 + (1 - delta0)
delta_Gauss(g; mu)`` for every g and both directions, which is what filters and lifetimes add up. Composition of a fixed
plan is tighter (`accountants.composition`).
"""

from accountants.events.base import ADD_OR_REMOVE, BLANK, REPLACE, Unit, together
from accountants.events.claimed import Claimed, PostProcessing
from accountants.events.gaussian import Gaussian, SubsampledGaussian, Thresholding
from accountants.events.pure import MAX_ETA, ExponentialMechanism, Laplace, RandomizedResponse
from accountants.events.registry import FILTER_KINDS, KINDS, Event, event_from_json, event_to_json
from accountants.events.selection import PoissonRuns, PrivateSelection, TruncatedNegativeBinomial

__all__ = [
    "ADD_OR_REMOVE",
    "BLANK",
    "FILTER_KINDS",
    "KINDS",
    "MAX_ETA",
    "REPLACE",
    "Claimed",
    "Event",
    "ExponentialMechanism",
    "Gaussian",
    "Laplace",
    "PoissonRuns",
    "PostProcessing",
    "PrivateSelection",
    "RandomizedResponse",
    "SubsampledGaussian",
    "Thresholding",
    "TruncatedNegativeBinomial",
    "Unit",
    "event_from_json",
    "event_to_json",
    "together",
]

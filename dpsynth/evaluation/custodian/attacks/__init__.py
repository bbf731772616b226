"""Attacks on a release with the rows it was made from at hand; docs/attacks.md says what each one shows.

A private zone: what comes out is for the custodian alone.
"""

from dpsynth.evaluation.custodian.attacks.battery import CAVEAT, run_attacks
from dpsynth.evaluation.custodian.attacks.shadows import Refit

__all__ = ["CAVEAT", "Refit", "run_attacks"]

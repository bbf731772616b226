"""The way out: models kept, tables sealed, admitted, bundled and verified."""

from dpsynth.release.admission import Release, admit
from dpsynth.release.bundle import check_target
from dpsynth.release.certificate.reading import read_certificate, write_page
from dpsynth.release.fitted import FittedModel
from dpsynth.release.sealed import SealedTable
from dpsynth.release.store import ModelStore, StoredModel
from dpsynth.release.verification import Finding, Verification, read_origin, verify

__all__ = [
    "Finding",
    "FittedModel",
    "ModelStore",
    "Release",
    "SealedTable",
    "StoredModel",
    "Verification",
    "admit",
    "check_target",
    "read_certificate",
    "read_origin",
    "verify",
    "write_page",
]

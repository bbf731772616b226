"""Inference in discrete graphical models: potentials fitted to noisy marginals. No privacy in it, and never a row."""

from dpsynth.graphical.belief_propagation import Calibrated, MessagePassing
from dpsynth.graphical.errors import ModelTooLarge
from dpsynth.graphical.estimation import Measurement, combine, estimate, estimate_total, measured
from dpsynth.graphical.factor import Factor
from dpsynth.graphical.junction_tree import JunctionTree
from dpsynth.graphical.model import GraphicalModel
from dpsynth.graphical.raking import RakedModel
from dpsynth.graphical.sampling import sample

__all__ = [
    "Calibrated",
    "Factor",
    "GraphicalModel",
    "JunctionTree",
    "Measurement",
    "MessagePassing",
    "ModelTooLarge",
    "RakedModel",
    "combine",
    "estimate",
    "estimate_total",
    "measured",
    "sample",
]

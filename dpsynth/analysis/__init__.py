"""Inference for the receiver of a release: intervals that know of the privacy noise, from nothing but its folder."""

from dpsynth.analysis.analysis import Analysis, Interval
from dpsynth.analysis.combining import Combined, combine

__all__ = ["Analysis", "Combined", "Interval", "combine"]

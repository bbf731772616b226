"""For tests and research only: noise that repeats, no noise at all, and a table that answers from a script.

Nothing made with them can be released: what they draw is a `NotPrivateTable`, which no release function accepts, and
the gate refuses a model whose noise was not the kernel's own. No module outside the tests imports this package (an
import rule keeps it).
"""

from dpsynth.testing.bits import SeededBits, TapedBits
from dpsynth.testing.not_private import NotPrivateError, NotPrivateTable, watermark
from dpsynth.testing.replay import ReplayTable, Script
from dpsynth.testing.synthesis import NoNoise, synthesize_without_privacy

__all__ = [
    "NoNoise",
    "NotPrivateError",
    "NotPrivateTable",
    "ReplayTable",
    "Script",
    "SeededBits",
    "TapedBits",
    "synthesize_without_privacy",
    "watermark",
]

"""For tests only: bits that repeat and a table that answers from a script. Nothing made with them can be released.

No module outside the tests imports this package (an import rule keeps it).
"""

from dpsynth.testing.bits import SeededBits, TapedBits
from dpsynth.testing.replay import ReplayTable, Script

__all__ = ["ReplayTable", "Script", "SeededBits", "TapedBits"]

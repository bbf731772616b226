"""The trust boundary. Only this package sees rows; answers leave it noisy, and each is charged before it is made.

Start reading at ``table.py``. docs/architecture.md draws the boundary, docs/proofs holds the arguments.
"""

from dpsynth.kernel.rows import Rows
from dpsynth.kernel.table import PrivateTable

__all__ = ["PrivateTable", "Rows"]

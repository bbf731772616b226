"""What can be said of a schema before any row is read: who might be recognised, what noise will drown, what fits."""

from dpsynth.inspection.inspection import Advice, ColumnNote, Inspection, inspect
from dpsynth.inspection.roles import Role, roles_of

__all__ = ["Advice", "ColumnNote", "Inspection", "Role", "inspect", "roles_of"]

"""The custodian's private report: it reads real rows, so nothing of it may leave.

Nothing that makes a release imports this package, and the gate refuses what it writes.
"""

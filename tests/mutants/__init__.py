"""Mutants: each breaks one guard that privacy rests on, and some test must fail. ``python -m tests.mutants`` runs them.

The table is data, in ``*.toml`` beside this file; ``catalogue.py`` reads it, ``runner.py`` runs it, ``table.py``
writes docs/mutants.md.
"""

"""A pytest plugin for the copies: which test failed first, and that nothing was imported from outside the copy."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

REPORT = "DPSYNTH_MUTANT_REPORT"
"""Environment variable: where the finding is written."""
WATCHED = ("accountants", "dpsynth", "tests")

_failed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a failure in setup, call or teardown."""
    if report.failed:
        _failed.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the finding."""
    finding = {"failed": _failed[:1], "strangers": strangers(session.config.rootpath)}
    Path(os.environ[REPORT]).write_text(json.dumps(finding), encoding="utf-8")


def strangers(root: Path) -> list[str]:
    """Files of ours that were imported from elsewhere than `root`: the installed package, not the copy."""
    loaded = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in WATCHED]
    files = {Path(module.__file__).resolve() for module in loaded if module.__file__ is not None}
    return sorted(str(file) for file in files if not file.is_relative_to(root.resolve()))

"""The mutants themselves: each still applies, a broken guard is noticed, and what proves nothing is never a success."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import dpsynth
from tests.mutants.__main__ import main
from tests.mutants.catalogue import ROOT, Mutant, MutantError, catalogue
from tests.mutants.runner import Outcome, Runner
from tests.mutants.table import page
from tests.mutants.witness import strangers

MUTANTS = catalogue()
CHEAP = Mutant(
    name="cheap",
    guard="A unit's rows beyond the first k are dropped.",
    file="dpsynth/kernel/contribution.py",
    old="        keep[rows] = False\n",
    new="",
    tests=("tests/kernel/test_contribution.py",),
)
in_a_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the tree to copy is what git lists")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_every_mutant_still_applies(mutant):
    assert mutant.problem() is None
    compile((ROOT / mutant.file).read_text().replace(mutant.old, mutant.new), mutant.file, "exec")


def test_a_mutant_that_does_not_apply_is_an_error(tmp_path):
    stale = [
        replace(CHEAP, old="no such text"),
        replace(CHEAP, old="at_most"),  # occurs many times
        replace(CHEAP, file="dpsynth/kernel/gone.py"),
        replace(CHEAP, new=CHEAP.old),
        replace(CHEAP, tests=()),
        replace(CHEAP, tests=("tests/test_gone.py",)),
        replace(CHEAP, tests=("tests/test_mutants.py",)),  # fails for any mutant, so it kills none
    ]
    for mutant in stale:
        with pytest.raises(MutantError, match="cheap"):
            mutant.apply(ROOT)


def test_a_catalogue_with_a_wrong_entry_is_an_error(tmp_path):
    entry = '[[mutant]]\nname = "a"\nguard = ""\nfile = ""\nold = ""\nnew = ""\ntests = []\n'
    for text in (entry * 2, entry.replace("guard", "gard"), entry.replace("tests = []", ""), "<<<<", "[other]"):
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(MutantError):
            catalogue(tmp_path)


@in_a_checkout
def test_a_broken_guard_is_noticed_and_the_tree_left_alone():
    before = (ROOT / CHEAP.file).read_bytes()
    with Runner() as runner:
        outcome = runner.run(CHEAP)
    assert outcome.killer.startswith("tests/kernel/test_contribution.py::test_at_most_k")
    assert (ROOT / CHEAP.file).read_bytes() == before


@in_a_checkout
def test_a_change_nobody_notices_survives():
    unnoticed = replace(CHEAP, old='"""Which rows survive.', new='"""The rows that survive.')
    with Runner() as runner:
        assert runner.run(unnoticed).killer is None


@in_a_checkout
def test_tests_that_do_not_run_prove_nothing():
    with Runner() as runner, pytest.raises(MutantError, match="did not run"):
        runner.run(replace(CHEAP, old="import numpy as np", new="import no_such_module as np"))


@in_a_checkout
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(sent, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.mutants", "--only", MUTANTS[0].name]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("mutants-*/*/tests")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []


def test_what_was_imported_from_elsewhere_is_found(tmp_path):
    assert strangers(ROOT) == []
    assert dpsynth.__file__ in strangers(tmp_path)


def test_names_are_listed_and_unknown_ones_refused(capsys):
    assert main(["--list"]) == 0
    assert all(mutant.name in capsys.readouterr().out.splitlines()[0] for mutant in MUTANTS[:1])
    with pytest.raises(SystemExit):
        main(["--only", "nobody"])


def test_the_page_says_who_survived_and_keeps_the_rows_of_others():
    other, kept = replace(CHEAP, name="other"), replace(CHEAP, name="kept")
    outcomes = {
        CHEAP.name: Outcome(CHEAP, "tests/kernel/test_x.py::test_y[a|b]", 1.2),
        "other": Outcome(other, None, 2.0),
    }
    before = "| kept | `x.py` | A guard. | `test_z` | 7 |\n| gone | `x.py` | A guard. | `test_z` | 7 |\n"
    text = page([CHEAP, other, kept], outcomes, before)
    assert "2 of 3 mutants are killed" in text
    assert "`kernel/test_x.py::test_y`" in text
    assert "**survived**" in text
    assert "| kept | `x.py` | A guard. | `test_z` | 7 |" in text
    assert "gone" not in text
    with pytest.raises(KeyError, match="kept"):
        page([CHEAP, other, kept], outcomes)


def test_the_committed_page_is_of_these_mutants():
    lines = Path(ROOT, "docs", "mutants.md").read_text().splitlines()
    named = {line.split("|")[1].strip() for line in lines if line.startswith("| ") and not line.startswith("| mutant")}
    assert named == {mutant.name for mutant in MUTANTS}

"""What the README shows runs as typed."""

import doctest
import re
from pathlib import Path

import numpy as np
import pandas as pd

import dpsynth
from accountants import Budget
from dpsynth import open_ledger

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def patients(rows=600):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "patient_id": rng.integers(0, 300, rows),
            "sex": rng.choice(["F", "M", None], rows),
            "stage": rng.choice(["I", "II", "III", "IV"], rows),
            "age": rng.integers(0, 110, rows),
            "cost": rng.lognormal(6, 2, rows).round(2),
        }
    )


def test_the_python_blocks_run_on_the_schema_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (yaml,) = blocks("yaml")
    Path("patients.yaml").write_text(yaml)
    open_ledger().open("hie-2026", Budget(3, "1e-8"))
    names = {"patients": patients()}
    for block in blocks("python"):
        exec(block, names)
    assert len(list(Path("release").iterdir())) == 8


def test_every_command_shown_exists():
    from dpsynth.cli import main

    shown = [line[2:].split("#")[0].split() for block in blocks("console") for line in block.splitlines()]
    for words in (w for w in shown if w and w[0] == "dpsynth"):
        command = main.commands[words[1]]
        if hasattr(command, "commands"):
            command = command.commands[words[2]]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {w for w in words if w.startswith("--")} <= options, words


def test_doctests_of_the_packages():
    import accountants.composition

    for module in (dpsynth, accountants, accountants.budget, accountants.composition):
        assert doctest.testmod(module).failed == 0


def test_accounting_page_prints_what_it_says(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "accounting.md").read_text("utf-8"), re.DOTALL)
    whole = "".join(blocks)
    exec(whole, {})
    said = [line.split("# ")[1].split(":")[0].strip() for line in whole.splitlines() if line.startswith("print")]
    assert capsys.readouterr().out.split() == said

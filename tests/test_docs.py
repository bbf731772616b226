"""What the pages name exists, what they say of settings is so, and their accounts do not collide."""

import json
import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest

import dpsynth as dp
from dpsynth.generators import GENERATORS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").glob("*.md")]
TREE = [
    path.relative_to(ROOT).as_posix()
    for top in ("accountants", "dpsynth", "tests", "docs", "experiments")
    for path in [ROOT / top, *(ROOT / top).rglob("*")]
    if "__pycache__" not in path.parts
]
PATH = re.compile(r"`((?:accountants|dpsynth|tests|docs|experiments)/[\w./{},*-]*)`")
TEST = re.compile(r"`((?:[\w*]+/)*test_[\w*]+\.py)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
OF_THE_READER = ("experiments/results/",)
"""What a run writes."""


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def alternatives(path):
    """``a/{b,c}.py`` as its members."""
    match = re.search(r"\{([^{}]*)\}", path)
    if match is None:
        return [path]
    return [each for part in match[1].split(",") for each in alternatives(path.replace(match[0], part, 1))]


def lacking(text):
    """What a page names and the tree does not have: a module may be named without its suffix, a test without folder."""
    named = [each.rstrip("/.,") for path in PATH.findall(text) for each in alternatives(path)]
    missing = [
        n for n in named if not n.startswith(OF_THE_READER) and not any(fnmatch(p, n) for p in (*TREE, *MODULES))
    ]
    tests = [n for n in TEST.findall(text) if not any(fnmatch(p, n) or fnmatch(p, f"*/{n}") for p in TREE)]
    return missing + tests


MODULES = [path.removesuffix(".py") for path in TREE if path.endswith(".py")]


def anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_files_that_do_not_exist_are_found():
    assert lacking("`accountants/events.py`, `accountants/{pld,plod}.py`, `tests/test_no.py`, `test_none.py`") == [
        "accountants/events.py",
        "accountants/plod.py",
        "tests/test_no.py",
        "tests/test_no.py",
        "test_none.py",
    ]
    assert lacking("`accountants/{pld,renyi}.py` `dpsynth/session` `tests/mutants/*.toml` `test_docs.py`") == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_name_only_what_exists(path):
    text = path.read_text(encoding="utf-8")
    assert lacking(text) == []
    for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        where, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (path.parent / where).resolve() if where else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", GENERATORS)
def test_every_setting_of_a_generator_is_on_the_page_with_its_default(name):
    section = page("docs/generators.md").split(f"## `{name}`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]{10,} \| [^|]+ \|$", section, re.MULTILINE)
    defaults = {field.name: field.default for field in fields(GENERATORS[name])}
    assert rows == [(setting, v if isinstance(v, str) else json.dumps(v)) for setting, v in defaults.items()]


def test_the_settings_shown_are_settings():
    text = page("docs/generators.md")
    exec("".join(blocks(text)), {})
    for name in GENERATORS:
        for setting in re.findall(rf"--generator {name} (.*) >", text):
            for given in re.findall(r"--set (\w+)=", setting):
                assert given in {"preset", *(field.name for field in fields(GENERATORS[name]))}


def test_a_model_whose_folder_was_not_written_is_drawn_from_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks(page("docs/certificate.md")) if "FittedModel.open" in block]
    schema = dp.Schema.from_domain({"age": 5, "sex": 2})
    account = dp.open_ledger().open("hie-2026", dp.Budget(3, 1e-8))
    table = pd.DataFrame({"age": [1, 2, 3] * 40, "sex": [0, 1, 1] * 40})
    model = dp.fit(dp.plan("independent", schema, dp.Budget(1, 1e-9)), table, account)
    Path("taken").touch()
    release = dp.admit(model.sample(10), account)
    with pytest.raises(dp.DpsynthError, match="it is a file"):
        release.write("taken")
    exec(block, {})
    assert len(list(Path("again").iterdir())) == len(list(release.write("elsewhere").iterdir())) == 8


def test_no_two_pages_open_an_account_of_one_name():
    opened = [
        name
        for shown in ("README.md", "docs/bridges.md", "docs/accounting.md")
        for block in blocks(page(shown))
        for name in re.findall(r"\.open\(\"([^\"]+)\"", block)
    ]
    assert len(opened) == len(set(opened)) >= 4


def test_dir_gives_the_public_names_alone():
    assert {name for name in dir(dp) if not name.startswith("__")} == set(dp.__all__)
    assert "PrivacyUnit" in dp.__all__
    assert all(getattr(dp, name) is not None for name in dp.__all__)


def test_released_types_are_those_of_the_reference():
    declared = {
        "boolean": "{type: boolean}",
        "integer": "{type: integer, min: 0, max: 9}",
        "float": "{type: float, min: 0, max: 1}",
        "date": "{type: date, min: 2020-01-01, max: 2020-12-31}",
        "datetime": "{type: datetime, min: 2020-01-01, max: 2020-12-31}",
    }
    schema = dp.Schema.loads("columns:\n" + "".join(f"  {kind}: {column}\n" for kind, column in declared.items()))
    frame = dp.synthesize(
        pd.DataFrame({kind: ["1", "0"] * 20 for kind in declared}), schema, epsilon=1, generator="independent"
    ).frame
    rows = dict(re.findall(r"^\| `(\w+)` \| .*\| `([\w\[\]]+)`[^|]*\|$", page("docs/schema.md"), re.MULTILINE))
    assert {kind: str(frame[kind].dtype) for kind in declared} == {kind: rows[kind] for kind in declared}

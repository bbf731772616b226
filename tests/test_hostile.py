"""Hostile input: what may not depend on n, on values, or on any row, and what a broken structure costs (nothing)."""

import base64
import gc
import importlib
import io
import itertools
import json
import logging
import os
import traceback

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dpsynth as dp
from accountants import GateRefused
from dpsynth import session
from dpsynth.cli import main
from dpsynth.console import one_sentence
from dpsynth.kernel import PrivateTable
from dpsynth.release.certificate import certificate_page
from dpsynth.testing import ReplayTable, Script
from tests.helpers import SCHEMA, account, schema, table, texts_of

GENERATORS = ["independent", "mst", "aim"]


def recorded(generator, monkeypatch, data=None):
    """The answers of one real run, to be given again whatever the rows are."""
    taken = []

    class Recorder:
        def __new__(cls, rows, meter):
            taken.append(PrivateTable(rows, meter))
            return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(session, "PrivateTable", Recorder)
        dp.synthesize(table() if data is None else data, schema(), epsilon=2.0, generator=generator, rows=10)
    return taken[0].transcript


def replaying(monkeypatch, answers):
    scripts = []

    def opened(rows, meter):
        scripts.append(Script(answers))
        return ReplayTable(rows, meter, scripts[-1], numerics="exact")

    monkeypatch.setattr(session, "PrivateTable", opened)
    return scripts


def comparable(folder):
    """A bundle without what may differ: date, ids, ledger hashes, signature."""
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    statement = json.loads(base64.b64decode(json.loads(files.pop("certificate.json"))["payload"]))
    predicate = statement["predicate"]
    assert files.pop("certificate.html") == certificate_page(predicate).encode()  # so what follows holds for it too
    for volatile in ("issued", "release"):
        predicate.pop(volatile, None)
    predicate["ledger"].pop("hash")
    statement["subject"] = [s for s in statement["subject"] if s["name"] == "synthetic.parquet"]
    return files, statement


@pytest.mark.parametrize("generator", GENERATORS)
def test_n_shows_nowhere(generator, tmp_path, monkeypatch):
    """Tables of 0, 1, 400 and 5,000 rows under one script of noisy answers: equal bundles, equal looks."""
    scripts = replaying(monkeypatch, recorded(generator, monkeypatch))
    bundles = []
    for i, rows in enumerate([400, 5000, 1, 0]):
        acc = account(f"the-table-{i}")
        model = dp.fit(dp.plan(generator, schema(), dp.Budget(2.0)), table(max(rows, 1)).head(rows), acc)
        release = dp.admit(model.sample(seed=5), acc)
        files, statement = comparable(release.write(tmp_path / f"r{i}"))
        for name in ("report.html", "report.json", "measurements.json", "README.txt"):
            files[name] = files[name].replace(f"the-table-{i}".encode(), b"NAME")
        statement["predicate"].pop("dataset")
        statement["predicate"]["ledger"].pop("seq")
        bundles.append((files, statement))
    assert all(bundle == bundles[0] for bundle in bundles[1:])
    assert all(script.asked == scripts[0].asked for script in scripts[1:])


def broken(data):
    """The same columns with hopeless cells: other types, nonsense, nulls, units beyond their bound."""
    odd = [None, "?", object(), b"\xff", [1], {"a": 1}, float("nan"), float("inf"), -1e308, "é" * 50, pd.NaT, 10**40]
    wreck = pd.DataFrame({c: [odd[(i + j) % len(odd)] for i in range(len(data))] for j, c in enumerate(data.columns)})
    wreck["patient"] = "everybody"
    wreck["sex"] = None
    return wreck


VARIANTS = {
    "clean": lambda: table(),
    "broken": lambda: broken(table()),
    "all null": lambda: table().assign(**{c: None for c in table().columns if c != "patient"}),
    "no unit known": lambda: table().assign(patient=None),
    "one row": lambda: table().head(1),
    "no row": lambda: table().head(0),
}


@pytest.mark.parametrize("generator", GENERATORS)
def test_values_change_no_message_code_look_file_or_ledger_row(generator, tmp_path, monkeypatch):
    """One script of answers through the command line, over clean and broken tables."""
    scripts = replaying(monkeypatch, recorded(generator, monkeypatch))
    real = np.random.default_rng
    monkeypatch.setattr(
        "dpsynth.release.fitted.np.random.default_rng", lambda seed=None: real(7 if seed is None else seed)
    )
    (tmp_path / "s.yaml").write_text(SCHEMA)
    seen = []
    for i, (name, make) in enumerate(VARIANTS.items()):
        data = make()
        path = tmp_path / "t.csv"
        data.to_csv(path, index=False)
        monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / f"home{i}"))
        run = CliRunner().invoke
        assert run(main, ["ledger", "open", "visits", "--epsilon", "3"]).exit_code == 0
        out = tmp_path / "out"
        done = run(
            main,
            f"release {path} --schema {tmp_path / 's.yaml'} --epsilon 2 --dataset visits "
            f"--generator {generator} --out {out}",
        )
        assert done.exit_code == 0, (name, done.output)
        rows = [(r.seq, r.account, r.kind, sorted(r.body)) for r in dp.open_ledger().rows()]
        bundle = comparable(out)
        bundle[1]["predicate"].pop("issuer")
        for file in ("report.html", "report.json", "README.txt"):  # the key is the home's own
            key = dp.home.keyring().signing_key().public.key_id.encode()
            bundle[0][file] = bundle[0][file].replace(key, b"KEY").replace(key[:16], b"KEY")
        seen.append((done.stdout, done.stderr, rows, bundle, scripts[-1].asked))
        out.rename(tmp_path / f"out{i}")
    for name, other in zip(list(VARIANTS)[1:], seen[1:], strict=True):
        assert other == seen[0], name


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_runs_with_real_noise(generator, name):
    release = dp.synthesize(VARIANTS[name](), schema(), epsilon=1.0, generator=generator)
    assert len(release.frame) >= 1
    assert release.frame["age"].dropna().between(0, 100).all()


# ---- no token of any cell, anywhere -------------------------------------------------------------------------------

TOKEN = "Zq7x"


def tokens(rows=60):
    """A table whose every cell is a unique token that no schema, message or file would hold by itself."""
    number = itertools.count()
    return pd.DataFrame({c: [f"{TOKEN}{next(number)}{TOKEN}" for _ in range(rows)] for c in table(2).columns})


def chain_text(error):
    """Everything an exception carries: arguments, notes, causes and contexts."""
    parts, seen, waiting = [], set(), [error]
    while waiting:
        e = waiting.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        parts += [repr(e.args), str(e), "".join(traceback.format_exception_only(e)), repr(vars(e))]
        waiting += [e.__cause__, e.__context__]
    return "\n".join(parts)


def attempt(act, capsys, caplog):
    """Run, and return all that was said: output, logs, and the exception with its whole chain."""
    said = []
    with caplog.at_level(logging.DEBUG):
        try:
            act()
        except BaseException as error:
            said.append(chain_text(error))
    out, err = capsys.readouterr()
    return "\n".join([*said, out, err, caplog.text])


@pytest.fixture
def watched(tmp_path, monkeypatch, home):
    """A temporary folder of our own, so that temporary files are looked into as well."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield [temporary, home, tmp_path / "out"]
    gc.collect()


@pytest.mark.parametrize("source", ["frame", "csv", "parquet"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_no_token_leaves_by_success_or_refusal(generator, source, watched, tmp_path, capsys, caplog):
    data = tokens()
    if source == "csv":
        data.to_csv(tmp_path / "in.csv", index=False)
        data = tmp_path / "in.csv"
    elif source == "parquet":
        data.to_parquet(tmp_path / "in.parquet")
        data = tmp_path / "in.parquet"
    acc = account(epsilon=1.2)

    def act():
        model = dp.fit(dp.plan(generator, schema(), dp.Budget(1)), data, acc)
        dp.admit(model.sample(), acc).write(tmp_path / "out")
        with pytest.raises(GateRefused) as refused:
            dp.fit(dp.plan(generator, schema(), dp.Budget(1)), data, acc)
        print(chain_text(refused.value))

    said = attempt(act, capsys, caplog)
    assert (tmp_path / "out" / "synthetic.parquet").exists(), said
    assert TOKEN not in said
    for folder in watched:
        assert TOKEN not in texts_of(folder)


FAULTS = {
    "dpsynth.kernel.rows.Encoder.encode": "reading",
    "dpsynth.kernel.rows.unit_tokens": "reading",
    "dpsynth.kernel.table.bound": "bounding",
    "dpsynth.kernel.table.exact_counts": "look",
    "dpsynth.kernel.table.errors": "look",
    "dpsynth.kernel.noise.Noise.choose": "look",
    "dpsynth.kernel.noise.Noise.rounded_gaussian": "look",
}


def _holder(place):
    """The module or class that holds what `place` names, and its name there."""
    parts = place.split(".")
    holder = importlib.import_module(".".join(parts[:3]))
    for part in parts[3:-1]:
        holder = getattr(holder, part)
    return holder, parts[-1]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("place", FAULTS)
def test_no_token_leaves_by_a_fault_or_ctrl_c_at_any_point(place, fault, watched, monkeypatch, capsys, caplog):
    """The fault is raised with tokens in its arguments, at the first call and at a later one."""
    for nth in (1, 3):
        acc = account(f"d{nth}")
        calls = itertools.count(1)
        holder, name = _holder(place)
        real = getattr(holder, name)

        def faulty(*args, real=real, calls=calls, nth=nth):
            if next(calls) == nth:
                cell = tokens(1).iloc[0, 0]
                if fault is KeyboardInterrupt:
                    raise KeyboardInterrupt
                raise fault(cell, f"bad cell {cell}")
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(holder, name, faulty)

            def act(acc=acc):
                dp.fit(dp.plan("mst", schema(), dp.Budget(1)), tokens(), acc)

            said = attempt(act, capsys, caplog)
        assert TOKEN not in said
        for release in acc.state.releases.values():
            assert str(release.status) in ("voided", "forfeited", "committed")
            assert str(release.status) != "voided" or FAULTS[place] == "reading"
    for folder in watched:
        assert TOKEN not in texts_of(folder)


def test_an_unforeseen_error_at_the_command_line_withholds_its_text(capsys):
    with pytest.raises(SystemExit) as stopped, one_sentence():
        raise ZeroDivisionError(f"cell {TOKEN}")
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert TOKEN not in said.out + said.err
    assert "ZeroDivisionError" in said.err
    assert "Traceback" not in said.err


# ---- structure: one sentence, non-zero exit, nothing charged ---------------------------------------------------------


@pytest.fixture
def desk(tmp_path, home):
    """A folder with a good table and schema and an open account."""
    (tmp_path / "s.yaml").write_text(SCHEMA)
    table().to_csv(tmp_path / "t.csv", index=False)
    opened = CliRunner().invoke(main, ["ledger", "open", "visits", "--epsilon", "3"])
    assert opened.exit_code == 0, opened.output
    return tmp_path


def release_args(desk, **changes):
    options = {"--schema": desk / "s.yaml", "--epsilon": "1", "--dataset": "visits", "--out": desk / "out"}
    options["--generator"] = "independent"
    options |= {f"--{k.replace('_', '-')}": v for k, v in changes.items() if k != "table"}
    arguments = ["release", str(changes.get("table", desk / "t.csv"))]
    return arguments + [str(x) for pair in options.items() if pair[1] is not None for x in pair]


def spoil(desk, name, text):
    (desk / name).write_text(text)
    return desk / name


PLANNED = dict.fromkeys(("schema", "epsilon", "generator"))
"""What a plan says already."""

STRUCTURE = {
    "missing column": lambda d: {"table": spoil(d, "x.csv", "patient,sex,stage\np1,F,I\n")},
    "duplicate column": lambda d: {
        "table": spoil(d, "x.csv", "patient,sex,sex,stage,smoker,age,cost\np1,F,F,I,1,2,3\n")
    },
    "no such table": lambda d: {"table": d / "nowhere.csv"},
    "unknown suffix": lambda d: {"table": spoil(d, "x.xyz", "?")},
    "not parquet": lambda d: {"table": spoil(d, "x.parquet", "PAR0")},
    "a folder": lambda d: {"table": d},
    "schema names a column twice": lambda d: {"schema": spoil(d, "x.yaml", SCHEMA + "  sex: {type: boolean}\n")},
    "schema is missing": lambda d: {"schema": d / "nowhere.yaml"},
    "schema is no schema": lambda d: {"schema": spoil(d, "x.yaml", "[1, 2")},
    "unknown type": lambda d: {"schema": spoil(d, "x.yaml", "columns: {a: {type: intger, min: 0, max: 1}}")},
    "epsilon zero": lambda d: {"epsilon": "0"},
    "epsilon negative": lambda d: {"epsilon": "-1"},
    "epsilon nan": lambda d: {"epsilon": "nan"},
    "epsilon text": lambda d: {"epsilon": "much"},
    "delta one": lambda d: {"delta": "1"},
    "delta above": lambda d: {"delta": "2.5"},
    "unknown dataset": lambda d: {"dataset": "nobody"},
    "hostile dataset id": lambda d: {"dataset": "../../etc"},
    "folder not empty": lambda d: {"out": d},
    "no parent folder": lambda d: {"out": d / "a" / "b" / "c"},
    "rows zero": lambda d: {"rows": "0"},
    "bad setting": lambda d: {"set": "nonsense=1"},
    "plan is missing": lambda d: {"plan": d / "nowhere.json", **PLANNED},
    "plan is no plan": lambda d: {"plan": spoil(d, "x.json", "{}"), **PLANNED},
    "policy is missing": lambda d: {"policy": d / "nowhere.yaml"},
    "beyond the lifetime": lambda d: {"epsilon": "9"},
}


@pytest.mark.parametrize("case", STRUCTURE)
def test_broken_structure_is_one_sentence_and_free(case, desk):
    before = dp.open_ledger().head
    done = CliRunner().invoke(main, release_args(desk, **STRUCTURE[case](desk)))
    wanted = 4 if case == "beyond the lifetime" else 2 if case.startswith(("epsilon", "delta")) else 1
    assert done.exit_code == wanted, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    usage = ["Usage: ", "Try ", ""] if wanted == 2 else []
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(usage) + 1, done.stderr
    assert all(line.startswith(start) for line, start in zip(lines, usage, strict=False))
    assert len(lines[-1].split()) > 6
    assert dp.open_ledger().head == before
    assert not (desk / "out").exists()


def test_a_good_release_still_works_there(desk):
    done = CliRunner().invoke(main, release_args(desk))
    assert done.exit_code == 0, done.output


def test_a_corrupt_ledger_is_one_sentence(desk, home):
    path = home / "ledger.db"
    for side in home.glob("ledger.db-*"):
        side.unlink()
    raw = bytearray(path.read_bytes())
    raw[:64] = os.urandom(64)
    path.write_bytes(raw)
    done = CliRunner().invoke(main, release_args(desk))
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not (desk / "out").exists()


def test_reading_a_hostile_parquet_says_nothing_of_it(tmp_path, capsys):
    """A unit column of nested lists, a column of structs: values all the same, so the run completes."""
    data = table(20)
    data["age"] = [[1, 2]] * 20
    data["cost"] = [{"deep": TOKEN}] * 20
    buffer = io.BytesIO()
    data.to_parquet(buffer)
    (tmp_path / "x.parquet").write_bytes(buffer.getvalue())
    release = dp.synthesize(tmp_path / "x.parquet", schema(), epsilon=1.0, generator="independent")
    assert TOKEN not in release.frame.to_csv()
    out, err = capsys.readouterr()
    assert TOKEN not in out + err

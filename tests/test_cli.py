"""The command line as a person uses it: each command's words, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import dpsynth as dp
from accountants import PlanError
from dpsynth.cli import GENERATOR_NAMES, main
from dpsynth.console import one_sentence
from dpsynth.demo import rows_file, run
from dpsynth.errors import CHARGED
from dpsynth.generators import GENERATORS, Independent
from tests.helpers import SCHEMA, table

ROOT = Path(__file__).parents[1]


@pytest.fixture
def desk(tmp_path, home, monkeypatch):
    """A folder to stand in, with a table and a schema."""
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCHEMA)
    table().to_parquet("t.parquet")
    return tmp_path


def say(command, code=0):
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done


def test_the_readme_path(desk):
    Path("book.csv").write_text(
        "column,type,values,min,max,missing,label\n"
        "patient,unit,,,,,\nsex,categorical,F|M,,,yes,Sex\nage,integer,,0,100,,Age\n"
    )
    Path("draft.yaml").write_text(say("schema draft book.csv").stdout)
    assert "2 columns, unit patient" in say("schema check draft.yaml").stdout
    assert (
        "Opened visits: lifetime epsilon 3 at delta 1e-8" in say("ledger open visits --epsilon 3 --delta 1e-8").stdout
    )
    planned = say("plan --schema s.yaml --epsilon 1 --generator mst")
    Path("plan.json").write_text(planned.stdout)
    assert json.loads(planned.stdout)["claim"]["budget"]["epsilon"] == "1"
    assert "protects   one patient (at most 2 rows)" in planned.stderr
    assert "Released" in say("release t.parquet --plan plan.json --dataset visits --out release").stdout
    assert "zero" not in say("sample release --rows 50 --out more").stdout
    assert len(pd.read_parquet("more/synthetic.parquet")) == 50
    given = say("sample release --rows 20 --given stage=III --out third")
    assert "no further cost" in given.stdout
    release_id = json.loads(say("ledger show visits --json").stdout)["accounts"][0]["releases"][0]["id"]
    say(f"sample --dataset visits --release {release_id} --rows 5 --out fourth")
    assert len(pd.read_parquet("fourth/synthetic.parquet")) == 5
    assert "no committed release" in say("sample --dataset visits --release abc --out fifth", 1).stderr
    assert set(pd.read_parquet("third/synthetic.parquet")["stage"]) == {"III"}
    assert say("verify release").stdout.count("ok") >= 3
    shown = say("ledger show").stdout
    assert "committed" in shown
    assert "4 drawn" in shown
    assert "intact" in say("ledger verify").stdout


def test_the_generators_offered_are_those_there_are(desk):
    assert sorted(GENERATORS) == list(GENERATOR_NAMES)
    assert all(hasattr(dp, name) for name in dp.__all__)
    assert "has no setting nonsense; it has" in say("plan --schema s.yaml --epsilon 1 --set nonsense=1", 1).stderr
    near = say("plan --schema s.yaml --epsilon 1 --set max_cell=1000", 1).stderr
    assert "has no setting max_cell; did you mean max_cells? It has" in near
    assert (
        "'stagee' is not a column; did you mean 'stage'?"
        in say("plan --schema s.yaml --epsilon 1 --set target=stagee", 1).stderr
    )


@pytest.mark.parametrize(
    "option", ["--schema s.yaml", "--epsilon 1", "--delta 1e-9", "--generator aim", "--set max_cells=9", "--purpose x"]
)
def test_what_a_plan_says_cannot_be_said_again(desk, option):
    """Least of all without a word: a plan's generator once won over the one that was typed."""
    Path("plan.json").write_text(say("plan --schema s.yaml --epsilon 1 --generator independent").stdout)
    say("ledger open visits --epsilon 3")
    told = say(f"release t.parquet --plan plan.json {option} --dataset visits --out release", 2).stderr
    assert f"--plan already holds what {option.split()[0]} would say" in told
    assert not Path("release").exists()


def test_a_policy_for_a_generator_that_does_not_exist_is_noted(desk):
    Path("policy.yaml").write_text("generators: [aimm, mst, opacus]\n")
    told = say("ledger open visits --epsilon 3 --policy policy.yaml").stderr
    assert "Note: the policy admits the generator 'aimm', which dpsynth does not have; did you mean 'aim'?" in told
    assert "'mst'" not in told
    assert "'opacus'" not in told


def test_help_does_not_wait_for_heavy_libraries():
    script = "import sys; sys.argv = ['dpsynth', '--help']; import dpsynth.cli as c\n"
    script += (
        "try: c.main()\nexcept SystemExit: print(sorted({'scipy', 'pandas', 'sqlalchemy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().endswith("[]")


def test_what_is_charged_and_left_is_told_at_one_delta(desk):
    say("ledger open visits --epsilon 3 --delta 1e-8")
    done = say("release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release")
    line = done.stdout.splitlines()[-1]
    assert line in say("ledger show").stdout
    assert "of 3 is charged at delta 1e-8" in line


def test_verify_exit_codes(desk, monkeypatch):
    say("ledger open visits --epsilon 3")
    say("release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release")
    pem = say("keys show").stdout
    Path("signer.pem").write_text(pem)
    monkeypatch.setenv("DPSYNTH_HOME", str(desk / "receiver"))
    say("verify release", 3)
    say("keys trust signer.pem")
    say("verify release", 0)
    path = Path("release/synthetic.parquet")
    frame = pd.read_parquet(path)
    frame.loc[0, "age"] = 1
    frame.to_parquet(path)
    say("verify release", 1)
    say("verify nowhere", 1)


def test_a_receiver_is_not_told_to_open_an_account(desk, monkeypatch):
    say("ledger open visits --epsilon 3")
    say("release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release")
    monkeypatch.setenv("DPSYNTH_HOME", str(desk / "receiver"))
    told = say("sample release --rows 5 --out more", 1).stderr
    assert "only whoever made the release can draw" in told
    assert "ledger open" not in told


def test_a_profile_says_whether_the_plan_fits(desk):
    say("ledger open visits --epsilon 1.1")
    Path("plan.json").write_text(say("plan --schema s.yaml --epsilon 1 --generator independent").stdout)
    assert "Does this release fit what is left? yes" in say("profile plan.json --dataset visits").stdout
    say("release t.parquet --plan plan.json --dataset visits --out release")
    assert "fit what is left? no, rule lifetime" in say("profile plan.json --dataset visits").stdout


def test_a_release_drawn_with_columns_given_says_so_first(desk):
    say("ledger open visits --epsilon 3")
    say("release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release")
    say("sample release --rows 5 --given stage=III --out third")
    assert "supplied, and not protected: the columns stage." in Path("third/README.txt").read_text()
    assert "supplied" not in Path("release/README.txt").read_text()


def test_an_epsilon_beyond_all_numbers_is_a_refusal_of_one_sentence(desk):
    assert "choose a smaller epsilon" in say("plan --schema s.yaml --epsilon 1e9 --generator mst", 1).stderr


def test_a_checked_ledger_says_whether_an_anchor_was_held_against_it(desk):
    say("ledger open visits --epsilon 3")
    assert "1 rows, held against no anchor" in say("ledger verify").stdout
    say("--anchor a.json ledger anchor")
    assert "1 rows, its head agrees with the anchor" in say("--anchor a.json ledger verify").stdout


def test_a_refusal_says_what_fits(desk):
    say("ledger open visits --epsilon 1.1")
    arguments = "release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out"
    say(f"{arguments} one")
    refused = say(f"{arguments} two", 4)
    assert refused.stderr.startswith("Refused (lifetime)") or "Refused (lifetime)" in refused.stderr
    assert "At most epsilon" in refused.stderr
    assert not Path("two").exists()


def test_an_account_is_opened_once(desk):
    say("ledger open visits --epsilon 1")
    assert "visits" in say("ledger open visits --epsilon 9", 1).stderr
    assert (
        "no account" in say("release t.parquet --schema s.yaml --epsilon 1 --dataset other --out x", 1).stderr.lower()
    )


def test_reservations_can_be_voided_only_before_they_run(desk):
    say("ledger open visits --epsilon 3")
    say("release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release")
    release_id = say("ledger show").stdout.splitlines()[1].split()[0]
    assert "committed" in say(f"ledger void visits {release_id}", 1).stderr


@pytest.mark.parametrize(
    "command",
    [
        *["", "plan", "profile", "release", "sample", "verify", "certificate", "demo", "schema", "ledger", "keys"],
        *["schema draft", "schema check", "keys new", "keys show", "keys trust"],
        *[f"ledger {name}" for name in ("open", "amend", "show", "anchor", "verify", "void")],
    ],
)
def test_help_has_words_and_commands_have_examples(command):
    text = say(f"{command} --help").stdout
    assert "Usage" in text
    assert "dpsynth " in text.split("Options:")[-1]
    assert "..." not in text.split("Commands:")[-1] or "Commands:" not in text


@pytest.mark.parametrize(
    "command",
    [
        "plan --schema s.yaml --epsilon abc",
        "ledger open other --epsilon 1 --delta 2",
        "ledger open other --epsilon 1 --delta0 nan",
        "ledger amend visits --epsilon -1",
        "sample --out x",
        "sample --dataset visits --out x",
        "sample release --dataset visits --release abc --out x",
        "release t.parquet --dataset visits --out x",
        "release t.parquet --plan p.json --epsilon 1 --dataset visits --out x",
        "plan --schema s.yaml --epsilon 1 --set rounds",
        "plan --schema s.yaml --epsilon 1 --generator magic",
        "sample release --given stage --out x",
    ],
)
def test_wrong_usage_exits_with_2(command, desk):
    say("ledger open visits --epsilon 1")
    say(command, 2)


def test_a_wrong_codebook_is_noted_from_the_noisy_counts(desk):
    """The whole column is outside the schema's values: hundreds of standard deviations, so no accident."""
    say("ledger open visits --epsilon 9")
    table(3000).assign(stage="fourth").to_parquet("t.parquet")
    noted = say("release t.parquet --schema s.yaml --epsilon 8 --generator independent --dataset visits --out release")
    assert "Note: by noisy counts something is wrong (codebook): read report.html." in noted.stdout


def test_interrupting_a_running_release_charges_it(desk):
    """Ctrl-C for real: a child at work on a slow generator gets SIGINT."""
    say("ledger open visits --epsilon 3")
    script = (
        "import os, signal, threading, dpsynth.session as s\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whoever runs the tests may have it ignored
        "from dpsynth.cli import main\n"
        "real = s.PrivateTable\n"
        "def opened(*a):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(*a)\n"
        "s.PrivateTable = opened\n"
        "main('release t.parquet --schema s.yaml --epsilon 1 --dataset visits --out release'.split())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    stopped = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, env=env)
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    release_id = say("ledger show").stdout.splitlines()[1].split()[0]
    told = f"Interrupted. Release {release_id} was charged epsilon 1 at delta 1e-9 and forfeited."
    assert told in stopped.stderr
    assert "forfeited (interrupted)" in say("ledger show visits").stdout
    assert not Path("release").exists()


def test_a_demo_nowhere_is_one_sentence(desk):
    pytest.importorskip("statsmodels")
    Path("file").write_text("")
    told = say("demo --out file/x", 1).stderr
    assert told.startswith(f"Error: cannot write to {Path('file/x').absolute()} (")
    assert told.endswith("; choose another folder\n")


def test_the_demo(tmp_path, capsys):
    pytest.importorskip("statsmodels")
    assert rows_file().exists()
    run(tmp_path / "demo")
    said = capsys.readouterr().out
    assert "Refused (lifetime)" in said
    tries = [line.split() for line in said.split("Try:\n")[1].splitlines()]
    for home, anchor, _, *command in tries:
        env = dict(pair.split("=", 1) for pair in (home, anchor))
        assert CliRunner().invoke(main, command, env=env).exit_code == 0
    assert [line[3] for line in tries] == ["verify", "sample", "ledger"]
    assert "private selections" in said
    assert "noise alone explains" in said
    frame = pd.read_parquet(tmp_path / "demo" / "release" / "synthetic.parquet")
    assert len(frame.columns) == 12
    assert 15_000 < len(frame) < 19_000
    run(tmp_path / "demo")  # a second one stands beside the first
    assert (tmp_path / "demo-2" / "release").is_dir()


def test_a_write_that_fails_after_the_charge_says_how_to_draw_what_was_paid_for(desk, monkeypatch):
    say("ledger open visits --epsilon 3 --delta 1e-8")
    with monkeypatch.context() as broken:
        broken.setattr("dpsynth.release.bundle.write_folder", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
        said = say("release t.parquet --schema s.yaml --epsilon 1 --generator mst --dataset visits --out out", 1).stderr
    assert "The release is charged and its model kept" in said
    again = said.split("`dpsynth ")[1].split("`")[0].replace("FOLDER", "later")
    assert "Released" in say(again).stdout or Path("later/synthetic.parquet").exists()
    assert len(json.loads(say("ledger show visits --json").stdout)["accounts"][0]["releases"]) == 1


def test_long_stages_say_how_long_they_take(monkeypatch, capsys):
    """By the share of the plan that is done and a clock, on standard error; short ones say nothing."""
    from dpsynth import console
    from dpsynth.progress import Step

    now = [0.0]
    monkeypatch.setattr(console, "monotonic", lambda: now[0])
    lines = console._Lines()
    for at, done in ((0, 0.0), (2, 0.25), (60, 0.5), (7200, 0.61), (7300, 1.0)):
        now[0] = float(at)
        lines(Step("AIM", done, "a note"))
    assert capsys.readouterr().err.splitlines() == [
        "AIM 0%  a note",
        "AIM 25%  a note",
        "AIM 50%  after 60 s, about 60 s left  a note",
        "AIM 61%  after 2.0 h, about 77 min left  a note",
        "AIM 100%  after 2.0 h  a note",
    ]
    assert console.left(100.0, None) == console.left(1.0, 0.5) == ""


def test_an_error_says_whether_the_run_was_charged(desk, monkeypatch):
    say("ledger open visits --epsilon 3")
    release = "release t.parquet --schema s.yaml --epsilon 1 --generator independent --dataset visits --out release"
    assert CHARGED not in say(release.replace("t.parquet", "none.parquet"), 1).stderr

    def broken(*_):
        raise PlanError("it does not work here")

    monkeypatch.setattr(Independent, "fit", broken)
    assert say(release, 1).stderr.endswith(f"Error: it does not work here\n{CHARGED}\n")
    assert "forfeited" in say("ledger show visits").stdout


def test_a_reader_that_went_away_is_no_error_to_report():
    with pytest.raises(BrokenPipeError), one_sentence():  # click ends the command quietly
        raise BrokenPipeError

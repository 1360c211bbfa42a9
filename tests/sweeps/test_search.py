"""A search by Optuna: trials are members, their values figures of the results, and a study goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_jax import runs, sweep
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.runs import locks
from ddpm_jax.sweeps import expansion, search

STAND_IN = Path(__file__).parents[1] / "stand_in_run.py"

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("stand_ins")

FILE = """
from ddpm_jax.config.base import base

def get_config():
    return base()

def search(trial):
    rate = trial.suggest_float("rate", 1e-4, 1e-2, log=True)
    {}
    return {{"optimizer.learning_rate": rate}}
"""
METRIC = "--metric=likelihood.test.value"  # a stand-in's is (log10 of its rate / 1e-3) squared


def write(more="pass"):
    Path("x.py").write_text(FILE.format(more))


def go(*words, trials=4):
    sweep.main(["--config=x.py", "--workdir=root", "--search=optuna", f"--trials={trials}", METRIC, *words])


def refused(*words):
    with pytest.raises(UserError) as caught:
        sweep.main(["--config=x.py", "--workdir=root", *words])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def trials():
    backend = optuna.storages.journal.JournalFileBackend("root/optuna.journal")
    return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend)).trials


def results():
    """The learning rate and the figure of every finished run."""
    found = [json.loads(path.read_text()) for path in Path("root").glob("*/result.json")]
    return {each["config"]["optimizer"]["learning_rate"]: each["likelihood"]["test"]["value"] for each in found}


def test_trials_are_members_and_a_study_goes_on(capsys):
    write()
    go("--plan")
    assert not Path("root").exists()
    assert capsys.readouterr().out == (
        "4 trials, 0 ended, 0 cut off; a run without changes: 400 steps, 51,200 images\n"
    )
    go()
    said = capsys.readouterr().out
    assert {trial.params["rate"]: trial.value for trial in trials()} == results()
    best = min(results().values())
    assert f"best of 4 trials: likelihood.test.value {best:g} with optimizer.learning_rate=" in said
    assert said.endswith("4 runs done in root\n")
    go("--jobs=2", trials=7)
    assert "7 trials, 4 ended, 0 cut off" in capsys.readouterr().out
    assert len(results()) == 7  # no rate is drawn again
    assert {trial.params["rate"]: trial.value for trial in trials()} == results()
    go(trials=7)
    assert len(trials()) == 7


def test_maximise(capsys):
    write()
    go("--maximise")
    assert f"likelihood.test.value {max(results().values()):g} with" in capsys.readouterr().out
    assert refused("--search=optuna", "--trials=5", METRIC) == (
        "root/optuna.journal is of a search with --metric=likelihood.test.value --maximise; "
        "say the same, or choose another --workdir"
    )


def test_a_trial_that_was_cut_off_is_gone_on_with(capsys):
    """Killed while a member trains: the same member is run again, not another in its stead."""
    write()
    code = (
        "import sys\nfrom ddpm_jax import sweep\nfrom ddpm_jax.sweeps import expansion\n"
        "real = expansion.Member.command\n"
        f"expansion.Member.command = lambda m: [sys.executable, {str(STAND_IN)!r}, "
        "*real(m)[3:]]\nexpansion.check = lambda members, data=False: [400] * len(members)\n"
        f"sweep.main(['--config=x.py', '--workdir=root', '--search=optuna', '--trials=2', {METRIC!r}])"
    )
    slow = {"STAND_IN_SECONDS": "60"}
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **slow}) as first:
        while not (found := list(Path("root").glob("*/.lock"))) or not (held := locks.holder(found[0].parent)):
            assert first.poll() is None
        first.send_signal(signal.SIGKILL)
    (running,) = trials()
    assert not running.state.is_finished()
    os.kill(held.pid, signal.SIGKILL)
    go(trials=2)
    assert "2 trials, 0 ended, 1 cut off" in capsys.readouterr().out
    assert len(trials()) == 2
    assert trials()[0].params == running.params
    assert runs.finished(found[0].parent)
    assert {trial.params["rate"]: trial.value for trial in trials()} == results()


def test_a_search_that_is_told_to_make_room_goes_on_with_its_trial(monkeypatch):
    write()
    monkeypatch.setenv("STAND_IN_SECONDS", "60")
    real, told = time.sleep, []

    def pause(seconds):
        if not told and list(Path("root").glob("starts.txt")):
            told.append(os.kill(os.getpid(), signal.SIGUSR1))
        real(seconds)

    monkeypatch.setattr(time, "sleep", pause)
    with pytest.raises(Preempted):
        go(trials=2)
    (running,) = trials()
    assert not running.state.is_finished()
    monkeypatch.setenv("STAND_IN_SECONDS", "0")
    go(trials=2)
    assert len(trials()) == 2
    assert trials()[0].params == running.params
    assert {trial.params["rate"]: trial.value for trial in trials()} == results()


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 5000, b'{"a": 1, "checksum": "0"}', b'{"a":' * 600 + b"1" + b"}" * 600]
)
def test_a_damaged_result_is_one_trials_alone(content, capsys, monkeypatch):
    """It is told, the other trials go on, and the trial stays open."""
    write()
    real = search.figure

    def damage_first(folder, key):
        if not damaged:
            damaged.append((folder / runs.RESULT).write_bytes(content))
        return real(folder, key)

    damaged = []
    monkeypatch.setattr(search, "figure", damage_first)
    with pytest.raises(SystemExit):
        go(trials=3)
    said = capsys.readouterr()
    [_, line] = said.err.splitlines()[-2:]
    assert "result.json " in line
    assert [trial.state.name for trial in trials()] == ["RUNNING", "COMPLETE", "COMPLETE"]
    go(trials=3)
    assert [trial.state.name for trial in trials()] == ["COMPLETE"] * 3


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}\n", b"[" * 5000 + b"\n", b'{"op_code": 99}\n', b"null\nnull\n"])
def test_a_damaged_study_is_one_line(content):
    write()
    go(trials=1)
    path = Path("root/optuna.journal")
    whole = path.read_bytes()
    path.write_bytes(content + whole)
    assert refused("--search=optuna", "--trials=2", METRIC).startswith("root/optuna.journal cannot be read (")
    path.write_bytes(whole)
    go(trials=1)


def test_failed_and_pruned_trials(capsys):
    write(
        "import optuna\n    if trial.number == 1:\n        raise optuna.TrialPruned()\n"
        "    rate = 7.0 if trial.number == 2 else rate"
    )
    with pytest.raises(SystemExit):
        go()
    said = capsys.readouterr()
    assert "1 of 4 failed; a failed trial is not tried again:" in said.err
    assert [trial.state.name for trial in trials()] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]


def test_a_wrong_metric_is_told_after_the_first_run_and_can_be_mended():
    write()
    said = refused("--search=optuna", "--trials=3", "--metric=likelihood.test.valu")
    assert "has no figure 'likelihood.test.valu'; did you mean 'likelihood.test.value'?" in said
    assert len(results()) == 1
    go()
    assert {trial.params["rate"]: trial.value for trial in trials()} == results()
    assert len(results()) == 4  # the first was not run again
    starts = Path("root/starts.txt").read_text().splitlines()
    assert len(starts) == 4
    assert "is of a search with --metric=likelihood.test.value; say" in refused(
        "--search=optuna", "--trials=3", "--metric=steps"
    )


def test_wrong_searches(monkeypatch):
    Path("x.py").write_text(FILE.replace("def search", "def other").format("pass"))
    aim = ("--search=optuna", "--trials=3", METRIC)
    assert refused(*aim) == "--config=x.py: there is no function search(trial); see ddpm_jax.sweeps.search"
    write("return 3")
    assert refused(*aim).startswith("--config=x.py: search(trial) must return a mapping")
    write("return {'data.bach': 3}")
    assert refused(*aim).startswith("trial 1 (data.bach=3): config.data.bach: no such key; did you mean 'data.batch'?")
    assert not list(Path("root").glob("*/result.json"))
    assert refused("--search=optunna", "--trials=3", METRIC) == (
        "--search: unknown engine 'optunna'; did you mean 'optuna'?"
    )
    assert refused("--search=optuna", METRIC).startswith("--search needs --trials=N and --metric=KEY")
    assert refused(*aim, "--only=x").startswith("--only is of a sweep whose members are known")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert refused(*aim) == "--search=optuna needs Optuna: pip install -e '.[search]'"


def test_members_of_trials_are_named_by_their_hash():
    write()
    go(trials=1)
    (trial,) = trials()
    changes = {"optimizer.learning_rate": trial.params["rate"]}
    assert runs.finished(expansion.make_member("x.py", Path("root"), changes).folder)

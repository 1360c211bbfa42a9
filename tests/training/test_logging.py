"""Metrics: rows in metrics.jsonl, what a resumed run keeps of them, and trackers that fail."""

import json
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
from PIL import Image

from ddpm_jax.training import logging
from ddpm_jax.training.facts import Facts
from ddpm_jax.training.lines import read_lines
from ddpm_jax.training.logging import Log


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def strict():
    """A warning that a test does not expect is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_rows(tmp_path):
    log = Log(tmp_path, {})
    log.scalars(1, {"loss": 0.5})
    assert rows(tmp_path) == [{"step": 1, "loss": 0.5}]  # there at once, not only at the end
    log.scalars(2, {"loss": 0.25, "rate": 1e-3})
    log.picture(2, "samples", tmp_path / "none.png")
    log.close()
    assert rows(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "rate": 1e-3}]
    log.close()
    log.scalars(3, {"loss": 1.0})  # after its end a log is silent
    assert len(rows(tmp_path)) == 2


def test_a_resumed_run_keeps_the_rows_up_to_its_step(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": i, "learning_rate": 1}) + "\n" for i in range(1, 9))
    )
    log = Log(tmp_path, {}, resume_step=4)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4]
    log.scalars(5, {"loss": 0.0})
    log.close()
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5]
    Log(tmp_path, {}).close()
    assert rows(tmp_path) == []


def test_damaged_lines_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\n3\n[1]\n{"loss": 1}\n\n{"step": 2}\n{"step": 3, "lo')
    assert read_lines(path) == [{"step": 1}, {"step": 2}]
    assert read_lines(tmp_path / "none") == []
    log = Log(tmp_path, {}, resume_step=9)
    log.scalars(10, {"loss": 1.0})
    log.close()
    assert rows(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 10, "loss": 1.0}]


def test_truncation_is_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(UserWarning, match=r"logging to metrics.jsonl failed, the run goes on: .*No space left"):
        log = Log(tmp_path, {}, resume_step=1)
    log.scalars(2, {"loss": 0.0})
    log.close()
    assert rows(tmp_path) == [{"step": 1}, {"step": 2}]


def test_a_sink_that_fails_is_told_about_once_and_left_out(tmp_path, monkeypatch):
    calls = []

    def broken(self, step, row):
        calls.append(row)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logging.Lines, "write", broken)
    log = Log(tmp_path, {})
    with pytest.warns(UserWarning, match=r"logging to metrics.jsonl failed and stops here, the run goes on") as caught:
        log.scalars(1, {"loss": 0.0})
        log.scalars(2, {"loss": 0.0})
    assert len(caught) == len(calls) == 1
    log.close()


class Tracker:
    """Stands for the wandb module and for its run."""

    def __init__(self, fail=()):
        self.fail, self.calls, self.arguments = fail, [], None

    def init(self, **arguments):
        self.arguments = arguments
        return self._do("init", self)

    def log(self, values, step):
        self._do("log", (step, values))

    def finish(self):
        self._do("finish", None)

    def Image(self, path):
        return path

    def _do(self, name, value):
        self.calls.append((name, value))
        if name in self.fail:
            raise RuntimeError("not today")
        return value


@pytest.fixture
def tracker(monkeypatch):
    def make(*fail):
        made = Tracker(fail)
        module = types.SimpleNamespace(init=made.init, Image=made.Image)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return made

    return make


def test_tracker_gets_everything(tmp_path, tracker):
    made = tracker()
    log = Log(tmp_path / "run", {"seed": 3}, wandb="offline", project="p", group="")
    (tmp_path / "run").mkdir(exist_ok=True)
    log.scalars(1, {"loss": 0.5})
    log.picture(1, "samples", tmp_path / "x.png")
    log.close()
    assert (made.arguments["project"], made.arguments["mode"], made.arguments["name"]) == ("p", "offline", "run")
    assert made.arguments["config"] == {"seed": 3}
    assert made.arguments["group"] is None
    assert made.calls[1:] == [
        ("log", (1, {"loss": 0.5})),
        ("log", (1, {"samples": str(tmp_path / "x.png")})),
        ("finish", None),
    ]


def test_the_same_folder_is_the_same_run(tmp_path, tracker):
    identities = []
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        made = tracker()
        Log(tmp_path / name, {}, wandb="online").close()
        identities.append(made.arguments["id"])
        assert made.arguments["resume"] == "allow"
    assert identities[0] == identities[1] != identities[2]


def test_an_identity_that_is_given_is_the_runs(tmp_path, tracker):
    made = tracker()
    Log(tmp_path, {}, wandb="online", identity="abc").close()
    assert made.arguments["id"] == "abc"


def test_a_tracker_that_does_not_start(tmp_path, tracker):
    tracker("init")
    with pytest.warns(UserWarning, match="logging to W&B failed, the run goes on: not today"):
        log = Log(tmp_path, {}, wandb="online")
    log.scalars(1, {"loss": 0.5})
    log.close()
    assert len(rows(tmp_path)) == 1


def test_a_tracker_that_fails_later(tmp_path, tracker):
    made = tracker("log", "finish")
    log = Log(tmp_path, {}, wandb="offline")
    with pytest.warns(UserWarning, match="logging to W&B failed and stops here, the run goes on: not today") as caught:
        log.scalars(1, {"loss": 0.5})
        log.scalars(2, {"loss": 0.5})
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="logging to a picture failed, the run goes on"):
        log.picture(2, "samples", tmp_path / "x.png")
    with pytest.warns(UserWarning, match="logging to a tracker's end failed"):
        log.close()
    assert [name for name, _ in made.calls] == ["init", "log", "log", "finish"]
    assert [row["step"] for row in rows(tmp_path)] == [1, 2]


def test_off_asks_for_no_tracker(tmp_path, tracker):
    made = tracker()
    Log(tmp_path, {}, wandb="off").close()
    assert made.calls == []


def test_tensorboard(tmp_path):
    Image.new("L", (4, 4), 128).save(tmp_path / "x.png")
    log = Log(tmp_path, {}, tensorboard=True)
    log.scalars(1, {"loss": 0.5})
    log.picture(1, "samples", tmp_path / "x.png")
    log.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"loss" in content
    assert b"samples" in content


@pytest.mark.slow
def test_wandb_offline_needs_no_account(tmp_path, monkeypatch):
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", "1234567890abcdef1234567890abcdef12345678")
    (tmp_path / "run").mkdir()
    log = Log(tmp_path / "run", {"seed": 1}, wandb="offline")
    log.scalars(1, {"loss": 0.5})
    log.close()
    wandb.teardown()  # its service writes in a process of its own; as at the end of a command, wait for that
    (file,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    assert b"loss" in file.read_bytes()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path / "run") for path in written)  # nothing in the user's home
    assert not any(b"1234567890abcdef1234567890abcdef" in path.read_bytes() for path in written)


SERVICE_DIES = """
import os, signal, sys
from pathlib import Path
from ddpm_jax import commands
from ddpm_jax.training.logging import Log

def main(arguments):
    folder = Path(arguments[0])
    log = Log(folder, {}, wandb="offline")
    log.scalars(1, {"loss": 0.5})
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name.startswith("wandb") and int(rest.split()[1]) == os.getpid():
            os.kill(int(stat.parent.name), signal.SIGKILL)
            print("killed")
    for step in range(2, 50):
        log.scalars(step, {"loss": 0.5})
    log.close()
    print("done")

commands.run(main)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="its service is found in /proc")
def test_a_service_of_a_tracker_that_dies_costs_a_line(tmp_path):
    (tmp_path / "program.py").write_text(SERVICE_DIES)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "WANDB_API_KEY": ""}
    line = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "killed\ndone\n"), done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert len(rows(tmp_path)) == 49


def test_a_log_that_could_not_be_opened_loses_no_row_at_the_next_start(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    with pytest.warns(UserWarning, match=r"logging to metrics.jsonl failed"):
        log = Log(tmp_path, {})
    facts = Facts(1.0, 0.5, *log.mark)  # of a checkpoint that is saved meanwhile
    log.close()
    path.rmdir()
    rows = [{"step": 1, "loss": 2.0, "learning_rate": 0.5}, {"step": 2, "validation_loss": 0.5}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.warns(UserWarning, match="is not as it was at step 2"):
        Log(tmp_path, {}, resume_step=2, facts=facts).close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows

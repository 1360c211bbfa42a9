"""The command to train: what it refuses before it writes anything, and what a finished run leaves."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from ddpm_jax import data, runs
from ddpm_jax.errors import UserError
from ddpm_jax.files import read_record
from ddpm_jax.pipeline import screen
from ddpm_jax.train import main, train

ROOT = Path(__file__).resolve().parents[1]
DIGITS = f"--config={ROOT}/configs/digits/ddpm.py"


def refused(*words):
    """The error of the command, which has written nothing that was not there."""
    before = sorted(map(str, Path().rglob("*")))
    with pytest.raises(UserError) as caught:
        main([DIGITS, *words])
    assert "\n" not in str(caught.value)
    assert sorted(map(str, Path().rglob("*"))) == before
    return str(caught.value)


@pytest.mark.usefixtures("nothing_prepared")
class TestRefused:
    @pytest.mark.parametrize(
        ("word", "line"),
        [
            ("model.name=unett", "config.model.name: unknown name 'unett'; did you mean 'unet'?"),
            ("model.multipliers=(1,1,1,1,1)", "config.model.multipliers: an image of 8x8 can be halved 3 times, not 4"),
            ("model.multipliers=()", "config.model.multipliers: "),
            ("model.attention_resolutions=(5,)", "config.model.attention_resolutions: "),
            ("model.dtype=float16", "config.model.dtype: "),
            ("data.name=mnist", "data set 'mnist': TFDS data directory "),
            ("data.name=digit", "data set 'digit': TFDS data directory "),
        ],
    )
    def test_values(self, word, line):
        assert refused(f"--config.{word}").startswith(line)

    def test_data_directories(self):
        line = refused("--config.data.name=mnist", "--config.data.dir=missing")
        assert "missing does not exist: correct config.data.dir" in line
        Path("empty").mkdir()
        line = refused("--config.data.name=mnist", "--config.data.dir=empty")
        assert "data set 'mnist' is not prepared" in line
        assert "tfds build mnist" in line
        line = refused("--config.data.name=mnits", "--config.data.dir=empty")
        assert "unknown data set 'mnits'" in line
        assert "did you mean 'mnist'?" in line

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--extend", "--workdir=run"], "--config: a run that is made longer has its own config"),
            (["--from="], "--from: the name of the folder is empty"),
            (["--from=run"], "--from: run holds no run"),
        ],
    )
    def test_beginnings_and_extensions(self, words, line):
        assert refused(*words).startswith(line)

    def test_a_longer_run_needs_a_folder(self):
        with pytest.raises(UserError, match=r"--extend: which run\? give its folder"):
            main(["--extend"])
        with pytest.raises(UserError, match=r"--from: that is for a new run"):
            main(["--extend", "--workdir=run", "--from=other"])
        with pytest.raises(UserError, match=r"run holds no run"):
            main(["--extend", "--workdir=run", "--config.training.steps=3"])

    def test_run_folders(self):
        Path("file").write_text("")
        Path("full").mkdir()
        Path("full", "metrics.jsonl").write_text("")
        assert refused("--workdir=") == "--workdir: the name of the folder is empty"
        assert refused("--workdir=file").startswith("file cannot be a run folder (file is not a folder)")
        assert refused("--workdir=file/under").startswith("file/under cannot be a run folder (")
        assert refused("--workdir=full").startswith("full is no run's folder, and metrics.jsonl in it would be over")
        assert "File name too long" in refused("--workdir=" + "x" * 300)

    def test_folder_of_another_config(self, tiny_config):
        runs.make_folder(Path("run"), tiny_config)
        line = refused("--workdir=run")
        assert line.startswith("run holds a run of another config; choose another --workdir, or undo: data.batch is 64")

    def test_a_job_that_cannot_be_made_leaves_no_folder(self, monkeypatch):
        def fail(*_):
            raise UserError("no such job")

        monkeypatch.setattr("ddpm_jax.pipeline.job.make_job", fail)
        assert refused("--workdir=run") == "no such job"

    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_a_data_set_without_a_split(self, monkeypatch, split):
        whole = data.load("digits")
        part = data.Dataset(whole.description, {k: v for k, v in whole.sources.items() if k != split})
        monkeypatch.setattr(data, "load", lambda *_: part)
        assert refused("--workdir=run").startswith(f"data set 'digits' has no split {split!r}")


def test_a_finished_run(trained, tiny_config):
    names = sorted(path.name for path in trained.iterdir())
    assert names == [".lock", "checkpoints", "config.json", "data.json", "metrics.jsonl", "result.json"]
    written = json.loads((trained / "result.json").read_text())
    assert written["config"] == json.loads(json.dumps(tiny_config.to_dict()))
    assert written["finished"] is True
    assert (written["steps"], written["images_seen"], written["global_batch"]) == (2, 16, 8)
    assert written["training_flops"] > 0
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    assert [row["step"] for row in rows if "validation_loss" in row] == [2]


def test_the_same_command_after_the_end(trained, tmp_path, tiny_config, capsys):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text("{")
    with pytest.warns(UserWarning, match="is set aside as result.json.damaged"):
        result = train(tiny_config, tmp_path / "run")
    assert "going on with" in capsys.readouterr().out
    assert result["steps"] == 2
    written = read_record(tmp_path / "run" / "result.json")
    assert {key: written[key] for key in result} == json.loads(json.dumps(result))


def test_a_run_whose_last_step_is_no_multiple_has_its_last_row_once(trained, tmp_path, tiny_config):
    """However often the same command is given after it."""
    shutil.copytree(trained, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    for _ in range(2):
        train(tiny_config, tmp_path / "run")
        assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_processes_with_other_data_are_refused_before_anything_is_written(tmp_path, tiny_config, monkeypatch):
    asked = []

    def check_alike(facts):
        asked.append(facts)
        raise UserError("the processes differ in the data")

    monkeypatch.setattr("ddpm_jax.commands.joining.check_alike", check_alike)
    with pytest.raises(UserError, match="differ in the data"):
        train(tiny_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (facts,) = asked
    assert len(facts) == 1 and json.dumps(facts)


def test_a_damaged_config_is_written_anew_by_its_own_command_alone(trained, tmp_path, tiny_config):
    """The checkpoints tell whose they are."""
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    whole = path.read_text()
    for content in (whole[:100], whole.replace('"batch": 8', '"batch": 9'), ""):
        path.write_text(content)
        tiny_config.data.batch = 16
        with (
            pytest.warns(UserWarning, match="is damaged and will be written anew"),
            pytest.raises(UserError, match="were saved with another config"),
        ):
            train(tiny_config, tmp_path / "run")
        assert path.read_text() == content
        tiny_config.data.batch = 8
        with pytest.warns(UserWarning, match="is damaged and will be written anew"):
            train(tiny_config, tmp_path / "run")
        assert path.read_text() == whole


def test_a_run_in_the_middle_keeps_what_its_validation_losses_depend_on(trained, tmp_path, tiny_config):
    """With its config.json damaged too. Once it is trained they may change."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    result = (tmp_path / "run" / "result.json").read_text()
    tiny_config.evaluation.validation_images = 4
    (tmp_path / "run" / "result.json").unlink()
    with pytest.warns(UserWarning), pytest.raises(UserError, match="were saved with another config"):
        train(tiny_config, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text(result)
    with pytest.warns(UserWarning):
        assert train(tiny_config, tmp_path / "run")["steps"] == 2
    (tmp_path / "run" / "result.json").unlink()  # its config reads now, and is what is compared
    assert train(tiny_config, tmp_path / "run")["steps"] == 2


@pytest.mark.slow
def test_a_run_that_fails_closes_its_log(tmp_path, tiny_config, monkeypatch):
    closed = []
    monkeypatch.setattr("ddpm_jax.training.logging.Log.close", lambda self: closed.append(self))  # noqa: PLW0108

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(screen.Screen, "report", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config, tmp_path / "run")
    assert len(closed) == 1


def test_once(trained, tmp_path, capsys, monkeypatch):
    """A finished run is left as it is; one that is not is gone on with."""
    shutil.copytree(trained, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    monkeypatch.setattr("ddpm_jax.runs.results.same_figures", lambda *_: True)  # the command's config is another
    main([DIGITS, f"--workdir={tmp_path / 'run'}", "--once"])
    assert capsys.readouterr().out == f"{tmp_path / 'run'} is finished\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    (tmp_path / "run" / "result.json").unlink()
    going_on = []
    monkeypatch.setattr(sys.modules[main.__module__], "train", lambda *words, **more: going_on.append(words))
    monkeypatch.setattr("ddpm_jax.commands.starting.start_jax", lambda *words, **more: None)
    main([DIGITS, f"--workdir={tmp_path / 'run'}", "--once"])
    assert going_on[0][1:4] == (tmp_path / "run", 0, True)


@pytest.mark.slow
def test_bad_steps_are_passed_over_only_so_many_in_a_row(tmp_path, tiny_config):
    """A learning rate that no parameter survives: from the second step on there is no finite loss."""
    tiny_config.training.steps, tiny_config.training.dispatch = 12, 4
    tiny_config.optimizer.learning_rate, tiny_config.optimizer.warmup = 1e30, 0
    for most in (0, 6):
        tiny_config.training.skip_bad = most
        with pytest.raises(UserError, match=rf"^step {most + 2}: the loss or its gradient is not finite.*skip_bad"):
            train(tiny_config, tmp_path / f"run{most}")


@pytest.mark.slow
def test_a_checkpoint_after_some_minutes(tmp_path, tiny_config, monkeypatch):
    """By the clock, between milestones; what is left of the run is the same."""
    from ddpm_jax.training.checkpoints import Checkpoints

    saved = []
    real = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda self, state, facts: (saved.append((int(state.step), facts.milestone)), real(self, state, facts)),
    )
    tiny_config.training.steps, tiny_config.training.dispatch, tiny_config.training.save_every = 8, 2, 4
    tiny_config.training.save_minutes = 1e-9
    train(tiny_config, tmp_path / "run")
    assert [pair for pair in saved if pair[1]] == [(4, True), (8, True)]
    assert (2, False) in saved


@pytest.mark.slow
def test_a_signal_in_the_last_dispatch_is_heard(tmp_path, tiny_config, monkeypatch):
    """What is trained is saved; the evaluation, which may be long, is for the next start."""
    from ddpm_jax.commands.preemption import Notice
    from ddpm_jax.errors import Preempted

    notice = Notice()
    monkeypatch.setattr(screen.Screen, "milestone", lambda self, progress, loss: notice(15, None))
    with pytest.raises(Preempted):
        train(tiny_config, tmp_path / "run", notice=notice)
    assert runs.latest_checkpoint(tmp_path / "run") == 2
    assert not runs.finished(tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_is_asked_to_make_room_saves_and_goes_on_as_if_it_had_not_been(tmp_path, tiny_config):
    """Equal rows of the log too: what was not logged yet is kept with the checkpoint."""
    from ddpm_jax.commands.preemption import Notice
    from ddpm_jax.errors import Preempted
    from ddpm_jax.training.lines import read_lines

    class After(Notice):
        def wanted(self):
            self.asked += 1
            return self.asked > 2

    tiny_config.training.steps, tiny_config.training.dispatch, tiny_config.training.log_every = 8, 2, 8
    train(tiny_config, tmp_path / "whole")
    with pytest.raises(Preempted):
        train(tiny_config, tmp_path / "parts", notice=After())
    assert [path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()] == ["4"]
    train(tiny_config, tmp_path / "parts")
    whole, parts = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    of_training = ("step", "loss", "gradient_norm", "learning_rate", "images_seen", "validation_loss")
    assert [[row.get(key) for key in of_training] for row in parts] == [
        [row.get(key) for key in of_training] for row in whole
    ]

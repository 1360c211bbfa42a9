"""Run folders: whose they are, what is refused, and that nothing is half-written."""

import errno
import json
import os

import pytest

from ddpm_jax import runs
from ddpm_jax.errors import Busy, UserError
from ddpm_jax.files import read_record


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_new_run_and_the_same_again(tmp_path, tiny_config):
    folder = tmp_path / "a" / "b"
    assert not runs.check_folder(folder, tiny_config)
    assert tree(tmp_path) == []
    runs.make_folder(folder, tiny_config)
    assert tree(folder) == ["checkpoints", "config.json"]
    assert runs.check_folder(folder, tiny_config)
    assert runs.read_config(folder).to_dict() == tiny_config.to_dict()
    tiny_config.logging.wandb = "offline"
    assert runs.check_folder(folder, tiny_config)


def test_an_empty_folder_is_good(tmp_path, tiny_config):
    assert not runs.check_folder(tmp_path, tiny_config)
    (tmp_path / ".config.json.123.part").write_text("{")  # a process was killed as it wrote it
    assert not runs.check_folder(tmp_path, tiny_config)


def test_files_of_others_may_be_there_before_the_run(tmp_path, tiny_config):
    """Such as its own log, by a shell's redirection. What the run would write must not be."""
    folder = tmp_path / "run"
    (folder / "notes").mkdir(parents=True)
    (folder / "log.txt").write_text("")
    assert not runs.check_folder(folder, tiny_config)
    for name in ("metrics.jsonl", "samples.png", "result.json"):
        (folder / name).write_text("mine")
        assert f"{folder} is no run's folder, and {name} in it would be" in refused(
            runs.check_folder, folder, tiny_config
        )
        (folder / name).unlink()
    (folder / "checkpoints").mkdir()
    assert "checkpoints in it would be overwritten" in refused(runs.check_folder, folder, tiny_config)
    (folder / "checkpoints").rmdir()
    with runs.claim(folder, tiny_config):
        pass
    assert (folder / "log.txt").exists() and runs.finished(folder)
    line = refused(runs.check_folder, tmp_path, tiny_config)
    assert line.startswith(f"{tmp_path} holds runs")


def test_another_config(tmp_path, tiny_config):
    runs.make_folder(tmp_path, tiny_config)
    tiny_config.data.batch = 16
    tiny_config.optimizer.ema = (0.9, 0.5)
    line = refused(runs.check_folder, tmp_path, tiny_config)
    assert line == (
        f"{tmp_path} holds a run of another config; choose another --workdir, or undo: "
        "data.batch is 16, there 8; optimizer.ema is (0.9, 0.5), there (0.9,)"
    )


def test_impossible_folders(tmp_path, tiny_config, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "under", tmp_path / ("x" * 300)):
        assert "cannot be a run folder (" in refused(runs.check_folder, folder, tiny_config)
    assert tree(tmp_path) == ["file"]
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    assert "config.json in it would be overwritten" in refused(runs.check_folder, tmp_path / "odd", tiny_config)
    assert "cannot be a run folder (Not a directory)" in refused(
        runs.make_folder, tmp_path / "file" / "under", tiny_config
    )
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # root may write anywhere
        assert f"{tmp_path} is not writable" in refused(runs.check_folder, tmp_path / "new", tiny_config)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device" in refused(runs.make_folder, tmp_path / "new", tiny_config)
    assert tree(tmp_path / "new") == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "cannot be read: Expecting value"),
        ("{", "cannot be read: Expecting property name"),
        ("[]", "it holds no object"),
        ("null", "it holds no object"),
        ('{"data": {"bach": 3}}', "config.data.bach: no such key; did you mean 'data.batch'?"),
        ('{"data": {"batch": "x"}}', "config.data.batch: 'x' is not of type int"),
        ('{"data": {"batch": NaN}}', "config.data.batch: nan is not of type int"),
        ('{"data": {"batch": 0}}', "config.data.batch: 0 is less than 1"),
        ('{"model": {"multipliers": 3}}', "config.model.multipliers: 3 is not of type tuple"),
        ("\udcff", "cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_damaged_config(tmp_path, tiny_config, content, line):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    words = refused(runs.read_config, tmp_path)
    assert words.startswith(str(path))
    assert line in words
    if "cannot be read" not in line and "no object" not in line:
        assert refused(runs.check_folder, tmp_path, tiny_config) == words
        return
    with pytest.warns(UserWarning, match="is damaged and will be written anew"):  # who trains has a config
        assert runs.check_folder(tmp_path, tiny_config)


def test_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        line = f"{folder} holds no run (config.json is missing); train one with --workdir={folder}"
        assert refused(runs.read_config, folder) == line
    assert "cannot be read" in refused(runs.read_config, tmp_path / ("x" * 300))


def test_a_claim_makes_the_folder_and_says_when_the_run_is_finished(tmp_path, tiny_config):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), runs.claim(folder, tiny_config):
        assert runs.check_folder(folder, tiny_config)
        raise KeyboardInterrupt
    assert not runs.finished(folder)
    with runs.claim(folder, tiny_config):
        (folder / "checkpoints" / "2" / "state").mkdir(parents=True)
        runs.write_result(folder, {"steps": 2})
        assert not runs.finished(folder)
    assert runs.finished(folder)
    assert read_record(folder / "result.json") == {"steps": 2, "finished": True}
    with pytest.raises(Busy, match="another process has finished"), runs.claim(folder, tiny_config, once=True):
        pass
    tiny_config.data.batch = 16
    with pytest.raises(UserError, match="holds a run of another config"), runs.claim(folder, tiny_config):
        pass


def test_where_a_run_is(tmp_path, trained):
    assert runs.finished(trained)
    assert runs.latest_checkpoint(trained) == 2
    assert runs.last_row(trained)["step"] == 2
    assert runs.last_row(trained, "loss", "elapsed_seconds")["images_seen"] == 16
    assert runs.last_row(trained, "no such figure") == {}
    assert runs.latest_checkpoint(tmp_path) is None
    assert runs.last_row(tmp_path) == {}
    (tmp_path / "checkpoints" / "30.orbax-checkpoint-tmp").joinpath("state").mkdir(parents=True)  # was being saved
    (tmp_path / "checkpoints" / "9" / "state").mkdir(parents=True)
    assert runs.latest_checkpoint(tmp_path) == 9
    rows = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(5000))
    (tmp_path / "metrics.jsonl").write_text(rows + '{"step": 5000, "lo')
    assert runs.last_row(tmp_path, "loss")["step"] == 4999


def test_identity_is_of_the_config_and_not_of_the_place(tmp_path, tiny_config):
    assert runs.identity(tmp_path / "run", tiny_config) == ""
    tiny_config.logging.group = "sweep"
    here = runs.identity(tmp_path / "run", tiny_config)
    assert len(here) == 12
    assert runs.identity(tmp_path / "elsewhere" / "run", tiny_config) == here
    tiny_config.logging.wandb = "online"
    assert runs.identity(tmp_path / "run", tiny_config) == here
    assert runs.identity(tmp_path / "run2", tiny_config) != here
    tiny_config.seed = 1
    assert runs.identity(tmp_path / "run", tiny_config) != here


def test_a_run_that_has_lost_its_checkpoints_is_not_begun_anew(tmp_path, tiny_config):
    folder = tmp_path / "run"
    runs.make_folder(folder, tiny_config)
    rows = [{"step": step, "validation_loss": 1.0} for step in (5, 10)]
    metrics = folder / "metrics.jsonl"

    def write(*kept):
        metrics.write_text("".join(json.dumps(row) + "\n" for row in kept))

    write({"step": 5, "loss": 1.0})
    with pytest.warns(UserWarning, match="begins anew, without its 1 rows"):  # killed before its first checkpoint
        assert runs.check_folder(folder, tiny_config)
    write(*rows)
    for there in (True, False):
        if not there:
            (folder / "checkpoints").rmdir()
        assert "has no checkpoint, though metrics.jsonl tells" in refused(runs.check_folder, folder, tiny_config)
    metrics.unlink()
    runs.write_result(folder, {"steps": 10})
    assert "has no checkpoint, though result.json tells" in refused(runs.check_folder, folder, tiny_config)
    (folder / "checkpoints" / "10").mkdir(parents=True)
    assert "has no checkpoint" in refused(runs.check_folder, folder, tiny_config)  # emptied, which is none
    (folder / "checkpoints" / "10" / "state").mkdir()
    assert runs.check_folder(folder, tiny_config)


def test_what_only_figures_depend_on_may_change_and_is_kept(tmp_path, tiny_config):
    folder = tmp_path / "run"
    runs.make_folder(folder, tiny_config)
    tiny_config.sampler.steps, tiny_config.evaluation.at_end = 7, True
    with runs.claim(folder, tiny_config):
        assert runs.read_config(folder).sampler.steps == 7
    tiny_config.sampler.ema = 0.0
    runs.write_result(folder, {"steps": 2})
    (folder / "checkpoints" / "2" / "state").mkdir(parents=True)
    assert runs.check_folder(folder, tiny_config)  # trained: the rows of its log are done


@pytest.mark.parametrize("name", ["result.json", "data.json", "config.json"])
def test_a_record_that_cannot_be_read_just_now_is_not_taken_for_damaged(tmp_path, tiny_config, monkeypatch, name):
    runs.make_folder(tmp_path, tiny_config)
    runs.write_result(tmp_path, {"steps": 2})
    runs.check_data(tmp_path, {"images": 3}, keep=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files", name)

    for module in ("folder", "results"):
        monkeypatch.setattr(f"ddpm_jax.runs.{module}.read_record", fail)
    action = {
        "result.json": lambda: runs.write_result(tmp_path, {"seed": 1}),
        "data.json": lambda: runs.check_data(tmp_path, {"images": 4}, keep=True),
        "config.json": lambda: runs.check_folder(tmp_path, tiny_config),
    }[name]
    with pytest.raises(OSError, match="Too many open files"):
        action()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_data_that_have_changed_are_refused(tmp_path):
    facts = {"description": {"levels": 17}, "splits": {"train": {"images": 3, "sha256": "ab"}}}
    runs.check_data(tmp_path, facts, keep=True)
    runs.check_data(tmp_path, facts)
    other = {"description": {"levels": 19}, "splits": facts["splits"]}
    assert "description.levels is 19, was 17" in refused(runs.check_data, tmp_path, other)
    content = (tmp_path / "data.json").read_text()
    for damaged in (content.replace("17", "19"), content.replace("checksum", "checksuM")):
        (tmp_path / "data.json").write_text(damaged)
        with pytest.warns(UserWarning, match="does not read"):
            runs.check_data(tmp_path, facts)

"""A run made longer: what follows, what is kept of it, and what is refused."""

import json
import shutil

import jax
import numpy as np
import pytest

from ddpm_jax import runs
from ddpm_jax.commands.preemption import Notice
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.files import write_record
from ddpm_jax.pipeline.extension import planned
from ddpm_jax.pipeline.restored import load_run
from ddpm_jax.pipeline.train import train
from ddpm_jax.reporting import ledger
from ddpm_jax.runs import folder
from ddpm_jax.training.lines import read_lines


@pytest.fixture
def copied(trained, tmp_path):
    """A finished run of two steps."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def longer(folder, *words, notice=None):
    config, extension = planned(folder, [f"--config.{word}" for word in words])
    return extension, train(config, folder, notice=notice, extension=extension)


@pytest.mark.slow
def test_with_a_constant_rate_a_longer_run_is_the_one_that_was_never_shorter(copied, tmp_path, tiny_config, capsys):
    """To the last bit: nothing but the learning rate depends on the budget. The folder tells what was done."""
    extension, result = longer(copied, "training.steps=5")
    assert "training.steps 2 -> 5; the learning rate goes on at" in capsys.readouterr().out
    tiny_config.training.steps = 5
    train(tiny_config, tmp_path / "straight")
    ours, straight = (load_run(folder) for folder in (copied, tmp_path / "straight"))
    for one, other in zip(jax.tree.leaves(ours.params), jax.tree.leaves(straight.params), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = [row for row in read_lines(copied / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]

    assert extension is not None and extension.step == 2
    (entry,) = result["extended"]
    assert (entry["step"], entry["changes"]) == (2, "training.steps 2 -> 5")
    assert entry["date"].startswith("20")
    assert runs.finished(copied) and runs.trained(copied)
    assert runs.read_config(copied).training.steps == 5
    assert json.loads((copied / "result.json").read_text())["extended"] == result["extended"]
    assert ledger.origins(result) == ["was made longer at step 2 (training.steps 2 -> 5)"]


@pytest.mark.slow
def test_the_rate_is_the_new_configs_from_there_on(copied, capsys):
    """Half-way of a cosine is half of its peak, whatever the run had come down to before."""
    words = ("training.steps=4", "optimizer.learning_rate=0.5", "optimizer.warmup=0", "optimizer.schedule=cosine")
    longer(copied, *words)
    assert "goes on at 0.25" in capsys.readouterr().out
    rates = {row["step"]: row["learning_rate"] for row in read_lines(copied / "metrics.jsonl") if "loss" in row}
    assert rates[3] == pytest.approx(0.25)
    assert rates[4] == pytest.approx(0.5 * np.cos(3 * np.pi / 8) ** 2)
    assert rates[2] < 1e-6  # its own, of its warm-up


@pytest.mark.slow
def test_one_that_was_cut_off_goes_on_by_the_same_command(copied, tiny_config):
    class At(Notice):
        def wanted(self):
            self.asked += 1
            return self.asked > 2

    with pytest.raises(Preempted):
        longer(copied, "training.steps=6", notice=At())
    assert not runs.finished(copied) and not runs.trained(copied)
    with pytest.raises(UserError, match="is not trained to its end"):
        planned(copied, ["--config.training.steps=9"])
    with pytest.raises(UserError, match=r"it was made longer, and goes on by --extend"):
        train(tiny_config, copied)
    extension, result = longer(copied, "training.steps=6")
    assert extension is None
    assert result["steps"] == 6 and len(result["extended"]) == 1
    extension, result = longer(copied, "training.steps=7")
    assert extension is not None and extension.step == 6
    assert [entry["step"] for entry in result["extended"]] == [2, 6]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--extend: nothing says how long"),
        (["optimizer.learning_rate=1e-3"], "--extend: nothing says how long"),
        (["training.steps=2"], "--extend: "),
        (["training.steps=2", "optimizer.learning_rate=0.1"], "config.training.steps: 2 is not more than the 2 steps"),
        (["training.steps=1"], "config.training.steps: 1 is not more than the 2 steps"),
        (["training.images=16"], "config.training.images: 16 is not more than the 2 steps of 8 images"),
        (["training.seconds=1e-6"], "config.training.seconds: 1e-06 is not more than the"),
        (["training.steps=9", "data.batch=4"], "config.data.batch: a longer run stays what it is"),
        (["training.steps=9", "sampler.ema=0.0"], "config.sampler.ema: a longer run stays what it is"),
        (["training.steps=9", "model.width=4"], "config.model.width: no such key; did you mean 'model.channels'?"),
        (["training.steps=x"], "config.training.steps: 'x' is not of type int"),
    ],
)
def test_what_makes_it_no_longer_or_another_run_is_refused(copied, words, line):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    with pytest.raises(UserError) as caught:
        longer(copied, *words)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_nothing_is_changed_where_the_data_are_others(copied):
    facts = json.loads((copied / "data.json").read_text())
    facts["splits"]["train"] = {**facts["splits"]["train"], "images": 3}
    record = {key: value for key, value in facts.items() if key != "checksum"}
    write_record(copied / "data.json", record)
    before = {path: path.read_bytes() for path in copied.glob("*.json*")}
    with pytest.raises(UserError, match="the data are not those that it was trained on"):
        longer(copied, "training.steps=5")
    assert {path: path.read_bytes() for path in copied.glob("*.json*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("last", ["record_extension", "write_result"])
def test_killed_while_it_is_recorded_it_is_made_longer_by_the_same_command(copied, monkeypatch, last):
    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    module = {"record_extension": "write_result", "write_result": "make_folder"}
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        made = folder.make_folder
        names = {"make_folder": lambda *words: made(*words) if words[1].training.steps == 2 else kill()}
        patched.setattr(folder, module[last], names.get(module[last], kill))
        longer(copied, "training.steps=3")
    assert len(runs.read_lineage(copied)["extended"]) == 1 and runs.read_config(copied).training.steps == 2
    extension, result = longer(copied, "training.steps=3")
    assert extension is not None and len(result["extended"]) == 1 and result["steps"] == 3


@pytest.mark.slow
def test_a_budget_that_another_limit_ends_is_refused(copied, tmp_path, tiny_config):
    """Images allow no more than there are."""
    tiny_config.training.images = 16
    train(tiny_config, tmp_path / "other")
    with pytest.raises(UserError, match=r"config.training.images: 16 is not more than the 2 steps of 8 images"):
        longer(tmp_path / "other", "training.steps=9")


def test_a_run_that_is_not_trained_is_not_made_longer(copied, tmp_path, tiny_config):
    (copied / "result.json").unlink()
    with pytest.raises(UserError, match=r"is not trained to its end \(step 2 of 2\)"):
        longer(copied, "training.steps=4")
    with pytest.raises(UserError, match="holds no run"):
        longer(tmp_path / "none", "training.steps=4")


def test_a_damaged_lineage_is_told(copied):
    (copied / "lineage.json").write_text("{")
    with pytest.raises(UserError, match=r"lineage.json does not read .*put a copy of it back"):
        longer(copied, "training.steps=4")

"""Parts of a user's own, in a package outside the checkout, through every command; and what is refused in one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_jax import plugins

TESTS = Path(__file__).parent


@pytest.fixture
def package(tmp_path):
    """A folder with the package `mine`, its config and the config's neighbour."""
    return Path(shutil.copytree(TESTS / "plugin_package", tmp_path / "theirs", ignore=shutil.ignore_patterns("__py*")))


def command(folder, *words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(TESTS.parent)])}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_part_of_every_kind_goes_through_every_command(package):
    """Trained by a config that lies anywhere, and read back by all that has only the run's folder."""
    run = package / "run"
    for words in (
        ("ddpm_jax.train", "--config=config.py", f"--workdir={run}"),
        ("ddpm_jax.sample", f"--workdir={run}", "--count=4"),
        ("ddpm_jax.evaluate", f"--workdir={run}", "--config.sampler.options.gain=0.5"),
        ("ddpm_jax.sweep", "--config=config.py", f"--workdir={package / 'members'}"),
        ("ddpm_jax.report", str(package / "members")),
    ):
        done = command(package, *words)
        assert done.returncode == 0, (words, done.stderr[-2000:])
    result = json.loads((run / "result.json").read_text())
    assert result["config"]["model"]["options"] == {"width": 16}
    assert result["quality"]["samples"]["features"] == "row and column means"
    assert result["finished"]
    members = sorted(json.loads(path.read_text())["config"]["sampler"]["options"]["gain"]
                     for path in (package / "members").glob("*/result.json"))  # fmt: skip
    assert members == [0.5, 1.0]


WRONG = {
    "model.options.wdth=3": "config.model.options.wdth",
    "model.options.width=wide": "config.model.options.width",
    "process.schedule_options.power=-1": "config.process.schedule",
    "sampler.options.gian=2": "config.sampler.options.gian",
    "data.options.images=1.5": "config.data.options.images",
    "objective.times_options.shar=1": "config.objective.times_options.shar",
    "evaluation.features_options.scale=x": "config.evaluation.features_options.scale",
    "process.schedule=mine.parts:Nothing": "config.process.schedule",
    "model.name=nowhere.at:all": "config.model.name",
    "model.name=mine.parts:backwards": "config.model.options.width",
    "sampler.name=heun": "config.sampler.options.gain",
}


@pytest.mark.parametrize("override", WRONG)
def test_what_is_wrong_with_them_is_a_line(package, monkeypatch, override):
    from ddpm_jax.config.loading import load_config
    from ddpm_jax.errors import UserError
    from ddpm_jax.experiment import checks

    monkeypatch.syspath_prepend(str(package))
    config = load_config(str(package / "config.py"), [f"--config.{override}"])
    with pytest.raises(UserError) as raised:
        checks.check(config)
    assert any(line.startswith(f"{WRONG[override]}: ") for line in str(raised.value).splitlines())


@pytest.mark.parametrize("name", ["mine.parts:Crooked", "mine.parts:Power"])
def test_a_network_that_answers_wrongly_is_met_before_training(package, monkeypatch, name):
    from ddpm_jax import models
    from ddpm_jax.errors import UserError

    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(UserError, match=r"^config\.model\.name: ") as raised:
        models.check(name, (8, 8, 1))
    assert "\n" not in str(raised.value)


def test_a_module_that_does_not_import_is_a_line(tmp_path, monkeypatch):
    (tmp_path / "broken_parts.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="ZeroDivisionError") as raised:
        plugins.find({}, "broken_parts:make")
    assert "\n" not in str(raised.value)


def test_an_order_of_ones_own_is_walked(package, monkeypatch):
    from ddpm_jax import data, experiment
    from ddpm_jax.config import base
    from ddpm_jax.config.families import autoregressive
    from ddpm_jax.experiment import checks

    monkeypatch.syspath_prepend(str(package))
    config = base.digits()
    autoregressive(config)
    config.process.order = "mine.parts:backwards"
    config.model.channels, config.model.depth, config.model.heads = 8, 1, 1
    checks.check(config)
    description = data.load("digits").description
    checks.check_data(config, description)
    made = experiment.make(config, description)
    assert made.model.process.order.sequence[0] == 63
    assert len(made.sampling.grid) == 65


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b:c", True), ("package:Class", True), ("unet", False), ("mnist:3.0.1", False), ("name/config", False)],
)
def test_dotted_names(name, expected):
    assert plugins.dotted(name) is expected

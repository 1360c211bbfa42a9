"""The script counts what it says it counts, and a start imports nothing that its first step does not need."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_jax.cache import cache_folder

ROOT = Path(__file__).parents[2]
SMALL = {"model.name": "dit", "model.channels": 8, "model.depth": 1, "model.heads": 1, "data.batch": 8}
OVERRIDES = [f"--config.{key}={value}" for key, value in SMALL.items()]
UNUSED = {"wandb", "orbax", "tensorstore", "tensorflow", "tensorflow_datasets", "sklearn", "diffrax", "PIL"}
"""And not scipy: LAPACK is its, and `jax.export` makes that ready."""
"""What a run needs after its first step, or not at all."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("start_up", ROOT / "experiments" / "speed" / "start_up.py")
    assert spec and spec.loader
    module = sys.modules["start_up"] = importlib.util.module_from_spec(spec)  # where dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["start_up"]


@pytest.fixture(scope="module")
def report(script, tmp_path_factory):
    """Of a small run's first step, in a process of its own; data are prepared where the tests have them."""
    folder = tmp_path_factory.mktemp("start_up")
    (folder / "cache").mkdir()
    from ddpm_jax import data

    for split in ("train", "validation", "test"):
        data.load("digits").split(split).arrays()
    for kept in ("tfds", "facts", "images"):
        (folder / "cache" / kept).symlink_to((cache_folder() / kept).absolute())
    processes = script.Processes(folder, [f"--config={script.CONFIG}", *OVERRIDES])
    return processes.first_step(cold=True)


@pytest.mark.slow
def test_parts_add_up_to_the_whole(script, report):
    assert set(report["parts"]) == {*script.PARTS, "rest"}
    assert sum(report["parts"].values()) == pytest.approx(report["total"])
    missing = [part for part in script.PARTS if not report["parts"][part] > 0]
    assert not missing, "these functions are not where the script looks for them"
    assert 0 <= report["parts"]["rest"] < report["total"] / 2
    assert set(report["jax"]) == set(script.EVENTS.values())
    assert report["jax"]["compilation"] > 0
    assert report["jax"]["reading the cache"] == 0  # it was cold


def test_the_first_step_needs_no_module_of_a_later_part(report):
    imported = {name.partition(".")[0] for name in report["modules"]}
    assert {"jax", "flax", "optax", "ddpm_jax"} <= imported
    assert not UNUSED & imported


def test_a_start_compiles_few_programs(report):
    """An operation on arrays outside a program is a program of its own; there were thirty before the first step."""
    assert report["programs"] <= 16


def test_the_command_room_imports_no_jax():
    code = "import sys; import ddpm_jax.commands, ddpm_jax.train; assert not {'jax','flax','numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def turn(script, bare, imports, warm, help=0.1):
    cold = {"total": 9.0, "parts": {"job": 8.0, "rest": 1.0}, "jax": {"tracing": 2.0}, "programs": 9}
    warm = {"total": warm, "parts": {"job": warm, "rest": 0.0}, "jax": {"tracing": 0.5}, "programs": 9}
    return script.Turn(dict.fromkeys(script.COMMANDS, help), bare, imports, 0.1, cold, warm)


def test_targets_are_held_against_medians(script):
    turns = [turn(script, 1.0, 1.9, 1.5), turn(script, 2.0, 9.9, 9.0), turn(script, 1.0, 2.0, 2.5)]
    table = {row.name: row for row in script.rows(turns)}
    ratio = table["imports of a run over bare"]
    assert (ratio.median, ratio.least, ratio.most, ratio.met) == pytest.approx((2.1, 2.0, 5.0, True))
    warm = table["first step, warm"]
    assert (warm.median, warm.met) == (2.5, False)
    assert table["first step, cold"].met is None
    assert table["train --help"].met
    words = "\n".join(script.lines(script.rows(turns)))
    assert "at most 2: not met" in words
    assert "at most 2.5: met" in words


def test_a_child_that_fails_is_an_error_in_one_line(script, tmp_path):
    processes = script.Processes(tmp_path, [])
    with pytest.raises(script.UserError, match="a run to be measured failed: no luck"):
        processes.run("-c", "import sys; sys.exit('error: no luck')")


def test_children_keep_their_programs_in_the_folder(script, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    said = script.Processes(tmp_path, []).run("-c", "import json, os; print(json.dumps(dict(os.environ)))")
    environment = json.loads(said)
    assert "JAX_COMPILATION_CACHE_DIR" not in environment
    assert environment["DDPM_JAX_CACHE"] == os.fspath(tmp_path / "cache")


def test_no_repeats_is_an_error_in_one_line(script):
    with pytest.raises(script.UserError, match="--repeats: 0"):
        script.main(["--repeats=0"])

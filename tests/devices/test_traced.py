"""What is traced once is the same as what is traced anew, and no change goes unseen."""

import json
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import cache as folder
from ddpm_jax import data
from ddpm_jax.config import base, families
from ddpm_jax.config.identity import own_parts
from ddpm_jax.devices import traced
from ddpm_jax.devices.plan import Plan
from ddpm_jax.devices.traced import Traced, remembered
from ddpm_jax.experiment import make
from ddpm_jax.pipeline.job import make_job


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and files that are there and old enough: other tests remove modules that they loaded."""
    loaded = traced._files
    monkeypatch.setattr(traced, "_files", lambda: [file for file in loaded() if Path(file).exists()])
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(traced, "MARGIN", -1e9)
    traced._content.cache_clear()
    yield tmp_path / "cache"
    traced._content.cache_clear()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's that is loaded; its file."""
    file = tmp_path / "users.py"
    file.write_text("one = 1\n")
    found = types.ModuleType("users")
    found.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "users", found)
    return file


def made(values):
    """What makes these one after another."""
    left = iter(values)
    return lambda: next(left)


def test_what_is_made_is_made_once(module):
    make = made([b"first", b"second"])
    assert [remembered({"a": 1}, make) for _ in range(3)] == 3 * [b"first"]
    assert remembered({"a": 2}, make) == b"second"


def test_a_change_of_code_is_seen(module):
    make = made([b"first", b"second", b"third"])
    remembered({"a": 1}, make)
    module.write_text("one = 2\n")  # of the same length
    traced._content.cache_clear()  # as in the next process
    assert remembered({"a": 1}, make) == b"second"
    module.write_text("one = 1\n")
    traced._content.cache_clear()
    assert remembered({"a": 1}, make) == b"third"  # one entry is kept, of the last


def test_code_that_had_no_part_in_what_is_kept_is_seen(module, monkeypatch, tmp_path):
    """Another checkout's modules, or one that replaces a function: those that are loaded now count."""
    make = made([b"first", b"second"])
    remembered({"a": 1}, make)
    other = types.ModuleType("other")
    other.__file__ = str(tmp_path / "other.py")
    (tmp_path / "other.py").write_text("")
    monkeypatch.setitem(sys.modules, "other", other)
    assert [remembered({"a": 1}, make) for _ in range(2)] == [b"second", b"second"]
    monkeypatch.delitem(sys.modules, "other")
    assert remembered({"a": 1}, make) == b"second"  # fewer modules are fine


def test_of_a_module_whose_file_is_gone_nothing_is_kept(module, monkeypatch):
    files = [*traced._files(), str(module)]
    monkeypatch.setattr(traced, "_files", lambda: files)
    module.unlink()
    make = made([b"first", b"second"])
    assert [remembered({"a": 1}, make) for _ in range(2)] == [b"first", b"second"]


@pytest.mark.parametrize("head", [b"not json", b"{}", b"[]", b'{"files": 3, "digest": 4}'])
def test_an_entry_of_another_make_is_none(head):
    key = [traced.VERSION, json.dumps({"a": 1}), *traced._surroundings()]
    folder.save(traced.KIND, key, head + b"\nfirst")
    assert remembered({"a": 1}, made([b"second"])) == b"second"


def test_an_option_of_jax_is_seen():
    make = made([b"first", b"second"])
    remembered({"a": 1}, make)
    jax.config.update("jax_default_matmul_precision", "float32")
    try:
        assert remembered({"a": 1}, make) == b"second"
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert remembered({"a": 1}, make) == b"first"


def test_a_file_that_has_just_changed_may_not_be_what_was_loaded(module, monkeypatch):
    """Nothing is kept of it then, nor is what was kept believed."""
    make = made([b"first", b"second", b"third"])
    assert remembered({"a": 1}, make) == b"first"
    monkeypatch.setattr(traced, "MARGIN", 10.0)
    assert [remembered({"a": 1}, make) for _ in range(2)] == [b"second", b"third"]
    monkeypatch.setattr(traced, "MARGIN", -1e9)
    assert remembered({"a": 1}, make) == b"first"


def wrapped(function, donate=(), made_from=None):
    sharding = Plan(devices=tuple(jax.devices()[:1])).sharding()
    return Traced(jax.jit(function, donate_argnums=donate), "it", made_from or {"a": 1}, donate, sharding)


def test_a_function_is_traced_once_for_each_kind_of_arguments():
    count = []

    def function(tree, number):
        count.append(1)
        return {"sum": tree["a"] + number, "key": jax.random.fold_in(tree["key"], number)}

    for size in (3, 4, 3):
        tree = {"a": jnp.arange(size), "key": jax.random.key(1)}
        found, again = (wrapped(function)(tree, np.int32(2)) for _ in range(2))
        expected = function(tree, 2)
        for one in (found, again):
            np.testing.assert_array_equal(one["sum"], expected["sum"])
            assert (jax.random.key_data(one["key"]) == jax.random.key_data(expected["key"])).all()
    assert len(count) == 2 + 3  # two sizes, and three that were expected


def test_what_may_be_overwritten_is():
    program = wrapped(lambda state, rows: {"x": state["x"] + rows}, donate=(0,))
    state, rows = {"x": jnp.ones(1000)}, jnp.ones(1000)
    result = program(state, rows)
    assert state["x"].is_deleted() and not rows.is_deleted() and float(result["x"][0]) == 2


def test_what_cannot_be_exported_runs_as_it_is():
    def function(x):
        return jax.pure_callback(lambda x: np.asarray(x) + 1, jax.ShapeDtypeStruct((), jnp.float32), x)

    for _ in range(2):
        assert float(wrapped(function)(jnp.float32(1))) == 2


def test_without_what_writes_it_a_function_runs_as_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax._src.export.serialization", None)
    assert float(wrapped(lambda x: x + 1)(jnp.float32(1))) == 2


def test_a_weak_type_is_another_kind():
    def function(x):
        return x + jnp.ones((), jnp.bfloat16)

    for x in (jnp.asarray(1.0), jnp.float32(1), 1.0):  # weak, strong, weak
        assert wrapped(function)(x).dtype == function(x).dtype


def test_what_is_looked_at_is_what_runs():
    program, x = wrapped(lambda x: x * 2), jnp.ones(3)
    program(x)
    text = program.lower(x).as_text()
    assert "multiply" in text and "jit_call" in text.splitlines()[0]
    assert program.found[0]._cache_size() == 1


def test_shapes_are_known_without_running():
    program = wrapped(lambda x: (x, x.sum()))
    for _ in range(2):
        assert jax.tree.map(jnp.shape, jax.eval_shape(program, jnp.ones((2, 3)))) == ((2, 3), ())


def members():
    """A small member of each family."""
    for name, family in (("ddpm", families.ddpm), ("masked", families.masked), ("raster", families.autoregressive)):
        config = base.digits()
        family(config)
        config.model.channels, config.model.depth, config.data.batch = 8, 1, 4
        yield pytest.param(config, id=name)


@pytest.mark.parametrize("config", tuple(members()))
def test_steps_that_are_kept_are_the_steps_to_the_bit(config):
    dataset, plan = data.load("digits"), Plan(devices=tuple(jax.devices()[:1]))
    experiment, ends = make(config, dataset.description), []
    for made_from in (None, {"config": config.to_dict()}, {"config": config.to_dict()}):
        job = make_job(experiment, plan, dataset, made_from)
        state = job.fresh()
        with job.data(0) as feed:
            for start in (0, 3):
                state, _ = job.run(state, feed(start, 3), 3, np.float32(0))
        ends.append((jax.tree.map(np.asarray, state.params), job.count_flops()))
    assert jax.tree.all(jax.tree.map(np.array_equal, ends[0], ends[1]))
    assert jax.tree.all(jax.tree.map(np.array_equal, ends[1], ends[2]))


def test_a_part_of_the_users_own_is_not_relied_on():
    config = base.digits()
    assert own_parts(config)
    config.model.name = "mine.networks:unet"
    assert not own_parts(config)


@pytest.mark.slow
def test_a_second_command_traces_nothing(tmp_path):
    code = textwrap.dedent("""
        import sys
        from ddpm_jax import commands
        from ddpm_jax.devices import traced
        from ddpm_jax.train import main
        traced.MARGIN = -1e9
        export, count = traced._exported, []
        traced._exported = lambda *arguments: count.append(1) or export(*arguments)
        main(sys.argv[1:], alone=True)
        print("traced", len(count))
    """)
    told = ["--config=configs/digits/ddpm.py", "--config.training.steps=4", "--config.optimizer.warmup=1"]
    told += ["--config.evaluation.at_end=False", "--config.logging.wandb=off", "--config.model.channels=8"]
    for number, traces in enumerate((2, 0)):
        words = [*told, f"--workdir={tmp_path / str(number)}"]
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1:] == [f"traced {traces}"], done.stderr[-2000:]

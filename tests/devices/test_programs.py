"""Compiled programs are looked at before they run."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
from ddpm_jax.devices import programs
programs.keep("host")
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from jax._src import monitoring
compiled = []
monitoring.register_event_listener(lambda event, **_: compiled.append(event))
print(float(jax.jit(lambda x: x * 3 + 1)(2.0)), compiled.count("/jax/compilation_cache/cache_hits"))
"""


@pytest.fixture
def run(tmp_path):
    def run(**environment):
        environment = {"DDPM_JAX_CACHE": str(tmp_path / "cache"), **environment}
        kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        return subprocess.run(
            [sys.executable, "-c", CODE], env=kept | environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.slow
def test_a_damaged_program_is_compiled_again(run, tmp_path):
    first = run()
    assert first.stdout.split() == ["7.0", "0"]
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    whole = {path: path.read_bytes() for path in files}
    for path in files:  # one flipped bit in each, late in the code
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
    again = run()
    assert again.stdout.split() == ["7.0", "0"]
    assert again.stderr == ""
    assert {path.stat().st_size for path in files} == {len(content) for content in whole.values()}
    assert int(run().stdout.split()[1]) > 0  # and is kept again, whole


def test_the_users_folder_is_taken(run, tmp_path):
    assert run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")).returncode == 0
    assert any(path.is_file() for path in (tmp_path / "mine").rglob("*"))
    assert not (tmp_path / "cache").exists()


def test_where_they_cannot_be_kept_one_line_says_so(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(DDPM_JAX_CACHE=str(tmp_path / "file" / "under"))
    assert done.stdout.split() == ["7.0", "0"]
    assert done.stderr.count("UserWarning") == 1
    assert "DDPM_JAX_CACHE" in done.stderr

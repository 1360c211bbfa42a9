"""xpk's command lines: as expected, and taken by xpk's own dry run where it is installed."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ddpm_jax.errors import Preempted

ROOT = Path(__file__).resolve().parents[2]
SWEEP = f"--config={ROOT}/configs/digits/sweep_learning_rate.py"
WORDS = (
    *(SWEEP, "--config.optimizer.ema=(0.995, 0.9)", "--workdir=/runs/study", "--cluster=cluster"),
    *("--tpu_type=v5litepod-16", "--docker_image=gcr.io/project/ddpm_jax:latest"),
    *("--project=project", "--zone=us-central2-b", "--num_slices=2", "--priority=low"),
)


@pytest.mark.slow
def test_the_lines_of_a_dry_run_are_given_to_xpk_until_it_refuses_one(launch, expected, tmp_path):
    """By a stand-in for xpk, which records its words and refuses the second workload."""
    shown = launch("xpk", *WORDS, "--dry_run")
    expected(shown, "xpk.txt")
    assert list(Path().iterdir()) == [Path("two.py")]
    xpk = tmp_path / "bin" / "xpk"
    xpk.parent.mkdir()
    xpk.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ntest $(wc -l < {tmp_path}/calls) -lt 2\n')
    xpk.chmod(0o755)
    done = launch("xpk", *WORDS, PATH=f"{xpk.parent}:{os.environ['PATH']}")
    assert done.returncode == 2
    assert "error: rate_0.0005_seed1-" in done.stderr
    assert done.stderr.endswith(": xpk ended with exit code 1; its words are above\n")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [" ".join(shlex.split(line)[1:]) for line in shown.stdout.splitlines()[:2]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("--cluster=", "--cluster is missing (see --help)"),
        ("--tpu_type=", "--tpu_type is missing (see --help)"),
        ("--docker_image=", "--docker_image is missing (see --help)"),
        ("--num_slices=0", "--num_slices: 0 is less than 1"),
        ("--max_restarts=-1", "--max_restarts: -1 is less than 0"),
        ("--workdir=runs/a", "--workdir: runs/a would go with its pod; give one on mounted storage, as /runs/a"),
        ("--dry_run", None),
    ],
)
def test_wrong_input(launch, refused, no_programs, change, line):
    if line is None:  # without a dry run
        line = (
            "there is no program xpk here; install xpk apart from this project and from SkyPilot: uv tool install xpk"
        )
        assert refused(launch("xpk", *WORDS, PATH=no_programs)) == line
    else:
        assert refused(launch("xpk", *WORDS, change, "--dry_run")) == line


@pytest.mark.launchers
@pytest.mark.skipif("DDPM_JAX_XPK" not in os.environ, reason="DDPM_JAX_XPK is not set to a program `xpk`")
def test_xpk_takes_the_lines(launch, tmp_path):
    shown = launch("xpk", *WORDS, "--dry_run").stdout.splitlines()
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    words = [os.environ["DDPM_JAX_XPK"], *shlex.split(shown[0])[1:], "--dry-run", "--skip-validation"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    line = next(word for word in words if word.startswith("--command=")).removeprefix("--command=")
    assert line in done.stdout
    [codes] = re.findall(r"operator: NotIn\s+values: \[([\d,]+)\]", done.stdout)
    assert str(Preempted.code) in codes.split(",")  # all others end the workload for good
    assert "'--config.optimizer.ema=(0.995, 0.9)'" in line

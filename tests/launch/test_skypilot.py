"""SkyPilot's task files: as expected, and read by SkyPilot itself where it is installed."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from ddpm_jax.errors import Preempted

ROOT = Path(__file__).resolve().parents[2]
SWEEP = f"--config={ROOT}/configs/digits/sweep_learning_rate.py"
ONE = f"--config={ROOT}/configs/cifar10/ddpm.py"
TPU = (SWEEP, "--workdir=study", "--accelerators=tpu-v5litepod-8", "--store=gs://bucket/runs", "--use_spot")
GPU = (ONE, "--workdir=study", "--accelerators=H100:8", "--num_nodes=2", "--infra=gcp/us-central1", "--store=gs://b/x")

GOES = "what is on a rented machine goes with it; name a bucket, such as gs://b/runs"

LOADER = """
import json, sys, sky
for path in sys.argv[1:]:
    task = sky.Task.from_yaml(path)
    [resources] = task.resources
    told = [task.name, task.num_nodes, resources.accelerators, list(task.storage_mounts), task.run]
    print(json.dumps([*told, resources.job_recovery]))
"""


@pytest.mark.slow
def test_a_dry_run_shows_the_files_and_writes_nothing(launch, expected):
    expected(launch("skypilot", *GPU, "--dry_run"), "skypilot_gpu.txt")
    assert list(Path().iterdir()) == [Path("two.py")]


@pytest.mark.slow
def test_the_files_of_a_dry_run_are_written_and_given_to_sky(launch, expected, tmp_path):
    """By a stand-in for sky, which records its words and where it is called."""
    shown = launch("skypilot", *TPU, "--dry_run")
    expected(shown, "skypilot_tpu.txt")
    sky = tmp_path / "bin" / "sky"
    sky.parent.mkdir()
    sky.write_text(f'#!/bin/sh\necho "$PWD $@" >> {tmp_path}/calls\n')
    sky.chmod(0o755)
    done = launch("skypilot", *TPU, PATH=f"{sky.parent}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    written = sorted(Path("study/skypilot").glob("*.yaml"))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sorted(calls) == [f"{ROOT} jobs launch --yes --detach-run {path.absolute()}" for path in written]
    assert all(path.read_text() in shown.stdout for path in written)
    names = [yaml.safe_load(path.read_text())["name"] for path in written]
    assert [f"{name}.yaml" for name in names] == [path.name for path in written]
    assert len(names) == 6
    again = launch("skypilot", *TPU, PATH=f"{sky.parent}:{os.environ['PATH']}")  # nothing is submitted twice
    assert again.returncode == 0 and again.stdout.count("has been submitted; delete ") == 6
    assert len((tmp_path / "calls").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--num_nodes=0"], "--num_nodes: 0 is less than 1"),
        (["--num_nodes=2"], "--num_nodes: 2 TPU nodes; a pod is one node, such as tpu-v5litepod-32"),
        ([], f"--store is missing: {GOES}"),
        (["--store=bucket"], "--store: 'bucket' is not a URL, such as gs://my-bucket/runs"),
        (
            ["--store=gs://b"],
            "there is no program sky here; install SkyPilot apart from this project: uv tool install 'skypilot[gcp]'",
        ),
    ],
)
def test_wrong_input(launch, refused, no_programs, words, line):
    assert refused(launch("skypilot", SWEEP, *words, PATH=no_programs)) == line
    assert list(Path().iterdir()) == [Path("two.py")]


def test_a_config_outside_the_checkout_is_refused(launch, refused):
    assert refused(launch("skypilot", "--config=two.py", "--store=gs://b", "--dry_run")).startswith(
        "--config: two.py is outside "
    )


@pytest.mark.launchers
@pytest.mark.skipif("DDPM_JAX_SKY" not in os.environ, reason="DDPM_JAX_SKY is not set to a program `sky`")
@pytest.mark.parametrize(("words", "count"), [(TPU, 6), (GPU, 1)])
def test_skypilot_reads_the_files(launch, tmp_path, words, count):
    documents = launch("skypilot", *words, "--dry_run").stdout.strip().split("\n\n")
    paths = [tmp_path / f"{number}.yaml" for number in range(len(documents))]
    for path, text in zip(paths, documents, strict=True):
        path.write_text(text)
    python = Path(os.environ["DDPM_JAX_SKY"]).with_name("python")
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(python), "-c", LOADER, *map(str, paths)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [yaml.safe_load(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(rows) == count
    for (name, nodes, accelerators, mounts, run, recovery), text in zip(rows, documents, strict=True):
        task = yaml.safe_load(text)
        assert (name, nodes, run) == (task["name"], task["num_nodes"], task["run"])
        assert accelerators == ({"H100": 8} if words is GPU else {"tpu-v5litepod-8": 1})
        assert mounts == list(task.get("file_mounts", {}))
        assert recovery["recover_on_exit_codes"] == [Preempted.code]

"""What the launchers share: what is wrong is one line, names fit their engines."""

import re
import sys
from pathlib import Path

import pytest

from ddpm_jax.errors import UserError

LAUNCHERS = ("local", "slurm", "skypilot", "xpk")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_is_light_and_wrong_input_is_one_line(launch, refused, name):
    done = launch(name, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 500
    assert refused(launch(name)) == "--config is missing, for example --config=configs/digits/ddpm.py"
    assert refused(launch(name, "--config=none.py")).startswith("--config: there is no file none.py")
    assert refused(launch(name, "--config=two.py", "--dryrun")).startswith(
        "unknown option --dryrun; did you mean '--dry"
    )
    assert refused(launch(name, "--config=two.py", "--config.seed=3")).startswith("sweep() member 1 (")
    assert list(Path().iterdir()) == [Path("two.py")]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_do_not_import_jax(launch, name):
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2] / 'launch')!r}); import {name}"
    program += "; assert not {'jax', 'flax'} & set(sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_labels_fit_and_keep_their_hash(load):
    label = load("members").label
    assert label("raster_seed0-1a2b3c4d", 39) == "raster-seed0-1a2b3c4d"
    assert label("optimizer.learning_rate0.001_a_rather_long_name+x-1a2b3c4d", 39).endswith("-1a2b3c4d")
    for name in ("a" * 90 + "-1a2b3c4d", "0.5-1a2b3c4d", "A_B.C+d__e-1a2b3c4d", "-_-1a2b3c4d"):
        for most in (39, 60):
            assert len(label(name, most)) <= most
            assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", label(name, most))
            assert "--" not in label(name, most)


def test_a_program_that_is_missing_or_fails_is_one_line(load, capfd):
    members = load("members")
    with pytest.raises(UserError, match="there is no program no_such_tool here; get it"):
        members.tool("no_such_tool", "get it")
    assert members.tool("python3", "get it").endswith("python3")
    members.call([sys.executable, "-c", "print(5)"], "a")
    assert capfd.readouterr().out == "5\n"
    with pytest.raises(UserError, match=r"^a: python\S* ended with exit code 3; its words are above$"):
        members.call([sys.executable, "-c", "exit(3)"], "a")


def test_members_elsewhere_have_files_of_the_checkout(load, tmp_path):
    from ddpm_jax.sweeps import expansion

    members = load("members")
    [*_, member] = expansion.members(f"{members.ROOT}/configs/mnist/ddpm.py:small", tmp_path)
    assert members.elsewhere(member).config_file == "configs/mnist/ddpm.py:small"
    (tmp_path / "mine.py").write_text((members.ROOT / "configs/digits/ddpm.py").read_text())
    [mine] = expansion.members(f"{tmp_path}/mine.py", tmp_path)
    with pytest.raises(UserError, match=r"--config: \S*mine.py is outside \S*, which is all that other machines are"):
        members.elsewhere(mine)


POD = ("--tpu_type=v5litepod-256", "--cluster=c", "--docker_image=i", "--workdir=/runs/a")
SWEEP = f"--config={Path(__file__).parents[2]}/configs/digits/sweep_learning_rate.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "count"),
    [
        ("skypilot", ("--accelerators=tpu-v5litepod-128", "--store=gs://b"), 128),
        ("skypilot", ("--accelerators=L40S:24", "--store=gs://b"), 24),  # a GPU of no table here
        ("xpk", POD, 256),
        ("xpk", (*POD[1:], "--tpu_type=v5p-16", "--num_slices=16"), 128),  # v5p counts cores
        ("slurm", ("--nodes=16", "--gpus_per_node=8"), 128),
    ],
)
def test_a_batch_that_the_devices_do_not_divide_is_refused_before_it_is_queued(launch, refused, name, words, count):
    line = refused(launch(name, SWEEP, *words, "--dry_run"))
    assert "config.data.batch: " in line and f"does not divide over {count} devices; use " in line


def test_devices_by_the_names_of_clouds(load):
    members = load("members")
    names = {"tpu-v5litepod-16": 16, "v5p-8": 4, "tpu7x-8": 8, "H100:8": 8, "A100-80GB:4": 4, "MI300:2": 2, "odd": None}
    assert {name: members.devices_of(name, 1) for name in names} == names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("xpk", ("--tpu_type=v5litepod-8", "--num_slices=2", *POD[1:]), "v5e:2x4*2: 16 devices"),
        ("skypilot", ("--accelerators=H100:8", "--store=gs://b"), "h100:8: 8 devices"),
        ("slurm", ("--plan=a100:4",), "a100:4: 4 devices"),
    ],
)
def test_the_plan_comes_before_what_would_be_submitted(launch, refused, name, words, said):
    done = launch(name, SWEEP, "--plan", *words, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(said) == 6 and len(done.stdout.split(said)[-1]) > 500
    assert "name the hardware" in refused(launch("local", SWEEP, "--plan", "--dry_run"))

"""The members of a sweep: what a file asks for is what the training command is given, and mistakes are named."""

import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_jax import commands
from ddpm_jax.config.identity import digest
from ddpm_jax.errors import UserError
from ddpm_jax.sweeps import checks, expansion

ROOT = Path(__file__).resolve().parents[2]
DIGITS = f"{ROOT}/configs/digits/ddpm.py"
pytestmark = pytest.mark.usefixtures("nothing_prepared")

FILE = """
import numpy as np
from ddpm_jax.config.base import digits

def get_config(arm=""):
    config = digits()
    config.name = arm
    config.model.channels = 32 if arm == "wide" else 16
    return config

"""


def write(sweep, name="x.py"):
    """A config file with this `sweep`."""
    Path(name).write_text(FILE + sweep)
    return name


def expand(sweep, *overrides):
    """The members without the checks that need jax."""
    return expansion.members(write(sweep), Path("root"), overrides)


def refused(sweep, *overrides):
    with pytest.raises(UserError) as caught:
        expansion.expand(write(sweep), Path("root"), overrides)
    assert "\n" not in str(caught.value)
    assert not Path("root").exists()
    return str(caught.value)


GRID = """
def sweep():
    for arm in ("plain", "wide"):
        for rate in (1e-3, np.float64(0.5)):
            yield {"argument": arm, "optimizer.learning_rate": rate, "seed": np.int64(3), "sampler.clip": False,
                   "model.multipliers": [1, 2], "data.dir": "a, b=c"}
"""


def test_the_training_command_makes_the_members_config():
    members = expand(GRID, "--config.training.steps=7")
    assert len(members) == 4
    for member, (arm, rate) in zip(
        members, [("plain", 1e-3), ("plain", 0.5), ("wide", 1e-3), ("wide", 0.5)], strict=True
    ):
        words = member.command("python3")
        assert words[:3] == ["python3", "-m", "ddpm_jax.train"]
        parser = commands.Parser()
        parser.add_argument("--config")
        parser.add_argument("--workdir")
        parser.add_argument("--once", action="store_true")
        options, config, _ = commands.parse_with_config(parser, words[3:])
        assert config.to_dict() == member.config.to_dict()
        assert Path(options.workdir) == member.folder == Path("root") / member.name
        assert (config.name, config.model.channels) == (arm, {"plain": 16, "wide": 32}[arm])
        assert (config.optimizer.learning_rate, config.seed, config.training.steps) == (rate, 3, 7)
        assert (config.sampler.clip, config.data.dir, config.model.multipliers) == (False, "a, b=c", (1, 2))
        assert config.logging.group == "root"


def test_names_are_readable_and_end_in_the_hash():
    for member in expand(GRID):
        assert member.name.endswith("-" + digest(member.config)[:8])
    assert expand(GRID)[1].name.startswith("plain_learning_rate0.5_seed3_clipFalse_multipliers-1-2-_dir")

    def names(changes):
        return [member.name[:-9] for member in expand(f"def sweep():\n    yield from {changes}")]

    assert names([{"argument": "raster", "seed": 0}]) == ["raster_seed0"]
    assert names([{"name": "a", "optimizer.b1": 0.5}, {"name": "a", "optimizer.b1": 0.5, "seed": 1}]) == [
        "a_seed0",
        "a_seed1",
    ]
    assert names([{"seed": 4}, {"process.steps": 9, "training.steps": 8}]) == [
        "seed4",
        "process.steps9_training.steps8",
    ]
    assert names([{"data.dir": "/some/where/" + "x" * 200}])[0] == "dir-some-where-" + "x" * 65


def test_a_hash_is_of_what_changes_the_result():
    """As for a run's default folder, and nothing of what may differ when a run goes on."""
    (member,) = expansion.members(DIGITS, Path("root"), ["--config.seed=1"])
    from ddpm_jax import runs

    assert member.name[-8:] == str(runs.default_folder(DIGITS, ["--config.seed=1"], member.config))[-8:]
    again = expansion.members(DIGITS, Path("other"), ["--config.seed=1", "--config.logging.wandb=off"])
    assert again[0].name == member.name


def test_a_file_without_sweep_is_one_member():
    (member,) = expansion.expand(DIGITS, Path("root"))
    assert member.name.startswith("digits_ddpm-")
    assert member.config_file == DIGITS
    assert member.overrides == ("--config.logging.group=root",)
    (member,) = expansion.members(f"{write('')}:wide", Path("root"))
    assert member.name.startswith("wide-")
    assert member.config.model.channels == 32


def test_a_group_that_was_given_is_kept():
    assert expand("", "--config.logging.group=mine")[0].config.logging.group == "mine"


def test_the_argument_goes_to_a_sweep_that_takes_one():
    takes = "def sweep(size='small'):\n    yield {'argument': 'wide', 'seed': len(size)}\n"
    assert expansion.members(f"{write(takes)}:abc", Path("root"))[0].config.seed == 3
    assert expansion.members(write(takes), Path("root"))[0].config.seed == 5
    plain = "def sweep():\n    yield {'seed': 1}\n"
    assert expansion.members(f"{write(plain)}:wide", Path("root"))[0].config.model.channels == 32
    with pytest.raises(UserError, match="member 1: argument is given on the command line too"):
        expansion.members(f"{write(GRID)}:wide", Path("root"))


def test_default_root():
    assert expansion.default_root("configs/digits/ddpm.py") == Path("runs/digits_ddpm_sweep")
    assert expansion.default_root("mine.py:a b") == Path(f"runs/{Path.cwd().name}_mine_a-b_sweep")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ('{"sed": 3}', "member 2 (sed=3): config.sed: no such key; did you mean 'seed'?"),
        ('{"data.bach": 3}', "member 2 (data.bach=3): config.data.bach: no such key; did you mean 'data.batch'?"),
        ('{"data": 3}', "member 2 (data=3): config.data: is a section"),
        ('{"data.batch": 1.5}', "member 2 (data.batch=1.5): config.data.batch: 1.5 is not of type int"),
        ('{"data.batch": True}', "member 2 (data.batch=True): config.data.batch: True is not of type int"),
        ('{"data.batch": None}', "member 2 (data.batch=None): config.data.batch: None is not of type int"),
        ('{"data.dir": 3}', "member 2 (data.dir=3): config.data.dir: 3 is not of type str"),
        ('{"data.batch": 0}', "member 2 (data.batch=0): config.data.batch: 0 is less than 1"),
        ('{"training.steps": 3}', "member 2 (training.steps=3): config.training.steps: the command line sets it for"),
        ("{3: 3}", "member 2 (3=3): config.3: no such key"),
        ("3", "member 2: 3 is not a mapping of dotted keys to values"),
        ('{"argument": ("a", 1), "model.depth": 1/0}', "x.py: line 13: ZeroDivisionError: division by zero"),
    ],
)
def test_wrong_members(changes, line):
    said = refused(f"def sweep():\n    yield {{'seed': 1}}\n    yield {changes}\n", "--config.training.steps=5")
    assert said.removeprefix("sweep() ").removeprefix("--config=").startswith(line)


def test_wrong_names_are_found_by_the_other_process():
    said = refused("def sweep():\n    yield {'seed': 1}\n    yield {'model.name': 'unett'}\n")
    assert said.startswith("member nameunett-")
    assert said.endswith(": config.model.name: unknown name 'unett'; did you mean 'unet'?")


def test_what_does_not_fit_the_data_or_the_budget(monkeypatch):
    sweep = """
def sweep():
    small = {"model.name": "dit", "model.depth": 1, "model.heads": 1}
    yield {"training.steps": 0, "training.images": 640}
    yield {"training.steps": 0, "training.flops": 1e3, **small}
    yield {"training.steps": 0, "training.seconds": 9.0}
    yield {"model.multipliers": (1,) * 5}
"""
    members = expand(sweep)
    found = checks.check([member.config for member in members], data=True)
    assert found[0].steps == 10
    assert found[1].steps == 1  # a step of this network takes more
    assert found[2].steps is None
    assert [bool(one.error) for one in found] == [False, False, False, True]
    monkeypatch.setattr(checks, "check", lambda configs, data: found if data else None)
    with pytest.raises(
        UserError, match=r"member multipliers-1.1.1.1.1-.*: config.model.multipliers: an image of 8x8 can"
    ):
        expansion.check(members, data=True)
    del found[3]
    assert expansion.check(members[:3], data=True) == [10, 1, None]


def test_twins_are_named():
    said = refused("def sweep():\n    yield {'name': 'a'}\n    yield {'seed': 1}\n    yield {'logging.project': 'x'}\n")
    assert said.startswith("members a_seed0-")
    assert " and projectx-" in said
    assert said.endswith(
        "are the same run: nothing that changes the result differs; leave one out, or give it another seed"
    )


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ("sweep = 3", "--config=x.py: sweep is not a function"),
        ("def sweep():\n    return []", "--config=x.py: sweep() yields no member"),
        ("def sweep():\n    pass", "--config=x.py: sweep() yields no member"),
        ("def sweep():\n    while True:\n        yield {}", "--config=x.py: sweep() yields more than 10000 members"),
        ("def sweep():\n    yield {}\n    no_such_name", "--config=x.py: line 13: NameError: "),
        ("def sweep():\n    return 3", "--config=x.py: TypeError: 'int' object is not iterable"),
    ],
)
def test_wrong_sweeps(sweep, line):
    assert refused(sweep).startswith(line)


def test_a_check_that_breaks_is_told(monkeypatch, tiny_config):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="the members could not be checked: that process ended with 1"):
        checks.check([tiny_config])


def test_no_jax_where_members_are_expanded():
    code = (
        "import sys\nfrom pathlib import Path\nfrom ddpm_jax import sweep\n"
        "from ddpm_jax.sweeps import expansion, loop\n"
        f"print(len(expansion.expand({DIGITS!r}, Path('root'))), 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 False\n"

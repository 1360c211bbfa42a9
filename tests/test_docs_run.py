"""What the README and docs/ show is run as it stands there, page by page, each in a folder of its own.

Comments directly above a block, one a line, say what is other than it stands there:

    <!-- not run: it needs a cluster -->
    <!-- run without: its installation, which CI has done -->
    <!-- run with: briefly --config.data.flip=True -->
    <!-- run with: 1000 => 4 -->

The second is for commands that set up (venv, source, pip): CI does that itself, on a fresh clone. The third gives these
words to each `train`, `sweep` and script of the block; `briefly` stands for settings that make a training last a moment
(`BRIEFLY`), `few` for 64 images a split (`FEW`). The last puts a word of Python in place of another. A block without a
comment is run as it is.

What a page calls FILE.py, PICTURES and so on is made by `leave_to_the_reader`. A run that it speaks of and does not
train, `runs/digits_ddpm` or `runs/digits_masked`, is there already.
"""

import glob
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from ddpm_jax import commands, runs
from ddpm_jax.commands import parsing
from ddpm_jax.config.loading import checked, load_config

ROOT = Path(__file__).resolve().parents[1]
RUN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSED = [
    *RUN,
    ROOT / "launch/README.md",
    ROOT / "experiments/README.md",
    *sorted((ROOT / "experiments").glob("*/*.md")),
]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.M | re.S)
MARK = re.compile(r"^<!-- (not run|run without|run with): ([^\n]+) -->\n", re.M)
BLOCK = re.compile(rf"((?:{MARK.pattern})*)^```(bash|python)\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:python3?|pip|uv|tfds|mkdocs|jupyter|source|git) ", re.M)
SETTING_UP = ("source", "pip", "deactivate")
TRAINED_BEFORE = ("ddpm", "masked")
BRIEFLY = (
    *("--config.training.steps=2", "--config.data.batch=8", "--config.sampler.steps=2"),
    *("--config.evaluation.validation_images=8", "--config.evaluation.samples=16", "--config.evaluation.at_end=False"),
    *("--config.evaluation.likelihood_images=8", "--config.evaluation.likelihood_groups=4"),
    *("--config.evaluation.ode_images=0", "--config.evaluation.pictures=False"),
    *("--config.model.channels=8", "--config.model.blocks=1", "--config.model.multipliers=(1,)"),
    *("--config.model.attention_resolutions=()", "--config.sampler.batch=16", "--config.logging.wandb=off"),
)

FEW = tuple(f"--config.data.splits.{split}={split}[:64]" for split in ("train", "validation", "test"))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the comments above it, {kind: words}."""

    page: str
    language: str
    text: str
    marks: dict[str, str]

    @property
    def lines(self):
        """Its commands: a list of lists of words, one a command, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        for line in lines:
            words = shlex.split(line, comments=True)
            for between, command in groupby(words, lambda word: word == "&&"):
                if not between:
                    yield list(command)


def blocks(page):
    found = BLOCK.findall(page.read_text("utf-8"))
    return [Block(page.name, language, text, dict(MARK.findall(marks))) for marks, *_, language, text in found]


def name(page):
    return str(page.relative_to(ROOT))


def sets_up(command):
    """Whether a command installs: CI's own script has done that."""
    return command[0] in SETTING_UP or command[1:3] == ["-m", "venv"]


def parted(command):
    """The variables that a command is given, its words, and the command of ours that they are for, if any."""
    given = {}
    while re.match(r"[A-Z_]+=", command[0]):
        key, _, given[key] = command[0].partition("=")
        command = command[1:]
    ours = re.fullmatch(r"ddpm_jax\.(\w+)", command[2]) if command[:2] == ["python", "-m"] else None
    return given, command, ours and ours[1]


@pytest.mark.parametrize("page", RUN, ids=map(name, RUN))
def test_every_block_is_run_or_says_above_it_why_not(page):
    """No code hides from the test of it in a fence that it does not read; no comment stands where it has no effect."""
    text, found = page.read_text("utf-8"), blocks(page)
    for language, shown in FENCE.findall(text):
        assert language in ("bash", "python", "text", "math", ""), language
        assert language in ("bash", "python") or not COMMAND.search(shown), shown
    assert sum(language in ("bash", "python") for language, _ in FENCE.findall(text)) == len(found)
    assert len(re.findall(r"<!-- (?:not )?run\b", text)) == sum(len(block.marks) for block in found)
    for block in found:
        commands = list(block.lines) if block.language == "bash" else []
        assert "not run" not in block.marks or len(block.marks) == 1, block
        assert any(map(sets_up, commands)) == ("run without" in block.marks) or "not run" in block.marks, block


def leave_to_the_reader(here, write_encoder):
    """What pages call FILE.py, PICTURES and so on, in the folder that their commands are run in."""
    for folder in ("configs", "launch", "experiments"):
        shutil.copytree(ROOT / folder, here / folder, ignore=shutil.ignore_patterns("__pycache__", "report"))
    config = """
from ddpm_jax.config import base


def get_config():
    config = base.digits()
    config.model.name, config.model.patch, config.model.channels, config.model.depth = "dit", 4, 8, 1
    config.update_from_flattened_dict({
        "data.batch": 8, "training.steps": 2, "sampler.steps": 2, "evaluation.at_end": False,
        "evaluation.pictures": False, "evaluation.validation_images": 8, "optimizer.warmup": 0, "logging.wandb": "off",
    })
    return config


def search(trial):
    return {"optimizer.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}
"""
    for file in ("FILE.py", "mine.py"):
        (here / file).write_text(config)
    shutil.copytree(ROOT / "tests/plugin_package/mine", here / "my_package")
    (here / "my_package/parts.py").rename(here / "my_package/nets.py")
    (here / "prompts.txt").write_text("two small limes\na green banana\n")
    write_encoder(here / "all-MiniLM-L6-v2")
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(40):
        path = here / "PICTURES" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (40, 36, 3), np.uint8)).save(path)


@pytest.mark.parametrize("page", PARSED, ids=map(name, PARSED))
def test_commands_parse(page, tmp_path, monkeypatch, write_encoder):
    """Every command is known, and so are its options, the keys that it sets and the config it names."""
    if not any(block.language == "bash" for block in blocks(page)):
        pytest.skip("it shows no command")
    leave_to_the_reader(tmp_path, write_encoder)
    monkeypatch.chdir(tmp_path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for block in blocks(page):
        for command in block.lines if block.language == "bash" else ():
            _, words, ours = parted(command)
            if words[0] == "pip":
                assert set(re.findall(r"^\.\[(\w+)\]", words[-1])) <= set(extras)
            elif ours or (words[0] == "python" and words[1].endswith(".py")):
                parse(words[3:] if ours else words[2:], f"ddpm_jax.{ours}" if ours else words[1])
            elif page in RUN:
                assert "not run" in block.marks or sets_up(command), words


class Parsed(Exception):
    """The command line has been read."""


def parse(words, command):
    """Read a command line as the command itself does, no further."""

    def read(parser, arguments):
        raise Parsed(real(parser, arguments))

    real = parsing.parse
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(parsing, "parse", read)
        patch.setattr(commands, "parse", read)
        main = importlib.import_module(command).main if command.startswith("ddpm_jax.") else script(command, patch).main
        with pytest.raises(Parsed) as parsed:
            main(words)
    options, overrides = parsed.value.args[0], commands.split(words)[1]
    for word in overrides:
        checked(word)
    if getattr(options, "config", None):
        load_config(options.config, [checked(word) for word in overrides] if "workdir" in options else [])


def script(path, patch):
    """The module of a script, whose folder's other modules it finds."""
    before = set(sys.modules)
    patch.syspath_prepend(str(Path(path).parent))
    patch.syspath_prepend(str(Path(path).parent.parent))
    spec = importlib.util.spec_from_file_location("script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for other in set(sys.modules) - before:
        if Path.cwd() in Path(getattr(sys.modules[other], "__file__", None) or "/").parents:
            del sys.modules[other]
    return module


@pytest.fixture(scope="session")
def trained_before(tmp_path_factory):
    """The folders of the runs that pages speak of without training them, `digits_ddpm` and `digits_masked`."""
    from ddpm_jax.train import main

    folder = tmp_path_factory.mktemp("trained_before")
    for member in TRAINED_BEFORE:
        main([f"--config={ROOT}/configs/digits/{member}.py", f"--workdir={folder}/digits_{member}", *BRIEFLY])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if blocks(page)], ids=name)
def test_what_a_page_shows_runs(page, trained_before, fabricate, nothing_prepared, monkeypatch, write_encoder):
    here = nothing_prepared
    leave_to_the_reader(here, write_encoder)
    monkeypatch.syspath_prepend(str(here))
    made = {"__name__": "a page"}
    for block in blocks(page):
        if "not run" in block.marks:
            continue
        if "study_sweep" in block.text:
            for seed in range(2):
                fabricate(here / f"runs/study_sweep/seed{seed}", seed)
        give_runs(block, trained_before)
        words = block.marks.get("run with", "")
        if block.language == "python":
            old, _, new = words.partition(" => ")
            assert block.text.count(old) == 1 or not words, f"{old!r} does not stand once in the block"
            exec(compile(block.text.replace(old, new) if words else block.text, page.name, "exec"), made)
        for command in block.lines if block.language == "bash" else ():
            if not sets_up(command):
                run_command(command, words)


def give_runs(block, trained_before):
    """Copy the runs that a block speaks of, but for those that the page has trained or the block trains."""
    for member in TRAINED_BEFORE:
        folder = f"runs/digits_{member}"
        named = folder in block.text or "runs/digits_*" in block.text
        trains = re.search(rf"ddpm_jax\.train --config=configs/digits/{member}\.py(?!.*--workdir)", block.text)
        if named and not trains and not Path(folder).exists():
            shutil.copytree(trained_before / f"digits_{member}", folder)


def run_command(command, besides):
    """Run one command: ours in this process, where no variable is set, others in one of their own."""
    given, words, ours = parted(command)
    words = [path for word in words for path in sorted(glob.glob(word)) or [word]]
    given_config = any(word.startswith("--config=") for word in words)  # else its run is brief already
    short = {"briefly": BRIEFLY if given_config else (), "few": FEW}
    besides = [part for word in shlex.split(besides) for part in short.get(word, [word])]
    if ours == "train" and besides:
        words += (in_its_folder(words[3:]) if given_config else []) + besides
    elif not ours or ours == "sweep":
        words += besides
    if ours and not given:
        importlib.import_module(f"ddpm_jax.{ours}").main(words[3:])
        return
    environment = {**os.environ, **given, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *words[1:]], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def in_its_folder(words):
    """`--workdir=...`, the run's folder as it is without what is added here."""
    others, overrides = commands.split(words)
    (file,) = [word.removeprefix("--config=") for word in others if word.startswith("--config=")]
    overrides = [checked(word) for word in overrides]
    (start,) = [word.removeprefix("--from=") for word in others if word.startswith("--from=")] or [""]
    folder = runs.default_folder(file, overrides, load_config(file, overrides), start.partition(":")[0])
    return [] if any(word.startswith("--workdir=") for word in others) else [f"--workdir={folder}"]

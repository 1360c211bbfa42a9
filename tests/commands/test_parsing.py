"""The command line and config files: wrong words get one line, and what is asked for is what is done."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_jax import commands, evaluate
from ddpm_jax.config.identity import flatten, from_dict
from ddpm_jax.errors import UserError
from ddpm_jax.sample import main as sample
from ddpm_jax.train import main as train

ROOT = Path(__file__).resolve().parents[2]

DIGITS = f"--config={ROOT}/configs/digits/ddpm.py"

MNIST = f"--config={ROOT}/configs/mnist/ddpm.py"

pytestmark = pytest.mark.usefixtures("nothing_prepared")


def parse(*words):
    parser = commands.Parser(prog="x")
    parser.add_argument("--config")
    parser.add_argument("--workdir")
    parser.add_argument("--print_config", action="store_true")
    return commands.parse_with_config(parser, words)


def refused(*words):
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def program(*words, **environment):
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.mark.parametrize(
    ("words", "prompts"),
    [
        ("a red apple,a lime", ("a red apple", "a lime")),
        ("('a red apple, a lime',)", ("a red apple, a lime",)),
        ('["a red apple, a lime", "two limes"]', ("a red apple, a lime", "two limes")),
    ],
)
def test_prompts_with_commas_stand_in_a_tuple(words, prompts):
    _, config, _ = parse(DIGITS, f"--config.evaluation.prompts={words}")
    assert config.evaluation.prompts == prompts


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--config is missing, for example --config=configs/digits/ddpm.py"),
        (["--config="], "--config is missing"),
        (["--config"], "argument --config: expected one argument (see --help)"),
        ([DIGITS, "stray"], "'stray' is not an option"),
        ([DIGITS, "-x"], "'-x' is not an option"),
        ([DIGITS, "--workdirr=x"], "unknown option --workdirr; did you mean '--workdir'?"),
        ([DIGITS, "--work=x"], "unknown option --work; did you mean '--workdir'?"),
        ([DIGITS, "--workdir"], "argument --workdir: expected one argument"),
        ([DIGITS, "--workdir=--"], "argument --workdir: expected one argument"),
        ([DIGITS, "--print_config=1"], "argument --print_config: ignored explicit argument '1'"),
        ([DIGITS, "--steps=3"], "unknown option --steps; did you mean '--config.training.steps'?"),
        ([DIGITS, "--batch-size", "3"], "unknown option --batch-size; did you mean '--config.data.batch'?"),
        (
            ["configs/digits/ddpm.py"],
            "'configs/digits/ddpm.py' is not an option; did you mean --config=configs/digits/",
        ),
        (["x.py:small", "--workdir=x"], "'x.py:small' is not an option; did you mean --config=x.py:small?"),
        ([DIGITS, "."], "'.' is not an option; did you mean --workdir=.?"),
        (
            [DIGITS, "--config.optimizer.lr=3"],
            "config.optimizer.lr: no such key; did you mean 'optimizer.learning_rate'",
        ),
        ([DIGITS, "--config.data.bach=3"], "config.data.bach: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.batch=3"], "config.batch: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.data.batch.x=3"], "config.data.batch.x: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.data=3"], "config.data: is a section; set one of its keys, such as data.name"),
        ([DIGITS, "--config.=3"], "config.: no such key"),
        ([DIGITS, "--config.data.batch"], "config.data.batch: there is no value; write --config.data.batch=VALUE"),
        ([DIGITS, "--config.data.batch", "--print_config"], "config.data.batch: there is no value"),
        ([DIGITS, "--config.data.batch="], "config.data.batch: '' is not of type int"),
        ([DIGITS, "--config.data.batch=x"], "config.data.batch: 'x' is not of type int"),
        ([DIGITS, "--config.data.batch", "x"], "config.data.batch: 'x' is not of type int"),
        ([DIGITS, "--config.data.batch=1.5"], "config.data.batch: '1.5' is not of type int"),
        ([DIGITS, "--config.data.batch=True"], "config.data.batch: 'True' is not of type int"),
        ([DIGITS, "--config.data.flip=maybe"], "config.data.flip: 'maybe' is not of type bool"),
        ([DIGITS, "--config.optimizer.learning_rate=x"], "config.optimizer.learning_rate: 'x' is not of type float"),
        ([DIGITS, "--config.optimizer.learning_rate=nan"], "config.optimizer.learning_rate: nan is not finite"),
        ([DIGITS, "--config.model.multipliers=(1.5,)"], "config.model.multipliers: 1.5 is not of type int"),
        ([DIGITS, "--config.model.multipliers=("], "config.model.multipliers: '(' is not of type tuple"),
        ([DIGITS, "--config.data.batch=0"], "config.data.batch: 0 is less than 1"),
        ([DIGITS, "--config.data.batch", "-8"], "config.data.batch: -8 is less than 1"),
        ([DIGITS, "--config.data.batch=8", "--config.data.batch=x"], "config.data.batch: 'x' is not of type int"),
        ([DIGITS, "--config.training.steps=-1"], "config.training.steps: -1 is less than 0"),
        ([DIGITS + ":small"], f"{DIGITS}:small: TypeError: get_config() takes 0 positional arguments"),
        ([MNIST + ":smal"], f"{MNIST}:smal: line 10: ValueError: size 'smal' is not 'full' or 'small'"),
        (["--config=none.py"], "--config: there is no file none.py; give a .py file"),
        (["--config=."], "--config: . cannot be read (Is a directory)"),
    ],
)
def test_wrong_words(words, line):
    assert refused(*words).startswith(line)


def test_nearest_config_file(monkeypatch):
    monkeypatch.chdir(ROOT)
    line = refused("--config=configs/digit/ddpm.py")
    assert line == "--config: there is no file configs/digit/ddpm.py; did you mean 'configs/digits/ddpm.py'?"


GOOD = "from ddpm_jax.config.base import base\ndef get_config():\n    config = base()\n    {}\n    return config\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "the file has no function get_config()"),
        ("get_config = 3", "the file has no function get_config()"),
        ("def get_config(:", "SyntaxError: "),
        ("\0", "SyntaxError: "),
        ("hello world", "SyntaxError: "),
        ("\n1/0", "line 2: ZeroDivisionError: division by zero"),
        ("import no_such_package", "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("def get_config():\n    raise ValueError('a\\nb')", "line 2: ValueError: a b"),
        ("def get_config():\n    pass", "get_config() must return the ConfigDict of ddpm_jax.config.base.base()"),
        ("def get_config():\n    return {'a': 1}", "get_config() must return the ConfigDict"),
        (GOOD.format("config.data.batch = 'a'"), "line 4: TypeError: "),
        (GOOD.format("config.data = 3"), "line 4: TypeError: "),
        (GOOD.format("config.data.bach"), "line 4: AttributeError: "),
    ],
)
def test_wrong_config_files(content, line):
    Path("x.py").write_text(content)
    assert refused("--config=x.py").startswith(f"--config=x.py: {line}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("config.data.bach = 1", "config.data.bach: no such key; did you mean 'data.batch'?"),
        ("del config.data", "config.data: is missing"),
        ("config.data.batch = 0", "config.data.batch: 0 is less than 1"),
    ],
)
def test_wrong_configs_of_good_files(change, line):
    Path("x.py").write_text(GOOD.format(change))
    assert refused("--config=x.py").startswith(line)
    assert refused("--config=x.py", "--config.seed=1").startswith(line)


def test_a_config_file_leaves_nothing_to_the_next():
    Path("a.py").write_text(GOOD.format("config.seed = 5"))
    Path("b.py").write_text("x = 1")
    assert parse("--config=a.py")[1].seed == 5
    assert "no function get_config" in refused("--config=b.py")


def test_overrides():
    _, config, overrides = parse(
        *(DIGITS, "--config.data.batch", "32", "--config.optimizer.ema=(0.9, 0.995)", "--config.data.flip"),
        *("--config.optimizer.learning_rate=1", "--config.data.dir=a=b", "--config.model.attention_resolutions=()"),
        *("--config.seed=1", "--config.seed=2", "--config.evaluation.at_end", "False"),
    )
    assert config.data.batch == 32
    assert config.optimizer.ema == (0.9, 0.995)
    assert config.data.flip is True
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.optimizer.learning_rate == 1
    assert config.data.dir == "a=b"
    assert config.model.attention_resolutions == ()
    assert config.seed == 2
    assert config.evaluation.at_end is False
    assert overrides[:3] == [
        "--config.data.batch=32",
        "--config.optimizer.ema=(0.9, 0.995)",
        "--config.data.flip=True",
    ]
    assert overrides[-1] == "--config.evaluation.at_end=False"
    assert parse(DIGITS, "--config.data.flip=0")[1].data.flip is False


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("label", ("label",)),
        ("label,text", ("label", "text")),
        (" text , label ", ("text", "label")),
        ("", ()),
        ("()", ()),
        ("('text', 'label')", ("text", "label")),
        ("['text']", ("text",)),
    ],
)
def test_names_of_conditions_are_words_with_commas_or_a_tuple(word, names):
    _, config, _ = parse(DIGITS, f"--config.model.conditions={word}")
    assert config.model.conditions == names


def test_conditions_of_another_type_are_refused():
    for word in ("(3,)", "('text', 3)", "(text)"):
        line = refused(DIGITS, f"--config.model.conditions={word}")
        assert line.startswith("config.model.conditions: ")


def test_argument_and_references_of_a_config_file():
    assert parse(f"{MNIST}:small", "--config.seed=3")[1].training.steps == 3000
    assert parse(MNIST)[1].training.steps == 100_000
    Path("x.py").write_text(GOOD.format("config.sampler.steps = config.process.get_ref('steps')"))
    assert parse("--config=x.py", "--config.process.steps=300")[1].sampler.steps == 300


def test_print_config(capsys):
    train([DIGITS, "--print_config", "--config.data.batch=32"])
    values = json.loads(capsys.readouterr().out)
    _, config, _ = parse(DIGITS, "--config.data.batch=32")
    assert flatten(from_dict(values)) == flatten(config)
    assert values["data"]["batch"] == 32
    assert list(Path().iterdir()) == []


LIGHT = """
import sys
from ddpm_jax.{0} import main
try:
    main({1!r})
except SystemExit:
    pass
heavy = {{"jax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("train", ["--help"]),
        ("sample", ["--help"]),
        ("evaluate", ["--help"]),
        ("sweep", ["--help"]),
        ("sweep", [DIGITS, "--config.data.batch=3", "--workdir=root", "--plan"]),
        ("train", [DIGITS, "--config.data.batch=3", "--print_config"]),
    ],
)
def test_light_answers_import_nothing_heavy(module, words):
    done = program("-c", LIGHT.format(module, words))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 200


def test_words_of_the_command_and_of_the_keys_that_it_takes_are_near():
    with pytest.raises(UserError, match=r"unknown option --lr; choose from"):
        evaluate.main(["--workdir=x", "--lr=3"])  # training is over
    with pytest.raises(UserError, match=r"did you mean '--config.sampler.steps'\?"):
        evaluate.main(["--workdir=x", "--steps=3"])
    with pytest.raises(UserError, match=r"did you mean '--guidance'\?"):
        sample(["--workdir=x", "--cfg=3"])
    with pytest.raises(UserError, match=r"did you mean --workdir=\.\?"):
        sample(["."])


@pytest.mark.parametrize("main", [sample, evaluate.main])
def test_workdir_is_required(main):
    with pytest.raises(UserError, match="the following arguments are required: --workdir"):
        main([])
    with pytest.raises(UserError, match="unknown option --workdr; did you mean '--workdir'"):
        main(["--workdr=x", "--workdir=y"])


def test_a_config_file_with_postponed_annotations_and_a_dataclass():
    Path("config.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from ddpm_jax.config.base import base\n"
        "@dataclass\n"
        "class Choice:\n"
        "    kind: ClassVar[str] = 'a'\n"
        "    rate: float = 0.5\n"
        "def get_config():\n"
        "    config = base()\n"
        "    config.optimizer.learning_rate = Choice().rate\n"
        "    return config\n"
    )
    _, config, _ = parse("--config=config.py")
    assert config.optimizer.learning_rate == 0.5


def test_a_config_that_holds_itself():
    Path("config.py").write_text(
        "from ddpm_jax.config.base import base\ndef get_config():\n    config, inner = base(), {}\n"
        "    inner['a'] = inner\n    config.unlock()\n    config.data.own = inner\n    return config\n"
    )
    assert refused("--config=config.py").startswith("--config=config.py:")


def test_a_tuple_is_no_set():
    for value in ("{}", "{1}", "{1: 2}"):
        assert "is not of type tuple" in refused(DIGITS, f"--config.evaluation.curve={value}")


@pytest.mark.parametrize("value", ["1e-400", "1e-46", "-1e-9999", "0." + "0" * 400 + "1"])
def test_a_number_too_small_to_be_told_from_none(value):
    for key in ("training.seconds", "training.flops", "optimizer.clip", "evaluation.decoder_noise"):
        assert "too small to be told from 0" in refused(DIGITS, f"--config.{key}={value}")
    for zero in ("0", "0.0", "0e5", "-0.0"):
        assert parse(DIGITS, f"--config.training.seconds={zero}")[1].training.seconds == 0


def test_parse_keeps_options():
    parser = commands.Parser(prog="x")
    parser.add_argument("--count", type=int)
    assert commands.parse(parser, ["--count", "3"]) == argparse.Namespace(count=3)
    with pytest.raises(UserError, match=r"argument --count: invalid int value: 'x' \(see --help\)"):
        commands.parse(parser, ["--count=x"])

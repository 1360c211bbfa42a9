"""The command line: wrong words get one line and no traceback, and what is asked for is what is done."""

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from ddpm_jax import command, configuration, evaluate, sample, train
from ddpm_jax.errors import Busy, Preempted, UserError

ROOT = Path(__file__).resolve().parents[1]
DIGITS = f"--config={ROOT}/configs/digits/ddpm.py"
MNIST = f"--config={ROOT}/configs/mnist/ddpm.py"
pytestmark = pytest.mark.usefixtures("nothing_prepared")


def parse(*words):
    parser = command.Parser(prog="x")
    parser.add_argument("--config")
    parser.add_argument("--workdir")
    parser.add_argument("--print_config", action="store_true")
    return command.parse_with_config(parser, words)


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
        ([DIGITS, "--print_config=1"], "argument --print_config: ignored explicit argument '1'"),
        ([DIGITS, "--config.data.bach=3"], "config.data.bach: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.batch=3"], "config.batch: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.data.batch.x=3"], "config.data.batch.x: no such key; did you mean 'data.batch'?"),
        ([DIGITS, "--config.data=3"], "config.data: is a section; set one of its keys, such as data.batch"),
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
        ([DIGITS, "--config.model.multipliers=("], "config.model.multipliers: '(' is not of type int"),
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


GOOD = "from ddpm_jax.base import base\ndef get_config():\n    config = base()\n    {}\n    return config\n"


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
        ("def get_config():\n    pass", "get_config() must return the ConfigDict of ddpm_jax.base.base()"),
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
        ("del config.data", "config.data.batch: is missing"),
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


def test_argument_and_references_of_a_config_file():
    assert parse(f"{MNIST}:small", "--config.seed=3")[1].training.steps == 3000
    assert parse(MNIST)[1].training.steps == 100_000
    Path("x.py").write_text(GOOD.format("config.sampler.steps = config.process.get_ref('steps')"))
    assert parse("--config=x.py", "--config.process.steps=300")[1].sampler.steps == 300


def test_print_config(capsys):
    train.main([DIGITS, "--print_config", "--config.data.batch=32"])
    values = json.loads(capsys.readouterr().out)
    _, config, _ = parse(DIGITS, "--config.data.batch=32")
    assert configuration.flatten(configuration.from_dict(values)) == configuration.flatten(config)
    assert values["data"]["batch"] == 32
    assert list(Path().iterdir()) == []


LIGHT = """
import sys
from ddpm_jax import {0}
try:
    {0}.main({1!r})
except SystemExit:
    pass
heavy = {{"jax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""


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


@pytest.mark.parametrize("main", [sample.main, evaluate.main])
def test_workdir_is_required(main):
    with pytest.raises(UserError, match="the following arguments are required: --workdir"):
        main([])
    with pytest.raises(UserError, match="unknown option --workdr; did you mean '--workdir'"):
        main(["--workdr=x", "--workdir=y"])


def ends(main, capsys, monkeypatch, *more):
    """The exit code of `run`, and what it says."""
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as ended:
        command.run(main, *more)
    return ended.value.code, capsys.readouterr().err


def raises(error):
    def main(_):
        raise error

    return main


def test_exit_codes(capsys, monkeypatch):
    assert ends(lambda _: None, capsys, monkeypatch) == (0, "")
    assert ends(raises(UserError("a\n  b")), capsys, monkeypatch) == (2, "error: a b\n")
    assert ends(raises(Busy("wait")), capsys, monkeypatch) == (75, "error: wait\n")
    full = OSError(errno.ENOSPC, "No space left on device", "/some/file")
    assert ends(raises(full), capsys, monkeypatch) == (2, "error: /some/file: No space left on device\n")
    assert ends(raises(KeyboardInterrupt()), capsys, monkeypatch) == (130, "\nstopped\n")
    assert ends(raises(KeyboardInterrupt()), capsys, monkeypatch, "go on") == (130, "\ngo on\n")
    memory = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 5 bytes.")
    for error in (memory, MemoryError()):
        code, words = ends(raises(error), capsys, monkeypatch)
        assert code == 2
        assert words.startswith("error: out of memory; lower config.data.batch")
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", "x")
    assert ends(raises(gone), capsys, monkeypatch) == (2, "error: x: No such file or directory\n")
    assert ends(raises(Preempted()), capsys, monkeypatch)[0] == 85


def test_a_fault_of_the_program_is_one_line_and_its_traceback_a_file(capsys, monkeypatch, tmp_path):
    place = tmp_path / "tracebacks"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.delenv(command.TRACEBACKS, raising=False)
    code, words = ends(raises(KeyError("a\nb")), capsys, monkeypatch)
    assert (code, words.count("\n")) == (1, 1)
    (file,) = place.iterdir()
    assert str(file) in words
    assert file.read_text().startswith("Traceback (most recent call last)")
    monkeypatch.setenv(command.TRACEBACKS, "1")
    code, words = ends(raises(KeyError("a")), capsys, monkeypatch)
    assert code == 1
    assert "Traceback" in words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("RESOURCE_EXHAUSTED: Error writing: [OS error 28: ENOSPC No space left on device]", "the disk is full"),
        ("UNKNOWN: write failed: Disk quota exceeded", "the disk quota is full"),
        ("can't start new thread", "no more threads are allowed"),
        ("pread: Too many open files", "too many open files"),
        ("RESOURCE_EXHAUSTED: Out of memory", "out of memory"),
    ],
)
def test_what_libraries_quote_of_the_system_is_told_as_what_it_is(capsys, monkeypatch, text, line):
    def main(_):
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("the save failed") from error

    code, words = ends(main, capsys, monkeypatch)
    assert (code, words.count("\n")) == (2, 1)
    assert words.startswith(f"error: {line}")


def test_a_fault_that_came_about_beside_a_missing_file_is_no_mistake_of_the_users(capsys, monkeypatch, tmp_path):
    def main(_):
        try:
            open(tmp_path / "internal.bin").close()
        except FileNotFoundError:
            raise ValueError("index 3 is out of range")  # noqa: B904

    monkeypatch.delenv(command.TRACEBACKS, raising=False)
    code, words = ends(main, capsys, monkeypatch)
    assert code == 1
    assert "ValueError: index 3 is out of range" in words


def test_whoever_asks_for_tracebacks_has_that_of_a_refusal_too(capsys, monkeypatch):
    monkeypatch.setenv(command.TRACEBACKS, "1")
    code, words = ends(raises(OSError(errno.ENOSPC, "No space left on device", "x")), capsys, monkeypatch)
    assert code == 2
    assert "Traceback" in words and words.endswith("error: x: No space left on device\n")


SLOW_TO_END = """
import time
from ddpm_jax import command
def main(arguments):
    print("begun", flush=True)
    try:
        time.sleep(60)
    finally:
        time.sleep(60)
command.run(main)
"""


@pytest.mark.parametrize("count", [1, 5])
def test_ctrl_c_once_or_five_times(tmp_path, count):
    file = tmp_path / "program.py"
    file.write_text(
        SLOW_TO_END.replace("finally:\n        time.sleep(60)", "finally:\n        pass") if count == 1 else SLOW_TO_END
    )
    process = subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    for _ in range(count):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # the system makes one of signals that come at once
        if process.poll() is not None:
            break
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize(("work", "code"), [("print('x', file=sys.stderr)", 0), ("raise UserError('x')", 2)])
def test_an_exit_code_stays_what_it_is_where_nobody_can_hear_why(tmp_path, work, code):
    file = tmp_path / "program.py"
    file.write_text(
        "import contextlib, sys\nfrom ddpm_jax import command\nfrom ddpm_jax.errors import UserError\n"
        f"def main(_):\n    with contextlib.suppress(OSError):\n        {work}\ncommand.run(main)\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(file)], stderr=full, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    assert done.returncode == code


def test_words_that_the_terminal_cannot_show_are_escaped(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(
        "from ddpm_jax import command, screen\ncommand.run(lambda _: screen.say('d\\xe9j\\xe0 \\u4e2d \\udcff'))\n"
    )
    for coding in ("ascii", "latin-1", "utf-8"):
        done = program(str(file), PYTHONIOENCODING=coding)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("d")


def test_a_config_file_with_postponed_annotations_and_a_dataclass():
    Path("config.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from ddpm_jax.base import base\n"
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
        "from ddpm_jax.base import base\ndef get_config():\n    config, inner = base(), {}\n"
        "    inner['a'] = inner\n    config.unlock()\n    config.data.own = inner\n    return config\n"
    )
    assert refused("--config=config.py").startswith("--config=config.py:")


def test_an_error_s_line_is_no_longer_than_one_reads(capsys, monkeypatch):
    code, words = ends(raises(UserError(f"--config: there is no file {'x' * 5000}; give one")), capsys, monkeypatch)
    assert code == 2
    assert len(words) < 1100
    assert words.startswith("error: --config: there is no file xxx")
    assert words.endswith("xxx; give one\n")


def test_a_tuple_is_no_set():
    for value in ("{}", "{1}", "{1: 2}"):
        assert "is not of type tuple" in refused(DIGITS, f"--config.evaluation.curve={value}")


@pytest.mark.parametrize("value", ["1e-400", "1e-46", "-1e-9999", "0." + "0" * 400 + "1"])
def test_a_number_too_small_to_be_told_from_none(value):
    for key in ("training.seconds", "training.flops", "optimizer.clip", "evaluation.decoder_noise"):
        assert "too small to be told from 0" in refused(DIGITS, f"--config.{key}={value}")
    for zero in ("0", "0.0", "0e5", "-0.0"):
        assert parse(DIGITS, f"--config.training.seconds={zero}")[1].training.seconds == 0


def test_warnings_are_one_line(capsys, monkeypatch):
    shown = []

    def main(_):
        shown.append(warnings.formatwarning("look\nout", UserWarning, "file.py", 3))

    assert ends(main, capsys, monkeypatch) == (0, "")
    assert shown == ["warning: look out\n"]


def test_parse_keeps_options():
    parser = command.Parser(prog="x")
    parser.add_argument("--count", type=int)
    assert command.parse(parser, ["--count", "3"]) == argparse.Namespace(count=3)
    with pytest.raises(UserError, match=r"argument --count: invalid int value: 'x' \(see --help\)"):
        command.parse(parser, ["--count=x"])


@pytest.mark.parametrize(
    ("module", "words", "line"),
    [
        ("train", [DIGITS, "--config.data.bach=8"], "config.data.bach: no such key; did you mean 'data.batch'?"),
        (
            "train",
            [DIGITS, "--config.model.name=unett"],
            "config.model.name: unknown name 'unett'; did you mean 'unet'?",
        ),
        ("evaluate", ["--workdir=missing"], "missing holds no run (config.json is missing)"),
    ],
)
def test_programs_end_with_one_line(module, words, line):
    done = program("-m", f"ddpm_jax.{module}", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_reader_that_goes_away():
    command_line = f"{sys.executable} -m ddpm_jax.train {DIGITS} --print_config | true"
    done = subprocess.run(
        ["bash", "-c", command_line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""


def test_devices_that_do_not_divide_the_batch():
    done = program(
        *("-m", "ddpm_jax.train", DIGITS, "--config.logging.wandb=off", "--workdir=run"),
        XLA_FLAGS="--xla_force_host_platform_device_count=3",
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: config.data.batch: a global batch of 64 does not divide over 3 devices; use 63 or 66\n"
    )
    assert not Path("run").exists()


def test_processes_that_cannot_be_joined():
    done = program("-m", "ddpm_jax.train", DIGITS, "--config.parallel.distributed=True")
    assert done.returncode == 2
    assert done.stderr.startswith("error: config.parallel.distributed: the processes cannot be joined: ")
    assert "must be called before" not in done.stderr  # no array was made before
    assert done.stderr.count("\n") == 1


def test_a_command_within_a_command_ends_in_its_own_way(tmp_path):
    """Ctrl-C reaches both; the inner one, which takes its time to save, is waited for."""
    inner = (
        "import time\n"
        "try:\n    print('on', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1); print('saved', flush=True)\n"
    )
    line = [sys.executable, "-c", inner]
    outer = f"from ddpm_jax import command\ncommand.run(lambda _: command.to_its_end({line!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", outer], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("saved\n", 130)

"""How a command ends: its exit code, one line for whatever goes wrong, signals and streams."""

import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from ddpm_jax import commands
from ddpm_jax.errors import Busy, Preempted, UserError

ROOT = Path(__file__).resolve().parents[2]

DIGITS = f"--config={ROOT}/configs/digits/ddpm.py"

pytestmark = pytest.mark.usefixtures("nothing_prepared")


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


def ends(main, capsys, monkeypatch, *more):
    """The exit code of `run`, and what it says."""
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as ended:
        commands.run(main, *more)
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
    monkeypatch.delenv(commands.TRACEBACKS, raising=False)
    code, words = ends(raises(KeyError("a\nb")), capsys, monkeypatch)
    assert (code, words.count("\n")) == (1, 1)
    (file,) = place.iterdir()
    assert str(file) in words
    assert file.read_text().startswith("Traceback (most recent call last)")
    monkeypatch.setenv(commands.TRACEBACKS, "1")
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

    monkeypatch.delenv(commands.TRACEBACKS, raising=False)
    code, words = ends(main, capsys, monkeypatch)
    assert code == 1
    assert "ValueError: index 3 is out of range" in words


def test_whoever_asks_for_tracebacks_has_that_of_a_refusal_too(capsys, monkeypatch):
    monkeypatch.setenv(commands.TRACEBACKS, "1")
    code, words = ends(raises(OSError(errno.ENOSPC, "No space left on device", "x")), capsys, monkeypatch)
    assert code == 2
    assert "Traceback" in words and words.endswith("error: x: No space left on device\n")


SLOW_TO_END = """
import time
from ddpm_jax import commands
def main(arguments):
    print("begun", flush=True)
    try:
        time.sleep(60)
    finally:
        time.sleep(60)
commands.run(main)
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
        "import contextlib, sys\nfrom ddpm_jax import commands\nfrom ddpm_jax.errors import UserError\n"
        f"def main(_):\n    with contextlib.suppress(OSError):\n        {work}\ncommands.run(main)\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(file)], stderr=full, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    assert done.returncode == code


@pytest.mark.slow
def test_words_that_the_terminal_cannot_show_are_escaped(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(
        "from ddpm_jax import commands\nfrom ddpm_jax.pipeline import screen\n"
        "commands.run(lambda _: screen.say('d\\xe9j\\xe0 \\u4e2d \\udcff'))\n"
    )
    for coding in ("ascii", "utf-8"):
        done = program(str(file), PYTHONIOENCODING=coding)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("d")


def test_an_error_s_line_is_no_longer_than_one_reads(capsys, monkeypatch):
    code, words = ends(raises(UserError(f"--config: there is no file {'x' * 5000}; give one")), capsys, monkeypatch)
    assert code == 2
    assert len(words) < 1100
    assert words.startswith("error: --config: there is no file xxx")
    assert words.endswith("xxx; give one\n")


def test_warnings_are_one_line(capsys, monkeypatch):
    shown = []

    def main(_):
        shown.append(warnings.formatwarning("look\nout", UserWarning, "file.py", 3))

    assert ends(main, capsys, monkeypatch) == (0, "")
    assert shown == ["warning: look out\n"]


@pytest.mark.slow
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


@pytest.mark.slow
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
    outer = f"from ddpm_jax import commands\ncommands.run(lambda _: commands.to_its_end({line!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", outer], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("saved\n", 130)

"""The command `sweep`: what is started, when, and what becomes of it. Runs are stand-ins, but for some at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_jax import runs, sweep
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.runs import locks
from ddpm_jax.sweeps import expansion, loop, workers

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = ROOT / "tests" / "stand_in_run.py"

FILE = """
from ddpm_jax.config.base import base
from ddpm_jax.config.families import autoregressive

def get_config():
    config = base()
    config.data.batch = 8
    autoregressive(config)
    config.model.channels, config.model.depth, config.model.heads = 4, 1, 1
    config.sampler.ema = 0.9
    config.optimizer.ema, config.optimizer.warmup = (0.9,), 1
    config.training.steps, config.training.save_every, config.training.log_every = 400, 50, 10
    config.evaluation.validation_images = 8
    config.evaluation.at_end = config.evaluation.pictures = False
    config.logging.wandb = "off"
    return config

"""


@pytest.fixture(autouse=True)
def _here(nothing_prepared):
    """An empty working folder."""


def write(body):
    Path("x.py").write_text(FILE + body)


def rates(*values):
    """A file whose sweep has these learning rates."""
    write(f"def sweep():\n    for rate in {values}:\n        yield {{'optimizer.learning_rate': float(rate)}}\n")


def members():
    return expansion.members("x.py", Path("root"))


def starts():
    """The names of the members that were started, in order."""
    path = Path("root/starts.txt")
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def go(*words):
    sweep.main(["--config=x.py", "--workdir=root", *words])


def log(member):
    path = Path(f"root/logs/{member.name}.txt")
    return path.read_text() if path.exists() else ""


def send_when_started(patch, *numbers, started=1):
    """Signals to this process, once so many members have started."""
    real, told, everyone = time.sleep, [], members()

    def pause(seconds):
        if not told and sum("training" in log(member) for member in everyone) >= started:
            told.extend(os.kill(os.getpid(), number) for number in numbers)
        real(seconds)

    patch.setattr(time, "sleep", pause)


def refused(*words):
    with pytest.raises(UserError) as caught:
        go(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("stand_ins")
class TestStandIns:
    def test_all_are_run_once_and_skipped_after(self, capsys):
        rates(1e-3, 2e-3, 3e-3)
        go("--plan")
        assert not Path("root").exists()
        plan = capsys.readouterr().out
        assert [line.split()[0] for line in plan.splitlines()] == ["state", "new", "new", "new", "3"]
        go()
        said = capsys.readouterr().out.removeprefix(plan).splitlines()
        assert [line.split(" ")[1:3] for line in said[:3]] == [["finished", "in"]] * 3
        assert said[3:] == ["3 runs done in root"]
        assert starts() == [member.name for member in members()]
        assert all(runs.finished(member.folder) for member in members())
        go()
        assert capsys.readouterr().out.endswith("nothing is left to do\n")
        assert len(starts()) == 3

    def test_only(self):
        rates(1e-3, 2e-3, 3e-3)
        go("--only=*rate0.002*")
        assert starts() == [members()[1].name]
        assert refused("--only=rate").startswith("--only=rate matches no member; choose from: learning_rate0.001-")

    def test_overrides_are_for_all(self):
        rates(1e-3, 2e-3)
        go("--config.seed=5")
        for name in set(starts()):
            assert json.loads(Path("root", name, "result.json").read_text())["config"]["seed"] == 5

    def test_shares_of_the_machine(self, stand_ins):
        stand_ins.setenv("CUDA_VISIBLE_DEVICES", "4,5")
        stand_ins.setenv("STAND_IN_SECONDS", "1.5")
        rates(1e-3, 2e-3)
        go("--jobs=2")
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        lines = {line.split(" ", 1)[1] for line in Path("root/starts.txt").read_text().splitlines()}
        if half:
            assert lines == {f"{set(cores[:half])} 4", f"{set(cores[half:])} 5"}
        seconds = [path.stat().st_mtime for path in Path("root").glob("*/result.json")]
        assert abs(seconds[0] - seconds[1]) < 1.4  # side by side

    def test_one_that_fails_does_not_end_the_others(self, capsys):
        rates(1e-3, 7, 9, 2e-3)
        with pytest.raises(SystemExit) as ended:
            go()
        assert ended.value.code == 1
        _, seven, nine, _ = [member.name for member in members()]
        assert capsys.readouterr().err.splitlines()[-3:] == [
            "2 of 4 failed; the same command tries them again:",
            f"  {seven}: step 3: the loss or its gradient is not finite; lower config.optimizer.learning_rate"
            f" (root/logs/{seven}.txt)",
            f"  {nine}: ended by SIGKILL (root/logs/{nine}.txt)",
        ]
        assert [runs.finished(member.folder) for member in members()] == [True, False, False, True]
        with pytest.raises(SystemExit):
            go()
        assert len(starts()) == 6  # those that failed once more, the others not

    def test_a_full_disk_of_a_member_starts_no_more(self):
        rates(8, 1e-3)
        name = members()[0].name
        assert refused() == (
            f"{name}: root/{name}/result.json: No space left on device (root/logs/{name}.txt); "
            "when that is mended, the same command goes on"
        )
        assert starts() == [name]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
    def test_a_full_disk_of_the_sweep_itself(self):
        rates(1e-3, 2e-3)
        second = members()[1].name
        Path("root/logs").mkdir(parents=True)
        Path(f"root/logs/{second}.txt").symlink_to("/dev/full")
        assert refused().startswith(f"root/logs/{second}.txt: No space left on device; when that is mended")
        assert starts() == [members()[0].name]
        assert runs.finished(members()[0].folder)
        Path(f"root/logs/{second}.txt").unlink()
        go()
        assert starts() == [member.name for member in members()]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
    def test_stopped(self, stand_ins, number):
        rates(6, 1e-3)
        before = signal.getsignal(number)
        send_when_started(stand_ins, number)
        with pytest.raises(KeyboardInterrupt):
            go()
        assert signal.getsignal(number) is before
        first = members()[0]
        assert starts() == [first.name]
        assert locks.holder(first.folder) is None  # its process has ended
        assert "stopped" in log(first)

    @pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGUSR1], [signal.SIGTERM, signal.SIGUSR1]])
    def test_told_to_make_room_it_tells_its_runs_which_save(self, stand_ins, numbers, capsys):
        rates(6, 6.5, 1e-3)
        before = [signal.getsignal(number) for number in numbers]
        stand_ins.setenv("STAND_IN_SECONDS", "60")
        send_when_started(stand_ins, *numbers, started=2)
        with pytest.raises(Preempted):
            go("--jobs=2")
        assert [signal.getsignal(number) for number in numbers] == before
        assert "told to make room: 2 runs save and end" in capsys.readouterr().out
        for member in members()[:2]:
            assert runs.latest_checkpoint(member.folder) == 1
            assert locks.holder(member.folder) is None
            assert log(member).count("--- ") == 1
        assert len(starts()) == 2

    def test_one_that_does_not_make_room_is_killed(self, stand_ins):
        stand_ins.setattr(loop, "ROOM", ((signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
        stand_ins.setenv("STAND_IN_DEAF", "1")
        rates(6)
        send_when_started(stand_ins, signal.SIGTERM)
        with pytest.raises(Preempted):
            go()
        assert locks.holder(members()[0].folder) is None
        assert runs.latest_checkpoint(members()[0].folder) is None

    def test_told_before_the_first_run_starts(self, stand_ins):
        rates(1e-3)
        stand_ins.setattr(expansion, "check", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Preempted):
            go()
        assert not starts()

    def test_a_run_that_somebody_else_told_is_gone_on_with(self, capsys):
        rates(5, 1e-3)
        go()
        first, second = members()
        assert starts() == [first.name] * 3 + [second.name]
        assert all(runs.finished(member.folder) for member in (first, second))
        said = capsys.readouterr().out
        assert [step for step in (1, 2) if f"{first.name}: was told to make room at step {step}" in said] == [1, 2]

    def test_a_run_that_is_told_again_and_again_before_it_saves_fails(self, stand_ins, capsys):
        stand_ins.setenv("STAND_IN_SAVES", "0")
        rates(5, 1e-3)
        with pytest.raises(SystemExit):
            go()
        first, second = members()
        assert starts() == [first.name] * 4 + [second.name]
        assert (
            f"{first.name}: told to make room 4 times at step 0 (root/logs/{first.name}.txt)" in capsys.readouterr().err
        )
        assert runs.finished(second.folder)

    def test_one_that_does_not_listen_is_killed(self, stand_ins):
        stand_ins.setattr(workers, "GRACE", tuple((number, 0.3) for number, _ in workers.GRACE))
        code = "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)"
        stand_ins.setattr(expansion.Member, "command", lambda self: [sys.executable, "-c", code])
        rates(1e-3)
        worker = workers.Worker(members()[0], workers.Share(), Path("log.txt"))
        while "deaf" not in workers.last_lines(Path("log.txt")):
            time.sleep(0.02)
        workers.stop([worker])
        assert worker.code() == -signal.SIGKILL

    @pytest.mark.slow
    def test_two_sweeps_at_once_do_no_member_twice(self, stand_ins):
        stand_ins.setenv("STAND_IN_SECONDS", "0.2")
        rates(*(step * 1e-3 for step in range(1, 6)))
        code = (
            "import sys\nfrom ddpm_jax import sweep\nfrom ddpm_jax.sweeps import expansion\n"
            "real = expansion.Member.command\n"
            f"expansion.Member.command = lambda m: [sys.executable, {str(STAND_IN)!r}, *real(m)[3:]]\n"
            "expansion.check = lambda members, data=False: [400] * len(members)\n"
            "sweep.main(['--config=x.py', '--workdir=root'])"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as other:
            go()
            assert other.wait(timeout=60) == 0
        assert sorted(starts()) == sorted(member.name for member in members())

    @pytest.mark.parametrize("parent", ["gone", "alive"])
    def test_an_orphan_keeps_its_share_of_the_machine(self, stand_ins, parent, capsys):
        """The child of a sweep that was killed counts as one of the jobs; another user's process does not."""
        rates(1e-3, 2e-3)
        first, second = members()
        stand_ins.setenv("STAND_IN_SECONDS", "60")
        real, pauses = time.sleep, []

        def pause(seconds):
            """The first goes on while the sweep waits for it, or until the second has ended beside it."""
            pauses.append(seconds)
            if len(pauses) > 20 if parent == "gone" else runs.finished(second.folder):
                Path("over").touch()
            real(seconds)

        between = (
            f"import os, subprocess, sys\nos.environ[{locks.PARENT!r}] = str(os.getpid())\n"
            "subprocess.Popen(sys.argv[1:])"  # and that was it
        )
        process = subprocess.Popen([*([sys.executable, "-c", between] if parent == "gone" else []), *first.command()])
        while not locks.holder(first.folder):
            time.sleep(0.02)
        if parent == "gone":
            assert process.wait() == 0
        stand_ins.setenv("STAND_IN_SECONDS", "0")
        stand_ins.setattr(time, "sleep", pause)
        go()
        process.wait()
        assert starts() == [first.name, second.name]
        ends = [(member.folder / "result.json").stat().st_mtime for member in (first, second)]
        assert (ends[0] < ends[1]) == (parent == "gone")
        assert ("".join(capsys.readouterr()).count("still has the cores") == 1) == (parent == "gone")

    def test_wrong_words(self):
        rates(1e-3)
        assert refused("--jobs=0") == "--jobs: 0 is less than 1"
        assert refused("--job=2").startswith("unknown option --job; did you mean '--jobs'?")
        assert refused("--workdir=") == "--workdir: the name of the folder is empty"
        assert refused("--trials=3") == "--trials is of a search; add --search=optuna"
        Path("file").write_text("")
        assert refused("--workdir=file").startswith("file cannot be a sweep's folder (file is not a folder)")
        Path("run").mkdir()
        Path("run/config.json").write_text("{}")
        assert refused("--workdir=run") == "run is the folder of one run; choose another --workdir"
        with pytest.raises(UserError, match="--config is missing"):
            sweep.main([])

    def test_a_folder_that_cannot_be_written(self, stand_ins):
        rates(1e-3)
        stand_ins.setattr(os, "access", lambda *_: False)  # root may write anywhere
        assert "is not writable); choose another --workdir" in refused()
        assert not Path("root").exists()


def test_mistakes_are_told_before_anything_starts():
    """As a user's own process meets them."""
    write("def sweep():\n    yield {'seed': 1}\n    yield {'sed': 2}\n")
    done = program("-m", "ddpm_jax.sweep", "--config=x.py", "--workdir=root")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: sweep() member 2 (sed=2): config.sed: no such key; did you mean 'seed'?\n"
    write("def sweep():\n    yield {'data.batch': 8}\n    yield {}\n")
    done = program("-m", "ddpm_jax.sweep", "--config=x.py", "--workdir=root")
    assert done.returncode == 2
    assert re.fullmatch(r"error: members batch8-\w{8} and \w+-\w{8} are the same run: .*\n", done.stderr)
    assert not Path("root").exists()


def program(*words, **more):
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment(), **more},
    )


def environment():
    """Runs compile as quickly as can be, and share what they have compiled."""
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "PYTHONPATH": str(ROOT), **quick}


def wait_for(condition, process, log, seconds=240.0):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, Path(log).read_text()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_real_run_is_trained_and_not_again():
    write("def sweep():\n    yield {'training.steps': 4}\n")
    words = ["-m", "ddpm_jax.sweep", "--config=x.py", "--workdir=root"]
    done = program(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("1 run done in root")
    [member] = members()
    assert json.loads((member.folder / "result.json").read_text())["steps"] == 4
    assert runs.latest_checkpoint(member.folder) == 4
    go()
    assert log(member).count("--- ") == 1


@pytest.mark.slow
def test_told_to_make_room_a_real_run_saves_and_the_exit_code_says_so():
    write("def sweep():\n    yield {'training.steps': 1_000_000}\n")
    words = [sys.executable, "-m", "ddpm_jax.sweep", "--config=x.py", "--workdir=root"]
    [member] = members()
    with Path("said.txt").open("w") as said:
        process = subprocess.Popen(words, env=environment(), stdout=said, stderr=said)
    wait_for(lambda: runs.last_row(member.folder), process, "said.txt")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == Preempted.code, Path("said.txt").read_text()
    assert "told to make room: 1 run saves and ends" in Path("said.txt").read_text()
    assert "Traceback" not in log(member) + Path("said.txt").read_text()
    assert runs.latest_checkpoint(member.folder) >= runs.last_row(member.folder, "loss")["step"]


@pytest.mark.slow
def test_killed_and_started_again_no_run_is_lost_and_none_done_twice():
    """Six runs on two jobs; SIGKILL ends the sweep and one of its two children, the other goes on without it."""
    write("def sweep():\n    for i in range(6):\n        yield {'sampler.temperature': 1.0 - i / 10}\n")
    words = [sys.executable, "-m", "ddpm_jax.sweep", "--config=x.py", "--workdir=root", "--jobs=2"]
    everyone = members()

    def finished():
        return [member for member in everyone if runs.finished(member.folder)]

    def going():
        """Those in training, first one that has saved something."""
        held = [member for member in everyone if not runs.finished(member.folder) and locks.holder(member.folder)]
        return sorted(held, key=lambda member: not runs.latest_checkpoint(member.folder))

    pair = []  # taken at once: looked for again, one may have finished

    def half_way():
        held = going()
        if finished() and len(held) == 2 and runs.latest_checkpoint(held[0].folder):
            pair[:] = [(member, locks.holder(member.folder)) for member in held]
        return len(pair) == 2 and all(holder for _, holder in pair)

    with Path("first.txt").open("w") as log:
        first = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
    wait_for(half_way, first, "first.txt")
    (victim, orphan), pids = [member for member, _ in pair], [holder.pid for _, holder in pair]
    os.kill(pids[1], signal.SIGSTOP)  # so that it is still training when the second sweep comes to it
    try:
        for pid in (first.pid, pids[0]):
            os.kill(pid, signal.SIGKILL)
        first.wait()
        done = {member.folder: (member.folder / "result.json").stat().st_mtime_ns for member in finished()}
        saved = runs.latest_checkpoint(victim.folder)
        assert 0 < len(done) < 5
        assert not runs.finished(victim.folder)
        with Path("second.txt").open("w") as log:
            second = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
        waiting = f"{orphan.name}: process {pids[1]} on"
        wait_for(lambda: waiting in Path("second.txt").read_text(), second, "second.txt")
    finally:
        os.kill(pids[1], signal.SIGCONT)
    assert second.wait(timeout=240) == 0, Path("second.txt").read_text()
    said = Path("second.txt").read_text()
    assert f"{orphan.name}: finished by another process" in said
    assert f"to resume at step {saved}" in said
    assert said.rstrip().endswith("6 runs done in root")
    for member in everyone:
        assert runs.finished(member.folder)
        assert json.loads((member.folder / "result.json").read_text())["steps"] == 400
        log = Path(f"root/logs/{member.name}.txt").read_text()
        began = [int(step) for step in re.findall(r"(?:training in|going on with) \S+ from step (\d+)", log)]
        assert began == ([0, saved] if member == victim else [0])
        assert log.count("--- ") == len(began)
        told = [int(step) for step in re.findall(r"step (\d+): validation loss", log)]
        again = [step for step in told if told.count(step) > 1]
        assert sorted(set(told)) == list(range(50, 401, 50))
        assert all(member == victim and step > saved for step in again)  # told, but not saved yet when it was killed
        rows = [json.loads(line) for line in (member.folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == list(range(10, 401, 10))
    for folder, moment in done.items():
        assert (folder / "result.json").stat().st_mtime_ns == moment

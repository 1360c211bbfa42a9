"""Run a config as several processes of this machine, joined as on a cluster.

    python launch/local.py --config=configs/digits/ddpm.py --processes=2 --devices=4
    python launch/local.py --config=configs/digits/ddpm.py --processes=2 --devices=4 --command=sample -- --count=16

For trying out what a cluster will do. One process uses all devices of a machine, so no run needs this. Members of a
sweep run one after another. What stands behind -- goes to the command as it is. SIGTERM and SIGUSR1 are passed on: the
processes save, and the exit code is theirs, 85.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from members import DISTRIBUTED, at_least, check_hardware, make_parser, read, shown, unfinished

from ddpm_jax import commands
from ddpm_jax.commands import joining
from ddpm_jax.commands.preemption import SAVING, SIGNALS
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.sweeps import expansion
from ddpm_jax.sweeps.expansion import Member

COMMANDS = ("train", "sample", "evaluate")

GRACE = 20
"""Seconds that the others have to end after one has failed; more than `joining.FAREWELL`, which each takes itself."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = make_parser("local", __doc__)
    parser.add_argument("--processes", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--devices", type=int, help="emulated CPU devices of each process (default: its real devices)")
    parser.add_argument("--command", choices=COMMANDS, default="train", help="what to run (default: train)")
    words = list(arguments)
    split = words.index("--") if "--" in words else len(words)
    options, members, _ = read(parser, words[:split])
    at_least(options, 1, "processes", "devices")
    if len(members) > 1:  # one run checks itself at once
        expansion.check(members)
    if options.command == "train":
        members = unfinished(members)
    check_hardware(options, words[:split], members, None)  # the run checks its devices at once
    failed, made_room = [], []
    for member in members:
        line = command_line(member, options.command, options.processes, words[split + 1 :])
        if options.dry_run:
            for variables in environments("localhost:PORT", options.processes, options.devices):
                print(" ".join([*(f"{name}={value}" for name, value in variables.items()), shown(line)]))
            continue
        address = f"localhost:{free_port()}"
        codes = together(line, environments(address, options.processes, options.devices))
        if len(codes) == options.processes and {*codes.values()} == {Preempted.code}:
            made_room.append(member.name)
        elif codes:
            failed.append(f"{member.name} ({', '.join(f'process {i}: exit code {codes[i]}' for i in codes)})")
    if failed:
        raise UserError(f"{len(failed)} of {len(members)} failed: {'; '.join(failed)}")
    if made_room:
        raise Preempted


def command_line(member: Member, name: str, processes: int, rest: Sequence[str]) -> list[str]:
    """What each process runs."""
    if name == "train":
        return [*member.command(), *([DISTRIBUTED] if processes > 1 else []), *rest]
    several = ["--distributed"] if processes > 1 else []
    return [sys.executable, "-m", f"ddpm_jax.{name}", f"--workdir={member.folder}", *several, *rest]


def environments(address: str, processes: int, devices: int | None) -> list[dict[str, str]]:
    """The variables of each process, beside those that are set."""
    emulated = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)} if devices else {}
    joined = [joining.environment(address, processes, index) for index in range(processes)]
    return [{**(own if processes > 1 else {}), **emulated} for own in joined]


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def together(line: Sequence[str], variables: Sequence[Mapping[str, str]]) -> dict[int, int]:
    """Run one process for each set of variables until all have ended; none outlives one that fails for long.

    Returns:
        The exit codes, by process, of those that ended by themselves with another than 0.

    Raises:
        Preempted: SIGTERM or SIGUSR1 came. The processes have been told, and have ended.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def tell() -> None:
        for process in processes:
            process.terminate()

    with passing_on(tell) as told:
        try:
            for own in variables:
                processes.append(subprocess.Popen(line, env={**os.environ, **own}))
                if told:  # between two starts
                    processes[-1].terminate()
            deadline = None
            while None in (codes := [process.poll() for process in processes]):
                if deadline is None and (told or any(codes)):
                    deadline = time.monotonic() + (SAVING if told else GRACE)
                if deadline is not None and time.monotonic() > deadline:
                    break
                time.sleep(0.1)
        except KeyboardInterrupt:  # they have heard it as well
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            raise
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
    if told:
        raise Preempted
    return {i: code for i, code in enumerate(codes) if code}


@contextlib.contextmanager
def passing_on(tell: Callable[[], None]) -> Iterator[list[int]]:
    """Pass SIGTERM and SIGUSR1 on while this lasts, by `tell`; the list is of those that have come."""
    told: list[int] = []

    def hear(number: int, _: object) -> None:
        told.append(number)
        tell()

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    commands.run(main)

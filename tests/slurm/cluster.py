"""A real Slurm of this machine alone, in a folder of its own: munged, slurmctld, and a slurmd for each of three nodes.

    eval "$(python -m tests.slurm.cluster start)"      # sets SLURM_CONF; then sinfo, sbatch and launch/slurm.py work
    python -m tests.slurm.cluster stop

Needs root, and Debian's programs: apt-get install -y --no-install-recommends slurm-wlm munge

Jobs of the partition `high` take the place of those of `low`, which are queued again, of those of `grace`, too, after
20 s, and of those of `cancel`, which are not. The nodes pretend to have more cores than there are: what is tested is
who runs when, not how fast.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")

INSTALL = "apt-get install -y --no-install-recommends slurm-wlm munge"

NODES = ("first", "second", "localhost")
"""Their names. The last is one at which the tasks of a job find each other; `--constraint=NAME` chooses a node."""

CORES = 4

PARTITIONS = (
    "low Default=YES PriorityTier=1",
    "grace GraceTime=20 PriorityTier=1",
    "cancel PreemptMode=CANCEL PriorityTier=1",
    "high PriorityTier=2",
)

PATIENCE = 30
"""Seconds for each daemon to answer."""

CONF, DAEMONS = "slurm.conf", ("munged", "slurmctld", "slurmd")

SBIN = "/usr/sbin:/sbin"

TEXT = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a job that is queued again waits for so many seconds (120 where nothing is said)
AuthInfo=socket={folder}/munge.sock,cred_expire={expire}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=100000,batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
ReturnToService=2
"""


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a Slurm of one's own needs Linux and root"
    absent = [name for name in PROGRAMS if not _path(name)]
    return f"there is no program {absent[0]} here: {INSTALL}" if absent else None


def start(folder: Path, expire: int = 5) -> dict[str, str]:
    """Start the cluster in an empty folder, and return the variables that its users need.

    Args:
        folder: for its files; a path without spaces.
        expire: seconds that a job which is queued again waits.

    Raises:
        RuntimeError: a daemon does not come up; tells the end of its log. What was started has been stopped.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munged refuses a folder that others may write
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    ports = _free_ports(1 + len(NODES))
    lines = [TEXT.format(host=socket.gethostname(), folder=folder, ports=ports, expire=expire).rstrip()]
    for name, port in zip(NODES, ports[1:], strict=True):
        where = f"NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port}"
        lines.append(f"NodeName={name} {where} CPUs={CORES} Feature={name}")
    lines += [f"PartitionName={words} Nodes={','.join(NODES)} MaxTime=INFINITE State=UP" for words in PARTITIONS]
    (folder / CONF).write_text("\n".join(lines) + "\n")
    variables = {"SLURM_CONF": str(folder / CONF), "PATH": f"{os.environ.get('PATH', '')}:{SBIN}"}
    try:
        _daemon(folder, "munged.log", _munged(folder))
        _daemon(folder, "slurmctld.log", ["slurmctld", "-f", str(folder / CONF)])
        for name in NODES:
            (folder / f"spool_{name}").mkdir()
            _daemon(folder, f"slurmd_{name}.log", ["slurmd", "-N", name, "-f", str(folder / CONF)])
        wait_for(lambda: _idle(variables) == len(NODES), "the nodes do not come up", folder / "slurmctld.log")
    except BaseException:
        stop(folder)
        raise
    return variables


def stop(folder: Path) -> None:
    """Stop the cluster in the folder with all its jobs, and delete the folder."""
    folder = folder.absolute()
    environment = {**os.environ, "SLURM_CONF": str(folder / CONF)}
    for more in ([], ["--signal=KILL", "--full"]):  # none is queued again, and none lives on
        with suppress(OSError, subprocess.SubprocessError):
            words = [_path("scancel") or "scancel", "--quiet", "--user=root", *more]
            subprocess.run(words, env=environment, timeout=10, check=False, capture_output=True)
    end = time.monotonic() + PATIENCE
    while _processes(folder) - _daemons(folder) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in _daemons(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 10
    while _processes(folder) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in _processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition, words: str, log: Path, seconds: float = PATIENCE) -> None:
    """Wait until it is so. Raises RuntimeError, with the end of the log, if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            told = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
            raise RuntimeError(f"{words}: {told}")
        time.sleep(0.1)


def _path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")


def _munged(folder: Path) -> list[str]:
    files = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    return ["munged", "--force", *(f"--{name}={folder}/{file}" for name, file in files.items())]


def _daemon(folder: Path, log: str, words: list[str]) -> None:
    """Start one that goes into the background by itself."""
    done = subprocess.run(
        [_path(words[0]) or words[0], *words[1:]],
        cwd=folder,
        env={**os.environ, "SLURM_CONF": str(folder / CONF)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"{log}.err").open("w"),
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        told = "".join(path.read_text(errors="replace") for path in folder.glob(f"{log}*"))
        raise RuntimeError(f"{words[0]} ended with exit code {done.returncode}: {told[-2000:]}")


def _idle(variables: dict[str, str]) -> int:
    words = [_path("sinfo") or "sinfo", "--noheader", "--Node", "--partition=low", "--states=idle", "--format=%N"]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    return len(done.stdout.split())


def _daemons(folder: Path) -> set[int]:
    """The cluster's daemons, which have a file open in its folder or name it, and their own helpers."""
    return {pid for pid in _processes(folder) if _program(pid) in DAEMONS}


def _processes(folder: Path) -> set[int]:
    """The cluster's daemons, and its jobs' processes, which know its slurm.conf. Not a user who does as well."""
    found = set()
    for pid in (int(place.name) for place in Path("/proc").iterdir() if place.name.isdecimal()):
        with suppress(OSError):
            place = Path(f"/proc/{pid}")
            words = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            slurms = _program(pid) in (*DAEMONS, "slurmstepd")
            if slurms or b"\0SLURM_JOB_ID=" in words:
                opened = " ".join(os.readlink(link) for link in [place / "cwd", *(place / "fd").iterdir()])
                if str(folder) in words.decode(errors="replace") or (slurms and str(folder) in opened):
                    found.add(pid)
    return found


def _program(pid: int) -> str:
    """The name of the program that a process runs; Debian's are slurmd-wlm and so on. Empty if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name.removesuffix("-wlm")
    except OSError:
        return ""


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def main(arguments: list[str]) -> None:
    """`start [FOLDER]` or `stop [FOLDER]`."""
    action = arguments[0] if arguments else ""
    folder = Path(arguments[1] if len(arguments) > 1 else Path(tempfile.gettempdir()) / "ddpm_jax_slurm")
    if action == "stop":
        stop(folder)
    elif action == "start":
        if reason := missing():
            sys.exit(f"error: {reason}")
        for name, value in start(folder).items():
            print(f"export {name}={value}")
    else:
        sys.exit(f"error: say start or stop, and a folder if not {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])

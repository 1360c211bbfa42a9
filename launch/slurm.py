"""Submit a sweep's members, or one run, to Slurm as one job array, by submitit.

    python launch/slurm.py --config=configs/cifar10/ddpm.py --workdir=/scratch/runs/ddpm --partition=gpu \\
        --time=1440 --gpus_per_node=8 --cpus_per_task=16

Start it where all nodes see the checkout, its Python environment and --workdir. A job that is preempted, or comes to
the end of its time, saves, is queued again, and goes on from there. One task uses all devices of its node; with
more tasks than one each has one GPU and they are joined. --cluster=local runs the same jobs on this machine.
"""

import argparse
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from members import DISTRIBUTED, at_least, check_hardware, make_parser, read, shown, tool, unfinished

from ddpm_jax import commands
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.sweeps import expansion
from ddpm_jax.sweeps.expansion import Member

INSTALL = "submitit is not installed; pip install -e '.[launch]'"

RESOURCES = (
    *("partition", "account", "qos", "constraint", "array_parallelism", "setup"),
    *("time", "nodes", "gpus_per_node", "cpus_per_task", "mem"),
)
"""Options that submitit's Slurm executor knows by the same names."""

NAME = "ddpm_jax"


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = make_parser("slurm", __doc__)
    parser.add_argument("--cluster", choices=("slurm", "local"), default="slurm", help="(default: slurm)")
    parser.add_argument("--partition", metavar="NAME")
    parser.add_argument("--account", metavar="NAME")
    parser.add_argument("--qos", metavar="NAME")
    parser.add_argument("--constraint", metavar="WORDS", help="on the nodes")
    parser.add_argument("--time", metavar="MINUTES", type=int, default=240, help="of one job (default: 240)")
    parser.add_argument("--nodes", type=int, default=1, help="of one member (default: 1)")
    parser.add_argument("--tasks_per_node", type=int, help="(default: 1, on several nodes one a GPU)")
    parser.add_argument("--gpus_per_node", type=int, help="(default: none)")
    parser.add_argument("--cpus_per_task", type=int)
    parser.add_argument("--mem", metavar="SIZE", help="memory of a node, such as 64GB")
    parser.add_argument("--array_parallelism", metavar="N", type=int, help="members that run at a time (default: 256)")
    parser.add_argument(
        "--signal_delay", metavar="SECONDS", type=int, default=90, help="to save before the end of --time (default: 90)"
    )
    parser.add_argument("--requeues", metavar="N", type=int, default=20, help="after a time limit (default: 20)")
    parser.add_argument("--setup", metavar="LINE", action="append", help="of shell before each job; may be repeated")
    options, members, root = read(parser, arguments)
    at_least(options, 1, "time", "nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task")
    at_least(options, 1, "array_parallelism", "signal_delay")
    at_least(options, 0, "requeues")
    tasks = tasks_per_node(options)
    if options.cluster == "local" and options.nodes > 1:
        raise UserError(f"--nodes: {options.nodes} with --cluster=local, which is this machine alone")
    try:
        import submitit
    except ImportError as error:
        raise UserError(INSTALL) from error
    if options.cluster == "slurm" and not options.dry_run:
        for name in ("sbatch", "srun"):
            tool(name, "start this on a machine of the cluster, or use --cluster=local or --dry_run")
    expansion.check(members)
    check_hardware(options, arguments, members, options.nodes * (options.gpus_per_node or tasks))
    if not (members := unfinished(members)):
        return
    lines = [[*member.command(), *([DISTRIBUTED] if options.nodes * tasks > 1 else [])] for member in members]
    folder = root / "jobs"
    if options.cluster == "local":
        run_here(submitit, folder.absolute(), options, tasks, members, lines)
    elif options.dry_run:
        print(script(submitit, folder.absolute(), resources(options, tasks), len(lines)))
        for number, line in enumerate(lines):
            print(f"# {number}: {shown(line)}")
    else:
        submit(submitit, folder.absolute(), resources(options, tasks), members, lines, options.requeues)


def tasks_per_node(options: argparse.Namespace) -> int:
    """How many processes a node runs.

    Raises:
        UserError: JAX would not use all GPUs.
    """
    gpus = options.gpus_per_node or 0
    tasks = options.tasks_per_node or (max(1, gpus) if options.nodes > 1 else 1)
    if tasks * options.nodes > 1 and gpus and tasks != gpus:
        raise UserError(
            f"--tasks_per_node: {tasks} with {gpus} GPUs a node; JAX gives each of several tasks one GPU, "
            f"so use --tasks_per_node={gpus}"
        )
    return tasks


def resources(options: argparse.Namespace, tasks: int) -> dict[str, Any]:
    """The parameters of submitit's Slurm executor."""
    given = {name: getattr(options, name) for name in RESOURCES if getattr(options, name) is not None}
    if options.cpus_per_task is not None:  # srun no longer takes it from sbatch
        given["srun_args"] = [f"--cpus-per-task={options.cpus_per_task}"]
    own = {"signal_delay_s": options.signal_delay, "additional_parameters": {"requeue": True}}
    return {"job_name": NAME, "ntasks_per_node": tasks, **own, **given}


def script(submitit: Any, folder: Path, parameters: dict[str, Any], members: int) -> str:
    """What would be given to sbatch, made by submitit as when it submits, but where there is no Slurm too."""

    class Writer(submitit.SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2  # to write a script needs no srun

    writer = Writer(folder)
    writer.update_parameters(**parameters)
    if members > 1:
        writer.parameters["map_count"] = members
    return writer._make_submission_file_text(writer._submitit_command_str, "")


def submit(
    submitit: Any,
    folder: Path,
    parameters: dict[str, Any],
    members: list[Member],
    lines: list[list[str]],
    requeues: int,
) -> None:
    """Give all members to Slurm as one array, and say under which numbers."""
    from jobs import Job

    before = set(folder.iterdir()) if folder.exists() else None
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=requeues)
        executor.update_parameters(**parameters)
        with executor.batch():
            jobs = [executor.submit(Job(line)) for line in lines]
    except RuntimeError as error:  # sbatch refuses
        forget(folder, before)
        words = " ".join(str(error).split())
        raise UserError(f"Slurm does not take the jobs: {words[:300]}") from error
    for member, job in zip(members, jobs, strict=True):
        print(f"{job.job_id}  {member.name}")
    print(f"logs are in {folder}; squeue --me shows the jobs")


def forget(folder: Path, before: set[Path] | None) -> None:
    """Delete what a submission that failed left behind."""
    if folder.exists():
        for path in set(folder.iterdir()) - (before or set()):
            path.unlink()
        if before is None:
            folder.rmdir()


def run_here(
    submitit: Any, folder: Path, options: argparse.Namespace, tasks: int, members: list[Member], lines: list[list[str]]
) -> None:
    """Run the members on this machine, one after another, by submitit's local executor.

    Raises:
        UserError: members have failed.
        Preempted: SIGTERM or SIGUSR1 came, here or at a member.
    """
    import local
    from jobs import Job

    if options.dry_run:
        print("\n".join(f"submitit, local, {tasks} task{'s' * (tasks > 1)}: {shown(line)}" for line in lines))
        return
    executor = submitit.LocalExecutor(folder, max_num_timeout=options.requeues)
    executor.update_parameters(
        timeout_min=options.time,
        tasks_per_node=tasks,
        gpus_per_node=options.gpus_per_node or 0,
        setup=options.setup or (),
    )
    failed = []
    for member, line in zip(members, lines, strict=True):
        job = executor.submit(Job(line, f"localhost:{local.free_port()}" if tasks > 1 else ""))
        print(f"{job.job_id}  {member.name}", flush=True)
        with local.passing_on(lambda pid=int(job.job_id): tell(pid)) as told:
            try:
                results = job.results()
            except submitit.core.utils.UncompletedJobError:  # it did not begin, broke off or failed
                results = None
        if told or (results and "made room" in results):
            print(f"{member.name}: made room; the same command goes on", flush=True)
            raise Preempted
        if results is None:
            failed.append(f"{member.name} (see {job.paths.stderr})")
    if failed:
        raise UserError(f"{len(failed)} of {len(members)} failed: {'; '.join(failed)}")


def tell(pid: int) -> None:
    """Tell a job of this machine to make room: submitit's process, or the shell around it and that process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if children.exists() else []
    for each in [pid, *map(int, found)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGTERM)


if __name__ == "__main__":
    commands.run(main)

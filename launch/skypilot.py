"""Run a sweep's members, or one run, on TPU VMs, TPU pods or cloud GPUs, as managed jobs of SkyPilot.

    python launch/skypilot.py --config=configs/cifar10/ddpm.py --accelerators=tpu-v5litepod-8 --store=gs://my-bucket/runs

Writes one task file a member into --workdir, and gives each to `sky jobs launch`. SkyPilot starts a job again elsewhere
where its machine was taken away, or where it was told to make room and has saved (exit code 85); with --store the run
goes on from its last checkpoint. The checkout is what is sent.
SkyPilot is a tool of its own, in an environment of its own: `uv tool install 'skypilot[gcp]'`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from members import (
    DISTRIBUTED,
    at_least,
    call,
    check_hardware,
    devices_of,
    elsewhere,
    label,
    make_parser,
    read,
    shown,
    tool,
)

from ddpm_jax import commands, files
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.sweeps import expansion
from ddpm_jax.sweeps.expansion import Member

INSTALL = "install SkyPilot apart from this project: uv tool install 'skypilot[gcp]'"

MOUNT = PurePosixPath("/runs")
"""Where the bucket is on the machines."""

SUBMITTED = ".submitted"
"""How the mark beside the file of a task that has been submitted ends."""

PORT = 8476

JOIN = f"""\
export JAX_COORDINATOR_ADDRESS="$(echo "$SKYPILOT_NODE_IPS" | head -n 1):{PORT}"
export JAX_NUM_PROCESSES="$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="$SKYPILOT_NODE_RANK"
"""
"""For machines of which JAX cannot find out itself that they belong together."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = make_parser("skypilot", __doc__)
    parser.add_argument(
        "--accelerators", metavar="NAME", default="tpu-v5litepod-8", help="of a node (default: tpu-v5litepod-8)"
    )
    parser.add_argument("--num_nodes", type=int, default=1, help="(default: 1; a TPU pod is one)")
    parser.add_argument("--runtime_version", metavar="NAME", help="of a TPU (default: SkyPilot's choice)")
    parser.add_argument("--infra", metavar="CLOUD/REGION/ZONE", help="where (default: where it is cheapest)")
    parser.add_argument("--use_spot", action="store_true", help="machines that may be taken away, for less")
    parser.add_argument("--store", metavar="URL", help="a bucket or a folder of one for the runs, such as gs://b/runs")
    options, members, root = read(parser, arguments)
    at_least(options, 1, "num_nodes")
    tpu = options.accelerators.startswith("tpu-")
    if tpu and options.num_nodes > 1:
        raise UserError(f"--num_nodes: {options.num_nodes} TPU nodes; a pod is one node, such as tpu-v5litepod-32")
    if options.store and "://" not in options.store:
        raise UserError(f"--store: {options.store!r} is not a URL, such as gs://my-bucket/runs")
    if not options.store:
        raise UserError(
            "--store is missing: what is on a rented machine goes with it; name a bucket, such as gs://b/runs"
        )
    members = [elsewhere(member) for member in members]
    sky = "sky" if options.dry_run else tool("sky", INSTALL)
    expansion.check(members)
    known = options.accelerators if options.num_nodes == 1 else ""
    check_hardware(options, arguments, members, devices_of(options.accelerators, options.num_nodes), known)
    tasks = {}
    for member in members:
        task = task_of(member, root, options, tpu)
        tasks[root / "skypilot" / f"{task['name']}.yaml"] = written(task)
    if options.dry_run:
        for path, text in tasks.items():
            print(f"# {path}\n{text}# {shown(submission(sky, path))}\n")
        return
    for path, text in tasks.items():
        if (said := path.with_suffix(SUBMITTED)).exists():
            print(f"{path.stem} has been submitted; delete {said} to submit it again", flush=True)
            continue
        files.write_bytes(path, text.encode())
        call(submission(sky, path.absolute()), str(path))
        files.write_bytes(said, b"")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def written(task: dict[str, Any]) -> str:
    """The content of a task's file."""
    return yaml.dump(task, Dumper=_Dumper, sort_keys=False, width=10_000)


def submission(sky: str, path: Path) -> list[str]:
    """The command that submits a task file."""
    return [sky, "jobs", "launch", "--yes", "--detach-run", str(path)]


def task_of(member: Member, root: Path, options: Any, tpu: bool) -> dict[str, Any]:
    """The task of a member, as SkyPilot's task file has it."""
    folder = MOUNT / root.name / member.name
    line = replace(member, folder=Path(folder)).command(".venv/bin/python")
    several = tpu or options.num_nodes > 1  # a pod's hosts: JAX finds out how many there are
    resources = {
        "accelerators": options.accelerators,
        "accelerator_args": {"runtime_version": options.runtime_version} if options.runtime_version else None,
        "infra": options.infra,
        "use_spot": options.use_spot or None,
        "job_recovery": {"recover_on_exit_codes": [Preempted.code]},
    }
    return {
        "name": label(member.name, 60),
        "workdir": ".",
        "num_nodes": options.num_nodes,
        "resources": {name: value for name, value in resources.items() if value is not None},
        "file_mounts": {str(MOUNT): {"source": options.store, "mode": "MOUNT"}},
        "setup": (
            "python3 -m pip install --quiet uv\n"
            "python3 -m uv venv --quiet --allow-existing --python 3.11 .venv\n"
            f"python3 -m uv pip install --quiet --python .venv/bin/python -e . 'jax[{'tpu' if tpu else 'cuda13'}]'\n"
        ),
        "run": (JOIN if options.num_nodes > 1 else "") + shown([*line, *([DISTRIBUTED] if several else [])]) + "\n",
    }


if __name__ == "__main__":
    commands.run(main)

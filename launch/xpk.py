"""Run a sweep's members, or one run, on TPU slices of a GKE cluster, as workloads of xpk.

    python launch/xpk.py --config=configs/cifar10/ddpm.py --workdir=/runs/ddpm --cluster=NAME --tpu_type=v5litepod-16 \\
        --docker_image=gcr.io/PROJECT/ddpm_jax:latest --storage=runs

The image has the checkout as its working folder, and Python 3.11 with this package and jax[tpu]. --workdir lies on
storage that the cluster mounts (`xpk storage attach`), for a pod's own files go with it. A workload that is interrupted
saves, starts again and goes on from there. xpk is a tool of its own: `uv tool install xpk`, never beside
SkyPilot, which it takes back years.
"""

from collections.abc import Sequence
from typing import Any

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

from ddpm_jax import commands
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.sweeps import expansion
from ddpm_jax.sweeps.expansion import Member

INSTALL = "install xpk apart from this project and from SkyPilot: uv tool install xpk"

LONGEST = 39
"""xpk allows fewer than 40 characters for a workload's name."""

ROOM = (f"--restart-on-exit-codes={Preempted.code}", "--termination-grace-period-seconds=60")
"""A run that is told to make room has 60 s to save, and its exit code is no failure."""

REQUIRED = ("cluster", "tpu_type", "docker_image")
OPTIONAL = ("project", "zone", "num_slices", "max_restarts", "priority", "storage")


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = make_parser("xpk", __doc__)
    parser.add_argument("--cluster", metavar="NAME", help="of the GKE cluster")
    parser.add_argument("--tpu_type", metavar="NAME", help="such as v5litepod-16")
    parser.add_argument("--docker_image", metavar="IMAGE", help="with the checkout and its packages")
    parser.add_argument("--project", metavar="NAME", help="(default: gcloud's)")
    parser.add_argument("--zone", metavar="NAME", help="(default: gcloud's)")
    parser.add_argument("--num_slices", type=int, default=1, help="of one member (default: 1)")
    parser.add_argument("--max_restarts", type=int, default=10, help="of one workload (default: 10)")
    parser.add_argument("--priority", choices=("very-low", "low", "medium", "high", "very-high"))
    parser.add_argument("--storage", metavar="NAME", help="that holds --workdir, if it is not mounted by itself")
    options, members, root = read(parser, arguments, here=False)
    for name in REQUIRED:
        if not getattr(options, name):
            raise UserError(f"--{name} is missing (see --help)")
    at_least(options, 1, "num_slices")
    at_least(options, 0, "max_restarts")
    if not root.is_absolute():
        raise UserError(f"--workdir: {root} would go with its pod; give one on mounted storage, as /runs/{root.name}")
    members = [elsewhere(member) for member in members]
    xpk = "xpk" if options.dry_run else tool("xpk", INSTALL)
    expansion.check(members)
    known = options.tpu_type + (f"*{options.num_slices}" if options.num_slices > 1 else "")
    check_hardware(options, arguments, members, devices_of(options.tpu_type, options.num_slices), known)
    lines = [workload(member, options) for member in members]
    if options.dry_run:
        print("\n".join(shown([xpk, *line]) for line in lines))
        return
    for member, line in zip(members, lines, strict=True):
        call([xpk, *line], member.name)


def workload(member: Member, options: Any) -> list[str]:
    """The words that make a member a workload."""
    line = shown([*member.command("python"), DISTRIBUTED])
    given = {name: getattr(options, name) for name in (*REQUIRED, *OPTIONAL)}
    chosen = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    return ["workload", "create", f"--workload={label(member.name, LONGEST)}", *chosen, *ROOM, f"--command={line}"]


if __name__ == "__main__":
    commands.run(main)

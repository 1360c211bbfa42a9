"""Plan the large configs for hardware that is not there, and print the table of README.md.

    python experiments/pods/plans.py            # all, into plans/: some 20 minutes of a core
    python experiments/pods/plans.py --table    # the table alone, of the plans that are there

It needs the compilers: the extra `plan` for TPUs, JAX's `cuda13` for GPUs.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands

HERE = Path(__file__).parent
FOLDER = HERE / "plans"
CIFAR10 = ("--config=configs/cifar10/ddpm.py", "--config.model.dtype=bfloat16")
XL, LARGE = (("--config=configs/imagenet64/dit.py:" + size,) for size in ("xl", "7b"))

PLANS = {
    "cifar10_ddpm_v5e_2x4": (*CIFAR10, "--topology=v5e:2x4"),
    "cifar10_ddpm_h100_8": (*CIFAR10, "--topology=h100:8"),
    "dit_xl_v5e_4x4": (*XL, "--topology=v5e:4x4"),
    "dit_xl_v5e_4x4_two_slices": (*XL, "--topology=v5e:4x4*2"),
    "dit_xl_v5e_16x16": (*XL, "--topology=v5e:16x16"),
    "dit_xl_h100_8": (*XL, "--topology=h100:8"),
    "dit_7b_v5e_16x16": (*LARGE, "--topology=v5e:16x16"),
    "dit_7b_h100_8": (*LARGE, "--topology=h100:8"),
}
HEAD = (
    "| config | hardware | batch | memory a device, GB | of | ms a step | products | sending | share of peak "
    "| chip-hours | compiled in |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def row(plan: dict[str, Any]) -> str:
    """A plan as a line of the table."""
    (program,), at = plan["programs"], plan["topology"]
    time, kind = program["estimate"], at["accelerator"]
    total = time["computing"] + time["sending"]
    peak = kind[plan["dtype"]] * at["devices"]
    name = plan["name"].removeprefix("configs/").replace(".py", "")
    cells = (
        *(name, at["name"], plan["batch"]),
        *(f"{sum(program['memory'].values()) / 1e9:.2f}", f"{plan['room'] / 1e9:.1f}"),
        *(f"{1e3 * total:.2f}", f"{1e3 * time['products']:.2f}", f"{1e3 * time['sending']:.2f}"),
        *(f"{plan['flops'] / total / peak:.0%}", f"{plan['chip_hours']:,.0f}", f"{program['seconds']:.0f} s"),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def table() -> Iterator[str]:
    """The table, of the plans that are there."""
    yield HEAD
    for name in PLANS:
        if (path := FOLDER / f"{name}.json").is_file():
            yield row(json.loads(path.read_text()))


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/pods/plans.py", description=__doc__)
    parser.add_argument("--table", action="store_true", help="plan nothing")
    options = commands.parse(parser, arguments)
    for name, words in PLANS.items():
        if not options.table:
            command = [sys.executable, "-m", "ddpm_jax.plan", *words, f"--output={FOLDER / name}.json"]
            subprocess.run(command, cwd=HERE.parents[1], check=True)
    print("\n".join(table()))


if __name__ == "__main__":
    commands.run(main)

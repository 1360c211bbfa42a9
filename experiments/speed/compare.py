"""This project and PyTorch side by side: the same networks on the same machine, measured in turn, as ratios.

    python experiments/speed/compare.py --output=compare.json

Each row runs in two fresh processes, one for JAX and one for PyTorch, of which one works while the other waits. After a
run of warm-up, which compiles, come pairs of runs in alternating order (AB, BA, ...). A ratio is PyTorch's seconds over
ours for the same work in the same pair: above 1, ours is faster. The row shows the median of the pairs' ratios. A pair
during which other processes used the machine is run again, up to as many as there are to be; the least disturbed count.

Before anything is timed both networks are counted: parameters must be equal and the FLOPs of a forward pass (matrix
products and convolutions) within 5 %, or the two are not compared. Batch, image size, type of numbers and number of
threads are the same. PyTorch is run as people use it: diffusers' U-Net and schedulers, channels_last, fused attention,
fused Adam. Ours are the steps and samplers of the commands; a training step of ours also keeps an average of the
parameters, which PyTorch's here does not.

The limit is a plain matrix product, the fastest run of either side. A share of it counts a training step as three
forward passes, and what a network does beside products as nothing.

`--compile` adds `torch.compile` as a third side. `--size=gpu` takes larger networks in bfloat16 and a GPU on both
sides. The peers need the extra `peers`; without them ours is measured alone.
"""

import dataclasses
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cases
from cases import Case
from worker import Worker, WorkerError

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.progress import Bar

HERE = Path(__file__).parent
DISTURBED = 0.1
"""How many cores others may use before a pair is run again, and a row says so."""

PAUSE = 0.2
"""Seconds between two turns, in which threads that wait for work go to sleep."""


@dataclasses.dataclass(frozen=True)
class Side:
    """Who is measured: a worker's script, and how it is started."""

    name: str
    script: str
    options: tuple[str, ...]
    python: str = sys.executable
    environment: tuple[tuple[str, str], ...] = ()  # set beside that of this process
    limit: float | None = None  # seconds to prepare

    def start(self) -> Worker:
        """A fresh worker."""
        return Worker(HERE / self.script, self.options, self.python, {**os.environ, **dict(self.environment)})


def refusal(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """Why two networks are not the same; None if they are, by their numbers of parameters and FLOPs."""
    if ours["parameters"] != theirs["parameters"]:
        return f"{ours['parameters']} parameters, there {theirs['parameters']}"
    if abs(ours["flops"] / theirs["flops"] - 1) > cases.FLOPS_TOLERANCE:
        return f"{ours['flops']:.4g} FLOPs a forward pass, there {theirs['flops']:.4g}"
    return None


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of images a second, ours over theirs, pair by pair, from seconds for the same work."""
    return [b / a for a, b in zip(ours, theirs, strict=True)]


def measure(case: Case, sides: Sequence[Side], pairs: int, step: Callable[[str], None]) -> dict[str, Any]:
    """One row. `step` is told what has been done, each time a side has.

    Returns:
        `sides`: facts and seconds by the side's name. `ratios`: those of the others, pair by pair. `left_out`: why a
        side has none. `turns`: all pairs as measured, of which those numbered in `counted` count.
    """
    with ExitStack() as stack:
        facts, left_out, workers = {}, {}, {}
        for side in sides:
            try:
                workers[side.name] = stack.enter_context(side.start())
                workers[side.name].ask("hello")
                facts[side.name] = workers[side.name].ask("prepare", side.limit, case=dataclasses.asdict(case))
                facts[side.name]["memory_with_warm_up"] = workers[side.name].ask("memory", forget=True)["peak"]
                if case.task != "product" and (reason := refusal(facts[sides[0].name], facts[side.name])):
                    raise WorkerError(f"not the same network: {reason}")
            except WorkerError as error:
                if side is sides[0]:
                    raise
                left_out[side.name] = str(error)
                workers.pop(side.name).end()  # at once: it would take part of the machine
            step(f"{case.name}: {side.name} ready")
        turns: list[dict[str, dict[str, Any]]] = []
        while len(turns) < 2 * pairs and sum(disturbance(turn) <= DISTURBED for turn in turns) < pairs:
            turn = {}
            for name in list(workers)[:: -1 if len(turns) % 2 else 1]:
                time.sleep(PAUSE)
                turn[name] = workers[name].ask("measure")
                step(f"{case.name}: {name} {turn[name]['seconds']:.2f} s")
            turns.append(turn)
        for name, worker in workers.items():
            facts[name]["memory"] = worker.ask("memory")["peak"]
    counted = sorted(sorted(range(len(turns)), key=lambda number: disturbance(turns[number]))[:pairs])
    seconds = {name: [turns[number][name]["seconds"] for number in counted] for name in workers}
    for name, values in seconds.items():
        facts[name].update(figures(case, facts[name]["flops"], values))
    first, *others = seconds
    return {
        "sides": {name: facts[name] for name in seconds},
        "ratios": {name: ratios(seconds[first], seconds[name]) for name in others},
        "left_out": left_out,
        "turns": turns,
        "counted": counted,
    }


def figures(case: Case, flops: float, seconds: Sequence[float]) -> dict[str, Any]:
    """What a side's seconds come to; `flops` of a forward pass, or of the whole run of a product."""
    median = statistics.median(seconds)
    total = flops if case.task == "product" else flops * case.passes
    rates = {"images_per_second": case.images / median} if case.task != "product" else {}
    return {"seconds": list(seconds), "median": median, **rates, "flops_per_second": total / median}


def disturbance(turn: dict[str, dict[str, Any]]) -> float:
    """How many cores other processes used during a pair, the most of its runs; 0 where that is not known."""
    return max(measured["others"] or 0.0 for measured in turn.values())


def sides_of(options: Any) -> list[Side]:
    """Ours first, then PyTorch, then PyTorch compiled if it is asked for."""
    gpu, threads = options.size == "gpu", f"--threads={options.threads}"
    # On a GPU both sides hold memory at once, and JAX would take three quarters of it for itself.
    ours = (("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45"),) if gpu else (("JAX_PLATFORMS", "cpu"),)
    sides = [Side("ours", "ours.py", (threads,), environment=ours)]
    device = "--device=cuda" if gpu else "--device=cpu"
    python = options.peer_python or sys.executable
    sides.append(Side("pytorch", "peer.py", (threads, device), python))
    if options.compile:
        limit = options.compile_seconds
        sides.append(Side("compiled", "peer.py", (threads, device, "--compile"), python, limit=limit))
    return sides


def introduce(sides: Sequence[Side], gpu: bool) -> tuple[dict[str, Any], list[Side], str | None]:
    """What each side is made of, the sides that there are, and why the peers are not among them.

    Raises:
        UserError: ours does not start, or not on the device that is asked for.
    """
    with sides[0].start() as worker:
        try:
            facts = {"ours": worker.ask("hello")}
        except WorkerError as error:
            raise UserError(f"this project does not start: {error}") from error
    if gpu and facts["ours"]["platform"] == "cpu":
        raise UserError("--size=gpu: JAX sees no GPU; install its build for one, or use --size=cpu")
    if not sides[1:]:
        return facts, list(sides), None
    with sides[1].start() as worker:
        try:
            facts["pytorch"] = worker.ask("hello")
        except WorkerError as error:
            return facts, [sides[0]], f"ours alone, for PyTorch does not start ({error}); pip install -e '.[peers]'"
    return facts, list(sides), None


def header(names: Sequence[str]) -> str:
    """The table's head."""
    others = "".join(f"{name + ' img/s':>16}{'ratio':>7}" for name in names if name != "ours")
    return f"{'':40}{'ours img/s':>12}{others}{'limit':>7}{'MiB ours':>10}{'pytorch':>9}{'parameters':>12}"


def line(case: Case, row: dict[str, Any], names: Sequence[str]) -> str:
    """A row of the table. `limit`: our share of it."""
    sides, ours = row["sides"], row["sides"]["ours"]
    text = f"{cases.row_title(case):40}{ours['images_per_second']:12.2f}"
    for name in names:
        if name == "ours":
            continue
        rate = f"{sides[name]['images_per_second']:.2f}" if name in sides else "-"
        ratio = f"{row['median_ratios'][name]:.2f}" if name in sides else "-"
        text += f"{rate:>16}{ratio:>7}"
    memory = [f"{sides[name]['memory'] or 0:.0f}" if name in sides else "-" for name in ("ours", "pytorch")]
    return f"{text}{ours['share_of_limit']:7.0%}{memory[0]:>10}{memory[1]:>9}{ours['parameters']:12,}"


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print, and write what was measured."""
    parser = commands.Parser(prog="python experiments/speed/compare.py", description=__doc__)
    parser.add_argument("--rows", metavar="A,B,...", help=f"of {','.join(cases.cases('cpu'))}; default: all")
    parser.add_argument("--size", choices=cases.SIZES, default="cpu", help="of the networks (default: cpu)")
    parser.add_argument("--pairs", type=int, default=5, help="that count (default: 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of either side (default: all cores)")
    parser.add_argument("--long", action="store_true", help="DDPM in all its 1000 steps")
    parser.add_argument("--compile", action="store_true", help="torch.compile as a third side")
    parser.add_argument("--compile_seconds", type=int, default=300, help="how long a row may compile (default: 300)")
    parser.add_argument("--peer_python", metavar="FILE", help="the Python that has PyTorch (default: this one)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options = commands.parse(parser, arguments)
    rows = chosen(options)
    from ddpm_jax.files import obstacle, write_json

    if options.output and (reason := obstacle(Path(options.output).absolute().parent)):
        raise UserError(f"--output: {options.output} cannot be written ({reason})")
    facts, sides, alone = introduce(sides_of(options), options.size == "gpu")
    names = [side.name for side in sides]
    device = facts["ours"]["device"]["kind"]
    print(f"on {device}, {options.threads} threads, {options.pairs} pairs; size {options.size}", flush=True)
    if alone:
        print(alone, flush=True)
    result: dict[str, Any] = {"size": options.size, "threads": options.threads, "pairs": options.pairs, "rows": {}}
    turn = itertools.count(1)
    with Bar("turn", _turns(rows, sides, options.pairs), unit="turns") as bar:

        def step(text: str) -> None:
            bar.update(next(turn), text)

        plain = [side for side in sides if side.name != "compiled"]
        limit = attempt(cases.product(options.size), plain, options.pairs, step)
        limits = {name: side["flops"] / min(side["seconds"]) for name, side in limit["sides"].items()}
        best = max(limits.values())
        result["limit"] = {**limit, "flops_per_second": best}
        each = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in limits.items())
        bar.write(f"limit, a matrix product, in GFLOP/s: {each}\n{header(names)}")
        for case in rows:
            those = [side for side in sides if case.peer or side.name == "ours"]
            row = attempt(case, those, options.pairs, step)
            for side in row["sides"].values():
                side["share_of_limit"] = side["flops_per_second"] / best
            row["median_ratios"] = {name: statistics.median(values) for name, values in row["ratios"].items()}
            bar.write(line(case, row, names))
            for name, reason in row["left_out"].items():
                bar.write(f"    {name}: {reason}")
            if (others := statistics.median(disturbance(row["turns"][i]) for i in row["counted"])) > DISTURBED:
                bar.write(f"    disturbed: others used {others:.1f} cores meanwhile, so this row means little")
            if not case.peer:
                row["left_out"] = dict.fromkeys(names[1:], "there is no network of the same architecture")
            result["rows"][case.name] = {"case": dataclasses.asdict(case), **row}
    print("ratio: above 1, ours is faster; limit: our share of a matrix product's FLOP/s; MiB: the peak while running")
    print("start-up: experiments/speed/start_up.py; the loop around the steps: experiments/speed/loop_overhead.py")
    for case in rows:
        ratio = result["rows"][case.name]["median_ratios"].get("pytorch")
        if case.target and ratio is not None:
            print(f"{case.name}: {ratio:.2f}, target {case.target}: {'met' if ratio >= case.target else 'not met'}")
    if options.output:
        provenance = {key: facts["ours"][key] for key in ("versions", "device", "git_commit")}
        write_json(Path(options.output), {**result, "peer": facts.get("pytorch"), **provenance})


def attempt(case: Case, sides: Sequence[Side], pairs: int, step: Callable[[str], None]) -> dict[str, Any]:
    """`measure`, whose failure on our side is the user's to mend.

    Raises:
        UserError: ours could not run the case.
    """
    try:
        return measure(case, sides, pairs, step)
    except WorkerError as error:
        raise UserError(f"{case.name}: {error}") from error


def _turns(rows: Sequence[Case], sides: Sequence[Side], pairs: int) -> int:
    """How often `step` will be told of something, if nothing is left out."""
    compared = sum(len(sides) if case.peer else 1 for case in rows)
    return (compared + sum(side.name != "compiled" for side in sides)) * (1 + pairs)


def chosen(options: Any) -> list[Case]:
    """The cases to measure. Raises UserError for options that cannot be."""
    known = cases.cases(options.size)
    names = options.rows.split(",") if options.rows else list(known)
    for name in names:
        if name not in known:
            raise UserError(f"--rows: there is no row {name!r}; {nearest(name, known)}")
    for name in ("pairs", "threads", "compile_seconds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: {getattr(options, name)} is less than 1")
    cores = os.cpu_count() or 1
    if options.threads > cores or (options.threads < cores and not hasattr(os, "sched_setaffinity")):
        raise UserError(f"--threads: {options.threads} cannot be; this machine has {cores} cores")
    if options.peer_python and not os.access(options.peer_python, os.X_OK):
        raise UserError(f"--peer_python: {options.peer_python} is not a program")
    return [cases.long(known[name]) if options.long else known[name] for name in names]


if __name__ == "__main__":
    commands.run(main)

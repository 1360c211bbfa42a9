"""Every member of the house on one data set, side by side: train what is missing, print one table, keep it.

    python experiments/families/table.py                  # what there is in runs/
    python experiments/families/table.py --train --keep   # train the rest first, and keep the table beside this file

Members are the configs of one folder (--configs=configs/digits); a member's run is runs/<folder>_<name>, as the train
command names it. Each is trained by that command in a process of its own, one after the other, and is resumed where it
was cut off. A member that fails is told at the end; the others go on. What is kept is the table (.md), its data
(.json), and a picture (.png) with a row of samples for each member that has some in samples/seed0.npz of its run,
where `python -m ddpm_jax.sample --workdir=RUN` puts them.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import command, pictures
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import write_bytes, write_json

HERE, SHOWN = Path(__file__).parent, 20
COLUMNS = (
    "member",
    "bits/dim",
    "kind",
    "bits/dim, ODE",
    "Frechet",
    "precision",
    "recall",
    "copies",
    "variance",
    "evaluations",
    "steps",
    "parameters",
)


QUALITY = ("frechet", "precision", "recall", "copies", "variance")


def members(folder: Path, only: str) -> dict[str, Path]:
    """The configs of the folder by name, or those of them that are named. Sweeps (`sweep_*.py`) are no members.

    Raises:
        UserError: there are none, or none of that name.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("sweep_")}
    if not found:
        raise UserError(f"--configs: there are no configs in {folder}")
    names = [name for name in only.split(",") if name] or list(found)
    for name in names:
        if name not in found:
            raise UserError(f"--only: there is no {name} in {folder}; {nearest(name, found)}")
    return {name: found[name] for name in names}


def train(configs: dict[str, Path], runs: Path) -> list[str]:
    """Train each member that has no figures yet. The names of those that failed."""
    failed = []
    for number, (name, path) in enumerate(configs.items(), 1):
        folder = runs / f"{path.parent.name}_{name}"
        if figures(folder) is not None:
            continue
        print(f"[{number}/{len(configs)}] {name}", flush=True)
        line = [sys.executable, "-m", "ddpm_jax.train", f"--config={path}", f"--workdir={folder}"]
        if subprocess.run(line, check=False).returncode:
            failed.append(name)
    return failed


def figures(folder: Path) -> dict[str, Any] | None:
    """A run's result, if it is there and evaluated."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return result if {"likelihood", "quality", "sampling"} <= set(result) else None


def row(result: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a result, as data."""
    likelihood, samples = result["likelihood"], result["quality"]["samples"]
    kept = ("value", "standard_error", "kind", "images", "dequantisation", "draws")

    def figure(name: str) -> dict[str, Any] | None:
        return {key: likelihood[name][key] for key in kept} if name in likelihood else None

    return {
        "likelihood": figure("test"),
        "ode": figure("ode"),
        "in_order": figure("in_order"),
        **{name: samples.get(name) for name in QUALITY},
        "sampler": result["config"]["sampler"]["name"],
        "evaluations": result["sampling"]["network_evaluations_per_sample"],
        "weights": result["sampling"]["weights"],
        "steps": result["steps"],
        "parameters": result["parameters"],
        "seed": result["seed"],
        "trained_at_commit": result.get("git_commit"),
        "evaluated_at_commit": result["evaluated"].get("git_commit"),
        "device": result.get("device"),
    }


def quality(figures: dict[str, Any]) -> list[str]:
    """The cells of sample quality; a run of an older version may lack one."""
    digits = [2, *(3 for _ in QUALITY[1:])]
    values = [(figures.get(name), places) for name, places in zip(QUALITY, digits, strict=True)]
    return ["-" if value is None else f"{value:.{places}f}" for value, places in values]


def lines(rows: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The table's cells, best likelihood first; a model without one comes last.

    Exact likelihoods and bounds are of the same discrete pixels in the same unit; a bound is at or above its own
    model's exact value.
    """

    def bits(figure: dict[str, Any] | None) -> str:
        return f"{figure['value']:.3f} +- {figure['standard_error']:.3f}" if figure else "-"

    return [
        [
            name,
            bits(one["likelihood"]),
            one["likelihood"]["kind"] if one["likelihood"] else "-",
            bits(one["ode"]),
            *quality(one),
            f"{one['evaluations']:.4g}",
            f"{one['steps']:,}",
            f"{one['parameters']:,}",
        ]
        for name, one in sorted(rows.items(), key=lambda item: (item[1]["likelihood"] or {"value": math.inf})["value"])
    ]


def references(result: dict[str, Any]) -> list[list[str]]:
    """What simple models score on the same test images, as rows of the same table."""
    floors, lines = result["likelihood"]["floors"], result["quality"]["references"]
    table = []
    for name in [*floors, *(name for name in lines if name not in floors)]:
        cells = ["-"] * (len(COLUMNS) - 1)
        if floor := floors.get(name):
            cells[:2] = [f"{floor['value']:.3f} +- {floor['standard_error']:.3f}", "exact"]
        if line := lines.get(name):
            cells[3:8] = quality(line)
        table.append([f"*{name.replace('_', ' ')}*", *cells])
    return table


def markdown(table: list[list[str]]) -> str:
    """The cells as a Markdown table whose columns line up."""
    widths = [max(len(line[i]) for line in [list(COLUMNS), *table]) for i in range(len(COLUMNS))]

    def text(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width if i == 0 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    return "\n".join([text(COLUMNS), text(rule), *map(text, table)])


def picture(path: Path, runs: Sequence[Path]) -> list[Path]:
    """A row of samples of each run that has drawn some; gives back those runs."""
    drawn = [run for run in runs if (run / "samples" / "seed0.npz").is_file()]
    if drawn:
        images = np.stack([np.load(run / "samples" / "seed0.npz")["images"][:SHOWN] for run in drawn])
        pictures.save(path, pictures.tile(images / images.max() * 2 - 1))
    return drawn


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = command.Parser(prog="python experiments/families/table.py", description=__doc__)
    parser.add_argument("--configs", metavar="DIR", default="configs/digits", help="the members (configs/digits)")
    parser.add_argument("--only", metavar="A,B", default="", help="these members only")
    parser.add_argument("--runs", metavar="DIR", default="runs", help="where the runs are (runs)")
    parser.add_argument("--train", action="store_true", help="train and evaluate the members that are not, first")
    parser.add_argument("--keep", action="store_true", help="write the table and a picture beside this file")
    options = command.parse(parser, arguments)
    folder, runs = Path(options.configs), Path(options.runs)
    configs = members(folder, options.only)
    failed = train(configs, runs) if options.train else []
    results = {name: figures(runs / f"{folder.name}_{name}") for name in configs}
    done = {name: result for name, result in results.items() if result is not None}
    if not done:
        raise UserError(f"--runs: no member of {folder} has figures in {runs}; run with --train")
    rows = {name: row(result) for name, result in done.items()}
    table = markdown([*lines(rows), *references(next(iter(done.values())))])
    print(table)
    if options.keep:
        write_bytes(HERE / f"{folder.name}.md", f"{table}\n".encode())
        write_json(HERE / f"{folder.name}.json", rows)
        ordered = [runs / f"{folder.name}_{line[0]}" for line in lines(rows)]
        for run in picture(HERE / f"{folder.name}.png", ordered):
            print(f"in the picture: {run.name}")
    missing = [name for name in configs if name not in done]
    if missing:
        print(f"no figures yet: {', '.join(missing)}" + (f" (failed: {', '.join(failed)})" if failed else ""))
    if failed:
        raise UserError(f"{', '.join(failed)} failed; the lines above say why")


if __name__ == "__main__":
    command.run(main)

"""Every member on one data set, side by side: train what is missing, print one table, keep it.

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
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import write_bytes, write_json
from ddpm_jax.reporting.ledger import QUALITY, kept
from ddpm_jax.reporting.tables import Table, markdown
from ddpm_jax.runs import pictures

HERE, SHOWN = Path(__file__).parent, 20
NO_MEMBERS = ("sweep_", "classifier")
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


def members(folder: Path, only: str) -> dict[str, Path]:
    """The configs of the folder by name, or those of them that are named; neither sweeps nor classifiers are members.

    Raises:
        UserError: there are none, or none of that name.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith(NO_MEMBERS)}
    if not found:
        raise UserError(f"--configs: there are no configs in {folder}")
    names = [name for name in only.split(",") if name] or list(found)
    for name in names:
        if name not in found:
            raise UserError(f"--only: there is no {name} in {folder}; {nearest(name, found)}")
    return {name: found[name] for name in names}


def train(members: Mapping[str, tuple[Path, Sequence[str]]]) -> list[str]:
    """Train each member, a run's folder and options of the train command, that has no figures yet, one after another.

    Returns:
        The names of those that failed.
    """
    failed = []
    for number, (name, (folder, options)) in enumerate(members.items(), 1):
        if figures(folder) is not None:
            continue
        print(f"[{number}/{len(members)}] {name}", flush=True)
        line = [sys.executable, "-m", "ddpm_jax.train", *options, f"--workdir={folder}"]
        if commands.to_its_end(line):
            failed.append(name)
    return failed


def figures(folder: Path) -> dict[str, Any] | None:
    """A run's result, if it is there and evaluated."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    evaluated = isinstance(result, dict) and all(result.get(key) for key in ("likelihood", "quality", "sampling"))
    return result if evaluated else None


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
    floors = result["likelihood"].get("floors") or {}
    lines = {name: line for name, line in (result["quality"].get("references") or {}).items() if line}
    table = []
    for name in [*floors, *(name for name in lines if name not in floors)]:
        cells = ["-"] * (len(COLUMNS) - 1)
        if floor := floors.get(name):
            cells[:2] = [f"{floor['value']:.3f} +- {floor['standard_error']:.3f}", "exact"]
        if line := lines.get(name):
            cells[3:8] = quality(line)
        table.append([f"*{name.replace('_', ' ')}*", *cells])
    return table


def picture(path: Path, runs: Sequence[Path]) -> list[Path]:
    """A row of samples of each run that has drawn some; gives back those runs."""
    drawn = [run for run in runs if (run / "samples" / "seed0.npz").is_file()]
    if drawn:
        images = np.stack([np.load(run / "samples" / "seed0.npz")["images"][:SHOWN] for run in drawn])
        pictures.save(path, pictures.tile(images / images.max() * 2 - 1))
    return drawn


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/families/table.py", description=__doc__)
    parser.add_argument("--configs", metavar="DIR", default="configs/digits", help="the members (configs/digits)")
    parser.add_argument("--only", metavar="A,B", default="", help="these members only")
    parser.add_argument("--runs", metavar="DIR", default="runs", help="where the runs are (runs)")
    parser.add_argument("--train", action="store_true", help="train and evaluate the members that are not, first")
    parser.add_argument("--keep", action="store_true", help="write the table and a picture beside this file")
    options = commands.parse(parser, arguments)
    folder, runs = Path(options.configs), Path(options.runs)
    configs = members(folder, options.only)
    folders = {name: runs / f"{folder.name}_{name}" for name in configs}
    jobs = {name: (folders[name], [f"--config={path}"]) for name, path in configs.items()}
    failed = train(jobs) if options.train else []
    results = {name: figures(path) for name, path in folders.items()}
    done = {name: result for name, result in results.items() if result is not None}
    if not done:
        raise UserError(f"--runs: no member of {folder} has figures in {runs}; run with --train")
    rows = {name: kept(result) for name, result in done.items()}
    table = markdown(Table(COLUMNS, [*lines(rows), *references(next(iter(done.values())))]))
    print(table)
    if options.keep:
        write_bytes(HERE / f"{folder.name}.md", f"{table}\n".encode())
        write_json(HERE / f"{folder.name}.json", rows)
        ordered = [folders[line[0]] for line in lines(rows)]
        for run in picture(HERE / f"{folder.name}.png", ordered):
            print(f"in the picture: {run.name}")
    missing = [name for name in configs if name not in done]
    if missing:
        print(f"no figures yet: {', '.join(missing)}" + (f" (failed: {', '.join(failed)})" if failed else ""))
    if failed:
        raise UserError(f"{', '.join(failed)} failed; the lines above say why")


if __name__ == "__main__":
    commands.run(main)

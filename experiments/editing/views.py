"""Small and grey pictures become whole ones: by a network that is told them, and by the same network told nothing.

    python -m ddpm_jax.train --config=configs/still_lifes/restore.py --workdir=runs/still_lifes_restore
    python experiments/editing/views.py --workdir=runs/still_lifes_restore --output=views.json

Of test pictures the means of squares of 4 x 4 pixels are given, or the brightness; with noise of a deviation of 0.2 as
well, black to white being 2. `told` asks the network that was trained with such pictures. The others are told nothing
and led by what is measured, one network for any operator (`ddpm_jax.editing.measured`).

- error: the root mean square of what is measured of a result less what was given, without the noise; in units of x.
- kind, place, colour: shares of pictures of whose things, as the oracle reads them, all have their kind, lie within two
  sixteenths of the side of where the picture has them, and have the colours of the picture's things.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ddpm_jax import commands, runs
from ddpm_jax.commands import starting
from ddpm_jax.data import still_lifes
from ddpm_jax.data.levels import table
from ddpm_jax.editing import Averages, Grey, Restore
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline import editing
from ddpm_jax.pipeline.editing import Looking
from ddpm_jax.pipeline.restored import Run, restore

NOISES = (0.0, 0.2)
OPERATORS: dict[str, Any] = {"small": Averages(4), "grey": Grey((0.299, 0.587, 0.114))}
SEED = 0


def agree(readings: Sequence[Any], others: Sequence[Any]) -> dict[str, float]:
    """Shares of pictures whose things have the kinds, places and colours of the other's."""
    from still_lifes import alike

    def colours(reading: Any) -> list[str]:
        return sorted(str(thing.colour) for thing in reading.things)

    pairs = list(zip(readings, others, strict=True))
    kind, place = np.mean([alike(one, other) for one, other in pairs], axis=0)
    colour = float(np.mean([colours(one) == colours(other) for one, other in pairs]))
    return {"kind": float(kind), "place": float(place), "colour": colour}


def figures(run: Run, name: str, noise: float, count: int) -> list[dict[str, Any]]:
    """Of each method, for one operator and one deviation of noise."""
    operator, rows = OPERATORS[name], run.dataset.split("test").rows(np.arange(count))
    levels, x = run.model.description.levels or 256, run.model.description.encode(rows["image"])
    clean = np.asarray(operator(x))
    given = clean + noise * np.random.default_rng(SEED).standard_normal(clean.shape, np.float32)
    before = still_lifes.read(table(levels, 256)[rows["image"]])
    nothing = {one: np.asarray(values) for one, values in run.experiment.asked.null(count).items()}
    told = Looking(SEED, nothing | {name: np.asarray(rows["condition"][name])})
    images = {"told": editing.draw(run, editing.follow(run, told, noise), told).images}
    for method in ("tmpd", "pigdm"):
        task = Restore(operator, max(noise, 0.02), method)
        images[method] = editing.restore(run, given, task, replace(told, condition=nothing)).images
    images["the picture itself"] = rows["image"]
    found = []
    for method, made in images.items():
        after = np.asarray(operator(run.model.description.encode(jnp.asarray(made))))
        error = float(np.sqrt(np.mean(np.square(after - clean))))
        reading = still_lifes.read(table(levels, 256)[made])
        found.append({"given": name, "noise": noise, "method": method, "error": error, **agree(reading, before)})
    return found


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print."""
    parser = commands.Parser(prog="python experiments/editing/views.py", description=__doc__)
    parser.add_argument("--workdir", metavar="DIR", required=True, help="a run of configs/still_lifes/restore.py")
    parser.add_argument("--count", type=int, default=200, help="of pictures (default: 200)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options = commands.parse(parser, arguments)
    starting.start_jax()
    config = runs.read_config(Path(options.workdir))
    if not {*OPERATORS} <= set(config.model.conditions):
        raise UserError("--workdir: the run is to be told small and grey: configs/still_lifes/restore.py")
    run, rows = restore(config, Path(options.workdir)), []
    for name in OPERATORS:
        for noise in NOISES:
            found = figures(run, name, noise, options.count)
            for row in found:
                print(
                    "{given}, noise {noise}, {method:20} error {error:.3f}, kind {kind:.1%}, place {place:.1%}, "
                    "colour {colour:.1%}".format(**row),
                    flush=True,
                )
            rows += found
    if options.output:
        result = {"run_step": run.step, "pictures": options.count, "rows": rows}
        Path(options.output).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    commands.run(main)

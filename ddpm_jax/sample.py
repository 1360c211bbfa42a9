"""Draw samples from a trained run.

    python -m ddpm_jax.sample --workdir=runs/digits_ddpm --count=64 --seed=1

Writes a PNG grid and an .npz with the images (uint8 levels, [count, height, width, channels]), and
their labels where the model was told labels. Image
i of a seed is the same whatever the count, the batch and the number of devices.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.config.keys import KEYS
from ddpm_jax.errors import UserError

CHANGES = (
    "sampler",
    "spacing",
    "steps",
    "order",
    "eta",
    "temperature",
    "top_k",
    "nucleus",
    "confidence_temperature",
    "guidance",
    "ema",
)
"""Keys of the sampler that are options of this command, and part of the default output's name."""


def forget_options(config: Any) -> None:
    """Set what the sampler that was asked for does not read to what means nothing."""
    from ml_collections import ConfigDict

    from ddpm_jax import plugins
    from ddpm_jax.samplers import SOLVERS

    config.sampler.options = ConfigDict()  # of the run's own solver
    solver = SOLVERS.get(config.sampler.name)
    if solver is not None and "corrector_steps" not in plugins.options(solver):
        config.sampler.corrector_steps = 1
    if solver is not None and not solver.churns:
        config.sampler.churn = 0.0


@contextmanager
def options_named() -> Iterator[None]:
    """An error about a key of the sampler names the option of this command."""
    try:
        yield
    except UserError as error:
        raise UserError(
            str(error).replace("config.sampler.name", "--sampler").replace("config.sampler.", "--")
        ) from error


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.sample", description=__doc__)
    commands.run_options(parser)
    parser.add_argument("--count", type=int, default=64, help="how many images (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")
    parser.add_argument("--label", type=int, help="of a conditional model (default: all in turn)")
    for name in CHANGES:
        key = KEYS[f"sampler.{'name' if name == 'sampler' else name}"]
        kind = type(key.default)
        shown = "NAME" if kind is str else name.upper()
        parser.add_argument(f"--{name}", type=kind, metavar=shown, help=f"{key.meaning} (default: the config's)")
    parser.add_argument(
        "--output", metavar="PATH", help="where to write, without ending (default: in the run's folder)"
    )
    options = commands.parse(parser, arguments)
    for name, least, bits in (("count", 1, 31), ("seed", 0, 32), ("steps", 0, 31)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name}: {value} is less than {least}")
        if value is not None and value >= 2**bits:
            raise UserError(f"--{name}: {value} is not below 2^{bits}")

    from ddpm_jax import files
    from ddpm_jax.experiment import check

    folder = Path(options.workdir)
    config = commands.start_on_run(options)
    for name in CHANGES:
        if (value := getattr(options, name)) is not None:
            config.sampler["name" if name == "sampler" else name] = value
    if options.sampler:
        forget_options(config)
    with options_named():
        check(config)
    changed = [f"{name}{value}" for name in (*CHANGES, "label") if (value := getattr(options, name)) is not None]
    name = "_".join([f"seed{options.seed}", *changed, *(["best"] if options.best else [])])
    output = Path(options.output or folder / "samples" / name)
    if output.suffix in {".png", ".npz"}:
        output = output.with_suffix("")
    if reason := files.obstacle(output.parent):
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another --output")
    if output.is_dir():
        raise UserError(f"--output: {output} is a folder; give a path without ending, such as {output}/mine")
    if options.label is not None and not config.model.conditional:
        raise UserError("--label: this model was trained without labels")

    import io

    import numpy as np

    from ddpm_jax.generative import Sampler
    from ddpm_jax.pipeline import screen
    from ddpm_jax.pipeline.restored import restore
    from ddpm_jax.runs import pictures

    with options_named():
        run = restore(config, folder, options.best)
    description = run.experiment.description
    if options.label is not None and not 0 <= options.label < description.labels:
        raise UserError(f"--label: {options.label} is not one of 0 ... {description.labels - 1}")
    draw = Sampler(run.model, run.experiment.sampling, run.plan, config.sampler.batch)
    images, _, evaluations = draw(run.params, options.seed, options.count, options.label, screen.bar("samples"))
    content = io.BytesIO()
    arrays: dict[str, Any] = {"images": images}
    if config.model.conditional:
        arrays["labels"] = draw.labels(options.count, options.label)
    np.savez_compressed(content, **arrays)
    if not screen.speaks():
        return
    paths = [output.with_name(output.name + ".npz")]
    try:
        files.write_bytes(paths[0], content.getvalue())
        if len(description.space) == 2:
            shown = np.asarray(description.encode(images))
            paths.append(pictures.grid(output.with_name(output.name + ".png"), shown))
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
    screen.say(f"{options.count} samples of step {run.step}, {evaluations.mean():.4g} network evaluations each")
    screen.say("\n".join(f"  {path}" for path in paths))


if __name__ == "__main__":
    commands.run(main)

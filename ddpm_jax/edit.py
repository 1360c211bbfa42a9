"""Change pictures with a trained run: fill a hole, vary, restore, or go from one to another.

    python -m ddpm_jax.edit --workdir=RUN --image=in.png --mask=mask.png            # draw where the mask is white
    python -m ddpm_jax.edit --workdir=RUN --image=test:3 --mask=left --count=8      # of a test image, its left half
    python -m ddpm_jax.edit --workdir=RUN --image=in.png --task=variation --strength=0.5
    python -m ddpm_jax.edit --workdir=RUN --image=in.png --task=restore --measure=averages:2
    python -m ddpm_jax.edit --workdir=RUN --image=a.png --other=b.png --task=interpolate

What restore is given is made of the image first, with noise, so that the results can be held against it. Of a test
image the model is told what the data say of it. Writes a PNG with the image, what was known of it and the results, an
.npz, and of a picture of one's own the first result in its place. What is known comes back to the bit.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.sample import asked, change_sampler, check_told, numbered, options_named, output_of, told_by, weight

TASKS = ("inpaint", "variation", "restore", "interpolate")
MEASURES = ("averages:FACTOR", "grey", "blur:PIXELS", "projections:COUNT", "noise")
METHODS = ("replacement", "tmpd", "pigdm", "dps")


def operator(words: str) -> Any:
    """What of an image is measured, by its words.

    Raises:
        UserError: there is no such measurement.
    """
    from ddpm_jax.editing import Averages, Blur, Grey, Identity, Projections

    name, _, number = words.partition(":")
    try:
        if name == "averages" and int(number) >= 1:
            return Averages(int(number))
        if name == "blur" and 0 < float(number) < 100:
            return Blur(float(number))
        if name == "projections" and int(number) >= 1:
            return Projections(int(number))
    except ValueError:
        pass
    if name in ("grey", "noise") and not number:
        return {"grey": Grey, "noise": Identity}[name]()
    raise UserError(f"--measure: {words!r} is none of {', '.join(MEASURES)}")


def checked(options: Any) -> None:
    """Raise UserError for options that do not go together."""
    if options.task not in TASKS:
        raise UserError(f"--task: {options.task!r} is none; {nearest(options.task, TASKS)}")
    if options.method and options.method not in METHODS:
        raise UserError(f"--method: {options.method!r} is none; {nearest(options.method, METHODS)}")
    for name, least in (("count", 1), ("seed", 0), ("jump", 0), ("repeats", 1), ("candidates", 1)):
        if not least <= getattr(options, name) < 2**31:
            raise UserError(f"--{name}: {getattr(options, name)} is not a whole number of at least {least}")
    if not 0 < options.noise <= 10:
        raise UserError(f"--noise: {options.noise} is not above 0, and at most 10")
    needs = {"inpaint": "mask", "restore": "measure", "interpolate": "other"}
    for task, name in needs.items():
        if options.task == task and getattr(options, name) is None:
            raise UserError(f"--{name} is missing: --task={task} needs it")
    only = {"measure": "restore", "other": "interpolate", "jump": "inpaint", "strength": "variation"}
    for name, task in only.items():
        if getattr(options, name) and options.task != task:
            raise UserError(f"--{name}: it is for --task={task}, not for {options.task}")
    if options.method and options.task == "interpolate":
        raise UserError("--method: interpolate has one way; leave it out")
    if options.mask and options.task not in ("inpaint", "variation"):
        raise UserError(f"--mask: it is for inpaint and variation, not for {options.task}")
    if options.prompt is not None and options.label is not None:
        raise UserError("--label: --prompt is given too; give one of them")


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.edit", description=__doc__)
    commands.run_options(parser)
    parser.add_argument("--image", metavar="FILE", required=True, help="a picture, or one of the data: test:3")
    parser.add_argument("--task", default="inpaint", metavar="NAME", help=f"{', '.join(TASKS)} (default: inpaint)")
    parser.add_argument("--mask", metavar="FILE", help="white where to draw; or left, right, top, bottom, middle")
    parser.add_argument("--other", metavar="FILE", help="the picture to go to, of interpolate")
    parser.add_argument("--measure", metavar="WHAT", help=f"what restore is given: {', '.join(MEASURES)}")
    parser.add_argument("--method", metavar="NAME", help=f"of Gaussian processes: {', '.join(METHODS)}")
    parser.add_argument("--noise", type=float, default=0.02, help="of what is measured, black to white is 2")
    parser.add_argument("--strength", type=float, metavar="T", help="the time that variation goes back to, 0 to 1")
    parser.add_argument("--jump", type=int, default=0, metavar="STEPS", help="replacement goes back so many steps")
    parser.add_argument("--repeats", type=int, default=10, help="how often each stretch of such a length is walked")
    parser.add_argument(
        "--candidates", type=int, default=64, help="in a fixed order one of so many is chosen by how well it fits"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="what to draw")
    parser.add_argument("--label", help="the class to draw")
    parser.add_argument("--guidance", type=weight, metavar="W", help="its weight (default: the config's)")
    parser.add_argument("--sampler", metavar="NAME", help="(default: the config's)")
    parser.add_argument("--steps", type=int, help="of the sampler (default: the config's)")
    parser.add_argument("--count", type=int, default=4, help="how many results (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the results (default: 0)")
    parser.add_argument(
        "--output", metavar="PATH", help="where to write, without ending (default: in the run's folder)"
    )
    options = commands.parse(parser, arguments)
    checked(options)
    options.prompts = None

    from ddpm_jax.experiment import check, classifier

    folder, measured = Path(options.workdir), None if options.measure is None else operator(options.measure)
    config = commands.start_on_run(options)
    change_sampler(config, {"sampler": options.sampler, "steps": options.steps, "guidance": options.guidance})
    with options_named():
        check(config)
    if config.objective.name == classifier.OBJECTIVE:
        raise UserError(f"{folder}: {classifier.DRAWS_NOTHING}")
    output = output_of(options.output or folder / "edits" / f"{options.task}_seed{options.seed}")
    told = asked(options)
    check_told(config, told)
    if not told and ":" not in options.image:  # nothing is known of a picture of one's own
        if config.model.conditions and not config.objective.condition_drop:
            raise UserError(f"--label: this model always knows its {', '.join(config.model.conditions)}; give it")
        config.sampler.guidance, config.sampler.guidance_each = 1.0, ()
    _edit(options, config, folder, output, measured, told)


def _edit(options: Any, config: Any, folder: Path, output: Path, measured: Any, told: dict[str, Any]) -> None:
    """Do it, and write what came out."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ddpm_jax import files
    from ddpm_jax.editing import Inpaint, Restore, Vary
    from ddpm_jax.editing.operators import seen
    from ddpm_jax.evaluation.told import conditions_of
    from ddpm_jax.pipeline import brought, editing, screen
    from ddpm_jax.pipeline.restored import restore
    from ddpm_jax.runs import pictures

    needs_data = ":" in options.image or ":" in (options.other or "")
    run, count = restore(config, folder, options.best, images=needs_data), options.count
    own = brought.picture("image", options.image, run.dataset)
    known = run.experiment.asked
    told = numbered(told, run.experiment.description.class_names)
    if own.row is not None and not told:
        condition = jax.tree.map(lambda a: np.repeat(np.asarray(a), count, 0), known.of(own.row))
    else:
        with told_by(label="--label", text="--prompt"):
            condition = conditions_of(known, run.dataset, count, told) if told else known.null(count)
    condition = {name: np.asarray(values) for name, values in condition.items()}
    how = editing.Looking(
        options.seed, condition, screen.bar("edits"), options.candidates, options.jump, options.repeats
    )
    images, site = np.stack([own.levels] * count), own.levels.shape
    mask = brought.Mask(np.zeros((*site[:2], 1), bool))
    if options.mask is not None:
        mask = brought.mask(options.mask, own)
    where, extra = np.broadcast_to(mask.known, images.shape), {}
    encoded, shown = run.model.description.encode, own.levels
    if options.task == "inpaint":
        task = Inpaint(options.method or "replacement", options.noise)
        made = editing.inpaint(run, images, where, task, how)
        shown = np.where(where[0], own.levels, 0)
    elif options.task == "variation":
        task = Vary(options.method or "replacement", options.noise)
        made = editing.vary(run, images, where, 0.5 if options.strength is None else options.strength, task, how)
    elif options.task == "restore":
        try:
            y = np.asarray(measured(encoded(images)))
        except ValueError as error:
            raise UserError(f"--measure: {error}") from error
        y = y + options.noise * np.random.default_rng(options.seed).normal(size=y.shape[1:]).astype(y.dtype)
        made = editing.restore(run, y, Restore(measured, options.noise, options.method or "pigdm"), how)
        shown, extra = (
            run.model.description.decode(seen(measured, jnp.asarray(y[:1]), encoded(images[:1])))[0],
            {"y": y[0]},
        )
    else:
        other = brought.picture("other", options.other, run.dataset)
        shares = np.linspace(0, 1, count)
        made = editing.interpolate(run, images[:1], other.levels[None], shares, how)
        shown = other.levels
    if not screen.speaks():
        return
    content, paths = io.BytesIO(), [output.with_name(output.name + ".npz")]
    arrays: dict[str, Any] = {"images": made.images, "image": own.levels, "known": mask.known, **condition}
    np.savez_compressed(content, **arrays, **extra)
    try:
        files.write_bytes(paths[0], content.getvalue())
        strip = np.asarray(encoded(np.concatenate([own.levels[None], shown[None], made.images])))
        names = [
            "image",
            {"interpolate": "other", "restore": "measured"}.get(options.task, "known"),
            *map(str, range(1, count + 1)),
        ]
        paths.append(pictures.grid(output.with_name(output.name + ".png"), strip, names))
        if own.own is not None and options.task != "interpolate":
            levels = (np.asarray(encoded(made.images[0])) + 1) * 127.5
            whole = brought.pasted(own, levels.round().clip(0, 255).astype(np.uint8), mask)
            paths.append(pictures.save(output.with_name(output.name + "_pasted.png"), whole))
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
    screen.say(f"{count} of step {run.step}, {made.evaluations.mean():.4g} network evaluations each")
    if made.effective is not None:
        screen.say(f"of {options.candidates} candidates {made.effective.mean():.3g} count; near 1 means too few")
    screen.say("\n".join(f"  {screen.linked(path) if path.suffix == '.png' else path}" for path in paths))


if __name__ == "__main__":
    commands.run(main)

"""Change pictures with a trained run: fill holes, vary, restore, follow sketches, interpolate.

    python -m ddpm_jax.edit --workdir=RUN --image=in.png --mask=mask.png            # draw where the mask is white
    python -m ddpm_jax.edit --workdir=RUN --image=test:3 --mask=left --count=8      # of a test image, its left half
    python -m ddpm_jax.edit --workdir=RUN --image=in.png --task=variation --strength=0.5
    python -m ddpm_jax.edit --workdir=RUN --image=in.png --task=restore --measure=averages:2
    python -m ddpm_jax.edit --workdir=RUN --image=sketch.png --task=follow          # of a run that is told pictures
    python -m ddpm_jax.edit --workdir=RUN --image=a.png --other=b.png --task=interpolate

What restore is given is made of the image first, with noise, so that the results can be held against it; with
--measured the file is what was measured. Of a test image the model is told what the data say of it. Writes a PNG with
the image, what was known of it and the results, a film of how they came about, an .npz, and of a picture of one's own
the first result in its place. What is known comes back to the bit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.sample import asked, change_sampler, check_told, numbered, options_named, output_of, told_by, weight

TASKS = ("inpaint", "variation", "restore", "follow", "interpolate")
MEASURES = ("averages:FACTOR", "grey", "blur:PIXELS", "projections:COUNT", "noise")
METHODS = ("replacement", "tmpd", "pigdm", "dps", "trained")


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
        if getattr(options, name) is not None and not least <= getattr(options, name) < 2**31:
            raise UserError(f"--{name}: {getattr(options, name)} is not a whole number of at least {least}")
    if options.noise is not None and not 0 < options.noise <= 10:
        raise UserError(f"--noise: {options.noise} is not above 0, and at most 10")
    needs = {"inpaint": "mask", "restore": "measure", "interpolate": "other"}
    for task, name in needs.items():
        if options.task == task and getattr(options, name) is None:
            raise UserError(f"--{name} is missing: --task={task} needs it")
    only = {"measure": "restore", "measured": "restore", "other": "interpolate", "jump": "inpaint"}
    for name, task in {**only, "repeats": "inpaint", "strength": "variation", "shows": "follow"}.items():
        if getattr(options, name) and options.task != task:
            raise UserError(f"--{name}: it is for --task={task}, not for {options.task}")
    if options.repeats and not options.jump:
        raise UserError("--repeats: it says how often stretches are walked that --jump goes back; give that too")
    if options.method and options.task in ("follow", "interpolate"):
        raise UserError(f"--method: {options.task} has one way; leave it out")
    if options.noise and options.task == "interpolate":
        raise UserError("--noise: nothing is measured to interpolate; leave it out")
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
    parser.add_argument("--measured", action="store_true", help="the file is what was measured, not an image")
    parser.add_argument("--shows", metavar="NAME", help="what the picture to follow is, of a run that is told several")
    parser.add_argument(
        "--noise", type=float, help="of what is measured, black to white is 2 (default: 0.02; of follow: none)"
    )
    parser.add_argument("--strength", type=float, metavar="T", help="the time that variation goes back to, 0 to 1")
    parser.add_argument("--jump", type=int, default=0, metavar="STEPS", help="replacement goes back so many steps")
    parser.add_argument("--repeats", type=int, help="how often each stretch of such a length is walked (default: 10)")
    parser.add_argument(
        "--candidates", type=int, help="in a fixed order one of so many is chosen by how well it fits (default: 64)"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="what to draw")
    parser.add_argument("--negative", metavar="TEXT", help="what not to draw: guidance leads away from it")
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
    from ddpm_jax.pipeline import brought

    if options.measured and brought.of_data(options.image) is not None:
        raise UserError(f"--measured: {options.image} is an image, of which it is measured first; leave it out")
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
    if options.negative is not None and ("text" not in config.model.conditions or not told):
        raise UserError("--negative: it needs a model of text, and a --prompt; leave it out")
    if not told and brought.of_data(options.image) is None:  # nothing is known of a picture of one's own
        if config.model.conditions and not config.objective.condition_drop:
            raise UserError(f"--label: this model always knows its {', '.join(config.model.conditions)}; give it")
        config.sampler.guidance, config.sampler.guidance_each = 1.0, ()
    _edit(options, config, folder, output, measured, told)


def _edit(options: Any, config: Any, folder: Path, output: Path, measured: Any, told: dict[str, Any]) -> None:
    """Do it, and write what came out."""
    import jax
    import numpy as np

    from ddpm_jax.conditions import Picture
    from ddpm_jax.evaluation.told import conditions_of
    from ddpm_jax.pipeline import brought, editing, edits, screen
    from ddpm_jax.pipeline.editing import Looking
    from ddpm_jax.pipeline.restored import restore

    wanted = edits.Asked(
        options.task,
        options.image,
        options.count,
        options.seed,
        options.other,
        measured,
        options.measured,
        options.method,
        options.noise,
        options.strength,
        options.shows,
        options.candidates,
    )
    needs_data = any(brought.of_data(words or "") for words in (options.image, options.other))
    run, count = restore(config, folder, options.best, images=needs_data), options.count
    edits.check(run, wanted)
    own = edits.picture(run, wanted)
    known = run.experiment.asked
    told = numbered(told, run.experiment.description.class_names)
    if own.row is not None and not told:
        condition = jax.tree.map(lambda a: np.repeat(np.asarray(a), count, 0), known.of(own.row))
        if config.objective.condition_drop:  # pictures that were made of it would show what is to be drawn
            pictures = [name for name, kind in known.kinds if isinstance(kind, Picture)]
            condition |= known.only(pictures).null(count)
    else:
        with told_by(label="--label", text="--prompt"):
            condition = conditions_of(known, run.dataset, count, told) if told else known.null(count)
    negative = None
    if options.negative is not None:
        with told_by(text="--negative"):
            negative = conditions_of(known, run.dataset, count, {"text": options.negative})
    how = Looking(
        options.seed,
        {name: np.asarray(values) for name, values in condition.items()},
        negative,
        screen.bar("edits"),
        options.candidates or editing.CANDIDATES,
        options.jump,
        options.repeats or edits.REPEATS,
        film=not run.model.network.causal,
    )
    mask = brought.Mask(np.zeros((*own.levels.shape[:2], 1), bool))
    if options.mask is not None:
        mask = brought.mask(options.mask, own)
    order = edits.Order(run, wanted, own, mask, how)
    result = edits.TASKS[options.task](order)
    if screen.speaks():
        edits.write(order, output, result)


if __name__ == "__main__":
    commands.run(main)

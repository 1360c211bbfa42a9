"""Draw samples from a trained run.

    python -m ddpm_jax.sample --workdir=runs/digits_ddpm --count=64 --seed=1
    python -m ddpm_jax.sample --workdir=runs/still_lifes_flow --prompt="a green banana" --guidance=3
    python -m ddpm_jax.sample --workdir=runs/digits_ddpm --classifier=runs/digits_classifier --label=7

Writes a PNG grid and an .npz with the images (uint8 levels, [count, height, width, channels]) and
what the model was told of each. Image i of a seed is the same whatever the count, the batch and the
number of devices.
"""

import hashlib
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_jax import commands
from ddpm_jax.config.guidance import weights
from ddpm_jax.config.keys import KEYS
from ddpm_jax.config.loading import follow_sampler, follow_times
from ddpm_jax.errors import UserError
from ddpm_jax.files import obstacle

CHANGES = (
    "sampler",
    "spacing",
    "steps",
    "times",
    "sigmas",
    "order",
    "eta",
    "noise_law",
    "noise_scale",
    "solver_order",
    "coordinate",
    "restarts",
    "restart_range",
    "remask_cap",
    "temperature",
    "top_k",
    "nucleus",
    "confidence_temperature",
    "guidance",
    "guidance_interval",
    "weak",
    "classifier",
    "classifier_scale",
    "ema",
)
"""Keys of the sampler that are options of this command, and part of the default output's name."""

TOLD = ("label", "prompt", "prompts", "negative")
"""Options that say what to draw."""

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def asked(options: Any) -> dict[str, Any]:
    """What the model is to be told, by name.

    Raises:
        UserError: prompts that cannot be read, or are given twice.
    """
    if options.prompt is not None and options.prompts is not None:
        raise UserError("--prompts: --prompt is given too; give one of them")
    told: dict[str, Any] = {} if options.label is None else {"label": options.label}
    if options.prompts is not None:
        try:
            lines = [line.strip() for line in Path(options.prompts).read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"--prompts: {options.prompts} cannot be read ({error})") from error
        if not (lines := [line for line in lines if line]):
            raise UserError(f"--prompts: {options.prompts} has no line with words")
        return {**told, "text": lines}
    return told if options.prompt is None else {**told, "text": options.prompt}


def weight(text: str) -> float | tuple[str, ...]:
    """What --guidance says: one weight, or words `name:weight`."""
    return KEYS["sampler.guidance_each"].parsed(text) if ":" in text else float(text)


def change(config: "ConfigDict", name: str, value: Any) -> None:
    """Set a key of the sampler by the option of this command."""
    if name == "guidance":
        config.sampler.guidance = 1.0 if isinstance(value, tuple) else value
        config.sampler.guidance_each = value if isinstance(value, tuple) else ()
    else:
        config.sampler["name" if name == "sampler" else name] = value


def change_sampler(config: "ConfigDict", options: dict[str, Any]) -> None:
    """Set the keys of the sampler that were asked for, None being none, and those of others that follow from them."""
    sampler, given = config.sampler.name, {name for name, value in options.items() if value is not None}
    for name in given:
        change(config, name, options[name])
    if given & {"steps", "spacing"}:
        for name in {"times", "sigmas"} - given:
            config.sampler[name] = ()
    if "steps" not in given:
        follow_times(config, {f"sampler.{name}" for name in given})
    if "sampler" in given:
        forget_options(config, given)
        follow_sampler(config, sampler, {f"sampler.{name}" for name in given})
    if given & {"spacing", "times", "sigmas"}:
        forget_spacing(config)


def forget_options(config: "ConfigDict", asked: Container[str] = ()) -> None:
    """Set what the sampler that was asked for does not read, and nobody asked for, to what means nothing."""
    from ml_collections import ConfigDict

    from ddpm_jax import plugins
    from ddpm_jax.samplers import SOLVERS, UNSAID

    config.sampler.options = ConfigDict()  # of the run's own solver
    solver = SOLVERS.get(config.sampler.name)
    if solver is None:
        return
    for name, (silent, _) in UNSAID.items():
        if name not in plugins.options(solver) and name not in asked:
            config.sampler[name] = type(KEYS[f"sampler.{name}"].default)(silent)
    if not solver.churns:
        config.sampler.churn = 0.0
    if not solver.walks and "restarts" not in asked:
        config.sampler.restarts = 0
        config.sampler.restart_range = KEYS["sampler.restart_range"].default
    if solver.etas[1] == 0 and "remask_cap" not in asked:
        config.sampler.remask_cap = 1.0


def forget_spacing(config: "ConfigDict") -> None:
    """Set what only another spacing reads, than the one or the times that were asked for, to what means nothing."""
    from ddpm_jax.experiment.grids import READ_BY

    by_hand = config.sampler.times or config.sampler.sigmas
    for name, spacings in READ_BY.items():
        if by_hand or config.sampler.spacing not in spacings:
            config.sampler[name] = KEYS[f"sampler.{name}"].default


@contextmanager
def options_named() -> Iterator[None]:
    """An error about a key of the sampler names the option of this command."""
    try:
        yield
    except UserError as error:
        words = str(error)
        for key, option in (("name", "sampler"), ("guidance_each", "guidance"), ("", "")):
            words = words.replace(f"config.sampler.{key}", f"--{option}")
        raise UserError(words) from error


@contextmanager
def told_by(**options: str) -> Iterator[None]:
    """An error that begins with a condition's name names the option of this command that it was told by."""
    try:
        yield
    except UserError as error:
        name, colon, reason = str(error).partition(": ")
        raise UserError(f"{options.get(name, name)}{colon}{reason}") from error


def output_of(words: str | Path) -> Path:
    """Where to write, without ending.

    Raises:
        UserError: nothing can be written there.
    """
    output = Path(words)
    if output.suffix in {".png", ".npz"}:
        output = output.with_suffix("")
    if reason := obstacle(output.parent):
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another --output")
    if output.is_dir():
        raise UserError(f"--output: {output} is a folder; give a path without ending, such as {output}/mine")
    return output


def check_told(config: "ConfigDict", told: dict[str, Any]) -> None:
    """Raise UserError for what the model, and its sampler's classifier, are not told."""
    ways = (*config.model.conditions, *(["label"] if config.sampler.classifier else []))
    for name, option in (("label", "--label"), ("text", "--prompt")):
        if name in told and name not in ways:
            known = ", ".join(config.model.conditions) or "nothing"
            raise UserError(f"{option}: this model was trained with {known}, and not with {name}")


def numbered(told: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A label that is a number and no name of a class, as a number."""
    label = told.get("label")
    if isinstance(label, str) and label not in names and re.fullmatch(r"-?\d+", label):
        return {**told, "label": int(label)}
    return told


def _plain(value: Any) -> str:
    """A value as part of a file's name; of what cannot stand there, and of a long text or several, their digest."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    words = re.sub(r"\s+", "-", str(value).strip())
    if re.fullmatch(r"[\w.,()+-]{1,60}", words):
        return words
    return hashlib.sha256(str(value).encode(errors="replace")).hexdigest()[:12]


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.sample", description=__doc__)
    commands.run_options(parser)
    parser.add_argument("--count", type=int, default=64, help="how many images (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")
    parser.add_argument("--label", help="the class to draw, by its number or its name (default: all in turn)")
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        action="append",
        help="what to draw (default: the captions of the test images); given again, the images go round the prompts",
    )
    parser.add_argument("--prompts", metavar="FILE", help="a prompt a line, which the images go round")
    parser.add_argument("--negative", metavar="TEXT", help="what not to draw: guidance leads away from it")
    for name in CHANGES:
        key = KEYS[f"sampler.{'name' if name == 'sampler' else name}"]
        kind = key.parsed if isinstance(key.default, tuple) else type(key.default)
        kind = weight if name == "guidance" else kind
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
    from ddpm_jax.experiment import check, classifier

    folder = Path(options.workdir)
    config = commands.start_on_run(options)
    change_sampler(config, {name: getattr(options, name) for name in CHANGES})
    with options_named():
        check(config)
    changed = [f"{name}{_plain(value)}" for name in (*CHANGES, *TOLD) if (value := getattr(options, name)) is not None]
    name = "_".join([f"seed{options.seed}", *changed, *(["best"] if options.best else [])])
    output = output_of(options.output or folder / "samples" / name)
    if config.objective.name == classifier.OBJECTIVE:
        raise UserError(f"{folder}: {classifier.DRAWS_NOTHING}")
    told = asked(options)
    check_told(config, told)
    own = (one for _, one in weights(config.sampler.guidance_each))
    unguided = config.sampler.guidance == 1 and all(one == 1 for one in own)
    if options.negative is not None and config.sampler.weak:
        raise UserError("--negative: guidance leads away from --weak already; give one of them")
    if options.negative is not None and ("text" not in config.model.conditions or unguided):
        raise UserError("--negative: it needs a model of text and a --guidance other than 1")

    import io
    import json

    import numpy as np

    from ddpm_jax.evaluation.told import conditions_of, pictures_of, words_of
    from ddpm_jax.generative import Sampler
    from ddpm_jax.pipeline import screen
    from ddpm_jax.pipeline.restored import restore
    from ddpm_jax.runs import pictures

    lone = not (set(config.model.conditions) - {"label"})
    with options_named():
        run = restore(config, folder, options.best, images=not told and not lone)
    description, known, how = run.experiment.description, run.experiment.asked, run.experiment.sampling_in()
    told = numbered(told, description.class_names)
    with told_by(label="--label", text="--prompt" if options.prompts is None else "--prompts"):
        condition = conditions_of(known, run.dataset, options.count, told)
    negative = None
    if options.negative is not None:
        with told_by(text="--negative"):
            negative = conditions_of(known, run.dataset, options.count, {"text": options.negative})
    draw = Sampler(run.model, how, run.plan, config.sampler.batch)
    bar = screen.bar("samples")
    images, _, evaluations = draw(run.params, options.seed, options.count, condition, bar, negative)
    content = io.BytesIO()
    arrays: dict[str, Any] = {**{f"{name}s": values for name, values in condition.items()}, "images": images}
    helpers = {name: dict(helper.facts) for name, helper in how.helpers.items()}
    arrays |= {name: np.asarray(json.dumps(facts)) for name, facts in helpers.items()}
    if "label" in condition and description.class_names:
        arrays["class_names"] = np.asarray(description.class_names)
    np.savez_compressed(content, **arrays)
    if not screen.speaks():
        return
    paths = [output.with_name(output.name + ".npz")]
    try:
        files.write_bytes(paths[0], content.getvalue())
        if len(description.space) == 2:
            shown = pictures.beside(np.asarray(description.encode(images)), pictures_of(known, condition))
            paths.append(pictures.grid(output.with_name(output.name + ".png"), shown, words_of(known, condition)))
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
    screen.say(f"{options.count} samples of step {run.step}, {evaluations.mean():.4g} network evaluations each")
    for name, facts in helpers.items():
        screen.say(f"{name}: step {facts['step']} of {facts['run']}, checksum {facts['checksum']}")
    screen.say("\n".join(f"  {screen.linked(path) if path.suffix == '.png' else path}" for path in paths))


if __name__ == "__main__":
    commands.run(main)

"""What the training loop costs over the compiled steps alone.

    python experiments/speed/loop_overhead.py --steps=1000 --pairs=3 --output=loop_overhead.json

Pairs in one process, in alternating order (AB, BA, ...), all continuing one training run:

  A, bare: calls of the compiled dispatch, which draws its batches itself, and one wait at the end.
  B, loop: the same steps by the loop of `ddpm_jax.train`, with the progress bar, rows to metrics.jsonl and to the
     config's trackers (W&B offline by default) every log_every steps, and milestones.

A milestone is a validation pass and a checkpoint. The validation pass is work and not overhead: its time is taken out
and told apart. In a short B checkpoints come twice, more often than in the config; the time that the loop stood still
for them is counted as often as the config's save_every asks. Their writing in the background is in the loop's time
wherever it slows steps. Starting and ending the trackers is not counted. The first pair compiles and is dropped.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError

TARGET = 1.03
CONFIG = Path(__file__).parents[2] / "configs" / "digits" / "ddpm.py"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Seconds of one pair. `loop` is all of B; `validation` and `checkpoints` are its parts that stopped the steps."""

    order: str
    bare: float
    loop: float
    validation: float
    checkpoints: float
    saves: int
    saves_due: float  # steps / save_every: how many checkpoints the config makes in so many steps

    @property
    def ratio(self) -> float:
        """B over A, without validation, with as many checkpoints as are due."""
        due = self.checkpoints * self.saves_due / max(self.saves, 1)
        return (self.loop - self.validation - self.checkpoints + due) / self.bare


class Timed:
    """A function that adds up its calls and their seconds."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self.seconds, self.calls = 0.0, 0

    def __call__(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        result = self._function(*arguments)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return result


def measure(config: Any, steps: int, pairs: int, tell: Callable[[str], None]) -> list[Pair]:
    """The pairs after the first, each side of so many steps. The run's folder is temporary.

    Raises:
        UserError: as `ddpm_jax.train.train`.
    """
    from ddpm_jax import data
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.experiment import check_data, make
    from ddpm_jax.pipeline.job import make_job
    from ddpm_jax.pipeline.screen import Screen
    from ddpm_jax.training.checkpoints import Checkpoints
    from ddpm_jax.training.logging import Log

    total = 2 * steps * (pairs + 1)
    config = config.copy_and_resolve_references()
    config.training.update(steps=total, images=0, seconds=0.0, flops=0.0)
    plan = make_plan(config.parallel.map, config.parallel.shard, config.parallel.loop, config.data.batch)
    dataset = data.load(config.data.name, config.data.dir or None)
    check_data(config, dataset.description, dataset.sizes)
    job = make_job(make(config, dataset.description), plan, dataset)
    limits, logging = config.training, config.logging
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = Log(folder, config.to_dict(), logging.wandb, logging.project, logging.group, logging.tensorboard)
        display = Screen(log, config.data.batch, total, 0)
        try:
            with Checkpoints(folder / "checkpoints", plan, limits.keep_latest, 1, limits.keep_every) as checkpoints:
                return _measure(job, checkpoints, display, limits, steps, pairs, tell)
        finally:
            display.close()
            log.close()


def _measure(job: Any, checkpoints: Any, display: Any, limits: Any, steps: int, pairs: int, tell: Any) -> list[Pair]:
    import jax
    import jax.numpy as jnp

    from ddpm_jax.pipeline.train import loop_events
    from ddpm_jax.training.loop import train

    save_every = min(limits.save_every, max(steps // 2, 1))
    clock = jnp.float32(0)

    def bare(state: Any) -> tuple[Any, float]:
        first = int(state.step)
        with job.data(first) as feed:
            began = time.perf_counter()
            for step in range(first, first + steps, limits.dispatch):
                count = min(limits.dispatch, first + steps - step)
                state, _ = job.run(state, feed(step, count), count, clock)
            jax.block_until_ready(state)
            return state, time.perf_counter() - began

    def loop(state: Any) -> tuple[Any, float, Timed, Timed]:
        first = int(state.step)
        budget = dataclasses.replace(job.budget, steps=first + steps)
        validation, save = Timed(job.validation_loss), Timed(checkpoints.save)
        timed_job: Any = SimpleNamespace(validation_loss=validation)
        often: Any = SimpleNamespace(log_every=limits.log_every, save_every=save_every, save_minutes=0.0)
        saving: Any = _Saving(save)
        events = loop_events(timed_job, saving, display, often)
        with job.data(first) as feed:
            began = time.perf_counter()
            state, _ = train(job.run, state, feed, budget, limits.dispatch, display.report, events)
            jax.block_until_ready(state)
            seconds = time.perf_counter() - began
        checkpoints.wait()  # so that it does not slow what comes next
        return state, seconds, validation, save

    state, results = job.fresh(), []
    for number in range(pairs + 1):
        order = "BA" if number % 2 else "AB"
        if order == "AB":
            state, alone = bare(state)
            state, seconds, validation, save = loop(state)
        else:
            state, seconds, validation, save = loop(state)
            state, alone = bare(state)
        due = steps / limits.save_every
        pair = Pair(order, alone, seconds, validation.seconds, save.seconds, save.calls, due)
        tell(f"{line(pair)}{'' if number else '   (warm-up, dropped)'}")
        if number:
            results.append(pair)
    return results


@dataclasses.dataclass(frozen=True)
class _Saving:
    """What a milestone needs of `Checkpoints`."""

    save: Callable[..., None]


def line(pair: Pair) -> str:
    """A pair in words."""
    return (
        f"{pair.order}: bare {pair.bare:.3f} s, loop {pair.loop:.3f} s, of it validation {pair.validation:.3f} s and "
        f"{pair.saves} checkpoints {pair.checkpoints:.3f} s ({pair.saves_due:.2g} due): ratio {pair.ratio:.4f}"
    )


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print, and write what was measured."""
    parser = commands.Parser(prog="python experiments/speed/loop_overhead.py", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", default=str(CONFIG), help="default: configs/digits/ddpm.py")
    parser.add_argument("--steps", type=int, default=1000, help="of each side of a pair (default: 1000)")
    parser.add_argument("--pairs", type=int, default=3, help="that count (default: 3)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options, config, _ = commands.parse_with_config(parser, arguments)
    from ddpm_jax import runs
    from ddpm_jax.experiment import check
    from ddpm_jax.files import obstacle, write_json

    check(config)
    for name in ("steps", "pairs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: {getattr(options, name)} is less than 1")
    if options.output and (reason := obstacle(Path(options.output).absolute().parent)):
        raise UserError(f"--output: {options.output} cannot be written ({reason})")
    starting.start_jax()
    provenance = runs.provenance()
    print(
        f"on {provenance['device']['kind']}: {options.pairs} pairs of {options.steps} steps, one of warm-up", flush=True
    )
    pairs = measure(config, options.steps, options.pairs, print)
    median = statistics.median(pair.ratio for pair in pairs)
    met = median <= TARGET
    print(f"median ratio {median:.4f}, target at most {TARGET}: {'met' if met else 'not met'}")
    if options.output:
        figures = [{**dataclasses.asdict(pair), "ratio": pair.ratio} for pair in pairs]
        result = {"median_ratio": median, "target": TARGET, "met": met, "steps": options.steps, "pairs": figures}
        write_json(Path(options.output), {**result, "unit": "seconds", "config": config.to_dict(), **provenance})


if __name__ == "__main__":
    commands.run(main)

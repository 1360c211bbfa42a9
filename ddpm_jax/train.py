"""Train a model, then sample from it and evaluate it.

    python -m ddpm_jax.train --config=configs/digits/ddpm.py

Any value of the config can be changed: --config.optimizer.learning_rate=3e-4. The run's folder gets checkpoints,
metrics.jsonl, pictures and result.json. The same command started again goes on where it stopped.
"""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import command, joining, profiling, starting
from ddpm_jax.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = command.Parser(prog="python -m ddpm_jax.train", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", help="the config file; --config.KEY=VALUE changes one value")
    parser.add_argument("--workdir", metavar="DIR", help="the run's folder (default: runs/ and the config's name)")
    parser.add_argument(
        "--profile",
        metavar="N",
        nargs="?",
        const=str(profiling.STEPS),
        help=f"record N steps (default {profiling.STEPS}) and print where a step's time goes",
    )
    parser.add_argument("--once", action="store_true", help="do nothing if the run is finished already")
    parser.add_argument("--print_config", action="store_true", help="print the resolved config as JSON and stop")
    options, config, overrides = command.parse_with_config(parser, arguments)
    profile = profiling.steps_to_record(options.profile)
    if options.print_config:
        from ddpm_jax.configuration import to_json

        print(to_json(config))
        return
    from ddpm_jax import configuration, runs

    if options.workdir == "":
        raise UserError("--workdir: the name of the folder is empty")
    folder = Path(options.workdir) if options.workdir else runs.default_folder(options.config, overrides, config)
    if options.once and runs.finished(folder):
        print(f"{folder} is finished")
        return
    # before the first array: processes must be joined by then
    starting.start_jax(config.parallel.distributed, joining.facts(config, options))
    configuration.check(config)
    train(config, folder, profile, options.once)


def train(config: Any, folder: Path, profile: int = 0, once: bool = False) -> dict[str, Any]:
    """Train the checked `config` in `folder` to the end of its budget, or go on with it, and return its result.

    With `profile`, so many steps are recorded into `folder/profile`; the run's numbers do not depend on it.

    Raises:
        UserError: what only data, devices or the folder can tell is wrong; then nothing has been written. Or a loss
            that is not finite.
        Busy: another process trains in the folder, or, with `once`, has just finished the run.
    """
    from ddpm_jax import configuration, curves, data, devices, evaluation, locks, runs, screen
    from ddpm_jax.experiment import make
    from ddpm_jax.job import make_job
    from ddpm_jax.parallel import make_plan
    from ddpm_jax.training.checkpoints import Checkpoints
    from ddpm_jax.training.logging import Log
    from ddpm_jax.training.loop import Every
    from ddpm_jax.training.loop import train as run_loop
    from ddpm_jax.training.state import weights

    plan = make_plan(config.parallel.map, config.parallel.shard, config.parallel.loop, config.data.batch)
    dataset = data.load(config.data.name, config.data.dir or None, configuration.splits(config))
    configuration.check_data(config, dataset.description, len(dataset.split("train")))
    for split in ("validation", *(["test"] if config.evaluation.at_end else [])):
        dataset.split(split)
    known = runs.check_folder(folder, config)
    if screen.speaks():
        locks.check_free(folder)
    experiment = make(config, dataset.description)
    job = make_job(experiment, plan, dataset)
    limits, logging = config.training, config.logging
    with (
        runs.claim(folder, config, once),
        Checkpoints(folder / runs.CHECKPOINTS, plan, limits.keep_latest, 1, limits.keep_every) as checkpoints,
        contextlib.ExitStack() as stack,
    ):
        state, elapsed = checkpoints.resume(job.fresh, job.abstract)
        start = int(state.step)
        screen.say(
            f"{'going on with' if known and start else 'training in'} {folder} from step {start}: "
            f"{job.parameters:,} parameters, {plan.count} device{'s' * (plan.count > 1)} ({plan.map}, {plan.shard})"
        )
        trackers = logging.wandb, logging.project, logging.group, logging.tensorboard
        log = Log(folder, config.to_dict(), *trackers, start, runs.identity(folder, config))
        stack.callback(log.close)
        peak = devices.total_peak(list(plan.mesh.devices.flat), config.model.dtype)
        display = screen.Screen(log, config.data.batch, job.budget.steps, start, job.count_flops, peak)
        events = loop_events(job, checkpoints, display, limits.log_every, limits.save_every)
        run, recorder = job.run, None
        if profile:
            run = recorder = profiling.Recorder(job.run, folder / "profile", profile, display.write)
            events.insert(0, Every(limits.save_every, lambda *_: recorder.finish()))  # a milestone is no training step
        try:
            feed = stack.enter_context(job.data(start))
            state = run_loop(run, state, feed, job.budget, limits.dispatch, display.report, events, elapsed)
        finally:
            display.close()
            if recorder:
                recorder.close()
        if recorder and (words := recorder.missing()):
            screen.say(words)
        checkpoints.wait()
        result = {
            "config": config.to_dict(),
            "seed": config.seed,
            **runs.provenance(),
            "steps": int(state.step),
            "images_seen": int(state.step) * config.data.batch,
            "global_batch": config.data.batch,
            "parameters": job.parameters,
            "training_flops": job.count_flops() * int(state.step),
            "best_step": checkpoints.best,
        }
        runs.write_result(folder, result)
        params = weights(state, config.sampler.ema)
        pictures = {}
        if config.evaluation.pictures:
            pictures = evaluation.draw_pictures(experiment, plan, params, folder, screen.bar)
        for name, path in pictures.items():
            log.picture(int(state.step), name, path)
        if config.evaluation.at_end:
            figures = evaluation.evaluate(experiment, plan, params, dataset, int(state.step), screen.bar)
            place = experiment, plan
            figures["curve"] = curves.curve(*place, params, dataset, figures, screen.bar)
            if config.evaluation.history:

                def params_at(step: int) -> Any:
                    return weights(checkpoints.restore(job.abstract, step).state, config.sampler.ema)

                flops, steps = job.count_flops(), checkpoints.steps
                figures["history"] = curves.history(*place, params_at, steps, flops, dataset, figures, screen.bar)
            if config.evaluation.raw and config.sampler.ema:
                measured = curves.measured(*place, weights(state, 0.0), dataset, screen.bar)
                figures["raw"] = {"step": int(state.step), **measured}
            runs.write_result(folder, figures)
            log.scalars(int(state.step), evaluation.headline(figures))
            result.update(figures)
    result[runs.FINISHED] = True
    screen.say(screen.summary(result, [*pictures.values(), folder / runs.RESULT, folder / "metrics.jsonl"]))
    return result


def loop_events(job: Any, checkpoints: Any, display: Any, log_every: int, save_every: int) -> list[Any]:
    """What the loop stops for: a row of the log, and a milestone (validation loss, checkpoint, a line to read)."""
    from ddpm_jax.training.loop import Every, Progress

    def milestone(state: Any, progress: Progress) -> None:
        loss = job.validation_loss(state)
        if not math.isfinite(loss):
            raise UserError(
                f"step {progress.step}: the validation loss is not finite; lower config.optimizer.learning_rate, with "
                "another --workdir (the last good checkpoint is kept)"
            )
        checkpoints.save(state, progress.elapsed, loss)
        display.milestone(progress, loss)

    return [Every(log_every, display.flush), Every(save_every, milestone)]


if __name__ == "__main__":
    command.run(main, "stopped; the same command goes on from the last checkpoint")

"""A run from its config to its figures: train in a folder, or go on there, then draw and measure."""

import contextlib
import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_jax.commands import joining
from ddpm_jax.commands.preemption import Notice
from ddpm_jax.devices import profiling
from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.files import Record

if TYPE_CHECKING:  # heavy to import
    from ml_collections import ConfigDict

    from ddpm_jax.data import Dataset
    from ddpm_jax.devices.plan import Plan
    from ddpm_jax.evaluation.drawing import Progress as Pictures
    from ddpm_jax.experiment import Experiment
    from ddpm_jax.pipeline.job import Job
    from ddpm_jax.pipeline.screen import Screen
    from ddpm_jax.runs.book import Book
    from ddpm_jax.runs.lineage import Extension
    from ddpm_jax.training.checkpoints import Checkpoints
    from ddpm_jax.training.logging import Log
    from ddpm_jax.training.loop import Every, Progress
    from ddpm_jax.training.state import TrainState


def train(
    config: "ConfigDict",
    folder: Path,
    profile: int = 0,
    once: bool = False,
    notice: Notice | None = None,
    experiment: "Experiment | None" = None,
    dataset: "Dataset | None" = None,
    extension: "Extension | None" = None,
    start_from: str = "",
    remember: bool = False,
) -> Record:
    """Train the checked `config` in `folder` to the end of its budget, or go on with it, and return its result.

    Args:
        config: the run's, from now on.
        folder: the run's.
        profile: so many steps are recorded into `folder/profile`; the run's numbers do not depend on it.
        once: do nothing with a finished run.
        notice: tells when the machine is wanted back.
        experiment: made in Python, in place of what the config would make.
        dataset: likewise.
        extension: of a run that was trained to its end with another config.
        start_from: the folder of the run whose weights a new one begins with, or `FOLDER:STEP`.
        remember: trace the training step once, and not anew in each process. For a process in which files alone say
            what runs, as in a command, and nobody changes a function by hand.

    Raises:
        UserError: what only data, devices or the folder can tell is wrong; then nothing has been written. Or a loss
            that is not finite.
        Incomplete: a figure could not be computed. The others are kept.
        Busy: another process trains in the folder, or, with `once`, has just finished the run.
        Preempted: `notice` tells that the machine is wanted back; a checkpoint is saved.
    """
    from ddpm_jax import data, runs
    from ddpm_jax.config.identity import earlier_marks, own_parts, traced_keys, training_mark, validation_mark
    from ddpm_jax.devices import peaks
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.evaluation import drawing
    from ddpm_jax.experiment import check_data, check_prompts, check_sizes, files_of, load_data, make
    from ddpm_jax.files import sha256
    from ddpm_jax.pipeline import beginning, screen
    from ddpm_jax.pipeline.helpers import found
    from ddpm_jax.pipeline.job import abstract_state, make_job
    from ddpm_jax.reporting.summary import summary
    from ddpm_jax.runs import lineage, locks
    from ddpm_jax.runs.results import EXTENDING, read_result
    from ddpm_jax.training.checkpoints import Checkpoints
    from ddpm_jax.training.logging import Log
    from ddpm_jax.training.loop import Every
    from ddpm_jax.training.loop import train as run_loop

    notice, limits, logging = notice or Notice(), config.training, config.logging
    ways = config.parallel
    plan = make_plan(ways.map, ways.shard, ways.loop, config.data.batch, ways.group)
    plan.check_parts(config.data.batch, limits.accumulate)
    there = runs.check_folder(folder, extension.before if extension else config)
    known = runs.read_lineage(folder) if there else {}
    begin = beginning.asked(start_from, folder, known, there)
    dataset = dataset or load_data(config)
    for split in ("validation", *(["test"] if config.evaluation.at_end else [])):
        dataset.split(split)
    if experiment is None:
        check_data(config, dataset.description, dataset.sizes)
        experiment = make(config, dataset.description)
        experiment = experiment.helped(found(config, folder, dataset, training=True))
    else:
        check_prompts(config, dataset.description)
        check_sizes(config, dataset.description, dataset.sizes)
    if config.evaluation.at_end:  # damage that would end the evaluation is met before anything is spent
        for split in ("train", "test"):
            dataset.split(split).first()
    if screen.speaks():
        locks.check_free(folder)
    for line in dataset.notes:
        screen.say(line)
    fingerprint = {**data.fingerprint(dataset), **files_of(config)}
    joining.check_alike({f"the data ({config.data.name})": sha256([fingerprint])[:12]})
    if ways.shard == "fsdp":
        plan = plan.fitted(abstract_state(experiment))
    written = remember and own_parts(config)  # all that compiled programs follow from is in files
    made_from = {"config": traced_keys(config), "data": fingerprint} if written else None
    job = make_job(experiment, plan, dataset, made_from)
    if extension and job.budget.steps is not None and job.budget.steps <= extension.step:
        line = f"the budget is {job.budget.steps} steps in all, and {extension.step} are done; give more"
        raise UserError(f"--extend: {line}")
    first = None
    if begin and runs.latest_checkpoint(folder) is None:
        first = beginning.weights_of(begin, folder, experiment, dataset, known)
        screen.say(f"{folder} {first.line}")
    with (
        runs.claim(folder, extension.before if extension else config, once, fingerprint, first and first.facts),
        Checkpoints(folder / runs.CHECKPOINTS, plan, limits.keep_latest, 1, limits.keep_every) as checkpoints,
        contextlib.ExitStack() as stack,
    ):
        marks = {"config": training_mark(config), "validation": validation_mark(config)}
        reads = runs.config_reads(folder)  # then that file was compared
        fixed = ("config",) if reads or runs.trained(folder) else tuple(marks)
        saved = [facts for step in checkpoints.steps if (facts := checkpoints.facts(step))]
        then = {*lineage.marks(known), *(extension.marks if extension else ())}
        ours = {"config": {0, marks["config"], *earlier_marks(config), *then}, "validation": {0, marks["validation"]}}
        told = [(getattr(facts, name), ours[name]) for facts in saved for name in fixed]
        if any(theirs not in known for theirs, known in told):
            raise UserError(f"{folder}: its checkpoints were saved with another config; choose another --workdir")
        if not reads and any(theirs == 0 for theirs, _ in told):  # then nothing tells whose they are
            line = f"{runs.CONFIG} does not read, and checkpoints of an earlier version do not tell their config"
            raise UserError(f"{folder}: {line}; put a copy of {runs.CONFIG} back, or choose another --workdir")
        runs.mend_config(folder, config)
        fresh = partial(job.begun_with, first.params) if first else job.fresh
        restored = checkpoints.resume(fresh, job.abstract)
        del fresh, first  # the other run's weights: those of the state are copies
        state, start = restored.state, int(restored.state.step)
        facts = restored.facts if start else None
        screen.say(
            f"{'going on with' if there and start else 'training in'} {folder} from step {start}: "
            f"{job.parameters:,} parameters, {plan.count} device{'s' * (plan.count > 1)} ({plan.words(job.abstract)})"
        )
        if extension:
            runs.extend(folder, config, dataclasses.replace(extension, step=start))
            rate = job.rate_at(start, restored.facts.elapsed)
            screen.say(f"made longer: {extension.words}; the learning rate goes on at {rate:.3g}")
        trackers = logging.wandb, logging.project, logging.group, logging.tensorboard
        log = Log(folder, config.to_dict(), *trackers, start, runs.identity(folder, config), facts)
        stack.callback(log.close)
        peak = peaks.total_peak(list(plan.mesh.devices.flat), config.model.dtype)
        display = screen.Screen(log, config.data.batch, job.budget.steps, start, job.count_flops, peak, facts, marks)
        logged = start if facts and facts.milestone else None
        progress_pictures = drawing.Progress(experiment, plan, dataset, folder)
        events = loop_events(job, checkpoints, display, limits, logged, progress_pictures, log)
        run, recorder = job.run, None
        if profile:
            run = recorder = profiling.Recorder(job.run, folder / "profile", profile, display.write)
            events.insert(0, Every(limits.save_every, lambda *_: recorder.finish()))  # a milestone is no training step
        try:
            feed = stack.enter_context(job.data(start))
            elapsed = restored.facts.elapsed
            with notice.only_noted():
                state, progress = run_loop(
                    run, state, feed, job.budget, limits.dispatch, display.report, events, elapsed, notice.wanted
                )
                if not progress.finished:
                    checkpoints.save(state, display.facts(progress))
                checkpoints.wait()
        finally:
            display.close()
            if recorder:
                recorder.close()
        if not progress.finished or notice.wanted():
            screen.say(f"stopped at step {progress.step}, which is saved; the same command goes on from there")
            raise Preempted
        if recorder and (words := recorder.missing()):
            screen.say(words)
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
            "skipped_steps": int(state.skipped[0]),
            **lineage.facts(runs.read_lineage(folder)),
            **({EXTENDING: None} if read_result(folder).get(EXTENDING) else {}),
        }
        book = runs.begin_figures(folder, int(state.step), config, result)
        shown = measure(config, folder, dataset, job, experiment, plan, state, checkpoints, book, log)
        for line in book.said():
            screen.say(line)
        book.check("the same command tries again")
        runs.end_figures(folder, int(state.step), config)
    result.update({**book.values, runs.FINISHED: True})
    screen.say(summary(result, [*map(screen.linked, shown), folder / runs.RESULT, folder / "metrics.jsonl"]))
    return result


def measure(
    config: "ConfigDict",
    folder: Path,
    dataset: "Dataset",
    job: "Job",
    experiment: "Experiment",
    plan: "Plan",
    state: "TrainState",
    checkpoints: "Checkpoints",
    book: "Book",
    log: "Log",
) -> list[Path]:
    """What comes after training: pictures, which are given back, and figures, which go into the book as they come."""
    from ddpm_jax.evaluation import curves, drawing, figures
    from ddpm_jax.pipeline import screen
    from ddpm_jax.training.state import weights

    step, params, place = int(state.step), weights(state, config.sampler.ema), (experiment, plan)
    pictures: dict[str, Path] = {}
    if config.evaluation.pictures:
        draw = partial(drawing.draw_pictures, *place, params, folder, dataset, screen.bar)
        pictures = book.attempt("pictures", draw) or {}
    for name, path in pictures.items():
        log.picture(step, name, path)
    if config.evaluation.at_end:
        figures.evaluate(*place, params, dataset, step, screen.bar, book)
        curves.curve(*place, params, dataset, screen.bar, book)
        if config.evaluation.history:

            def params_at(step: int) -> Any:
                return weights(checkpoints.restore(job.abstract, step).state, config.sampler.ema)

            flops, steps = job.count_flops(), checkpoints.milestones
            curves.history(*place, params_at, steps, flops, dataset, screen.bar, book)
        if config.evaluation.raw and config.sampler.ema:
            raw = curves.measured(*place, weights(state, 0.0), dataset, screen.bar, book, "raw")
            book.put("raw", {"step": step, **raw})
        log.scalars(step, figures.headline(book.values))
    return list(pictures.values())


def loop_events(
    job: "Job",
    checkpoints: "Checkpoints",
    display: "Screen",
    limits: "ConfigDict",
    logged: int | None = None,
    pictures: "Pictures | None" = None,
    log: "Log | None" = None,
) -> "list[Every]":
    """What the loop stops for: a row of the log, a milestone (validation loss, checkpoint, a line to read, pictures of
    the prompts), and a checkpoint after some minutes. `logged` is a step that was a milestone already."""
    from ddpm_jax.pipeline.screen import linked
    from ddpm_jax.training.loop import Every
    from ddpm_jax.training.state import weights

    def milestone(state: "TrainState", progress: "Progress") -> None:
        if progress.step == logged:
            return
        loss = job.validation_loss(state)
        if not math.isfinite(loss):
            raise UserError(
                f"step {progress.step}: the validation loss is not finite; lower config.optimizer.learning_rate, with "
                "another --workdir (the last good checkpoint is kept)"
            )
        checkpoints.save(state, display.facts(progress, loss))
        display.milestone(progress, loss)
        if pictures and log:
            path = pictures.draw(weights(state, job.experiment.config.sampler.ema), progress.step)
            if path is not None:
                log.picture(progress.step, "progress", path)
                display.write(f"  {linked(path)}")

    def save(state: "TrainState", progress: "Progress") -> None:
        checkpoints.save(state, display.facts(progress))

    by_time = Every(0, save, last=False, seconds=60 * limits.save_minutes)
    return [Every(limits.log_every, display.flush), Every(limits.save_every, milestone), by_time]

"""What a person sees while a run goes on, and at its end. Process 0 speaks, others are silent."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from ddpm_jax import progress as shown
from ddpm_jax.devices.flops import speed
from ddpm_jax.training.facts import Facts
from ddpm_jax.training.logging import Log
from ddpm_jax.training.loop import Interval, Progress


def speaks() -> bool:
    """Whether this process is the one that prints and writes."""
    return jax.process_index() == 0


def say(words: str) -> None:
    """Print, in process 0."""
    if speaks():
        print(words, flush=True)


def linked(path: Path) -> str:
    """A file's place, as something to click on where a person reads it on a terminal."""
    return path.absolute().as_uri() if sys.stdout.isatty() else str(path)


def bar(description: str) -> Callable[[Any], Any]:
    """A wrapper for an iterable of batches that shows a bar while it is walked, if that takes over a second."""
    return partial(shown.bar, title=f"{description}: batch", unit="batches", off=not speaks())


class Screen:
    """A bar (steps a second, time left, loss, images a second) and a line a milestone; numbers also go to the log.

    Args:
        log: where the numbers go.
        batch: the global batch.
        steps: how many the run has in all, if that is known.
        step: the first.
        flops: counts those of the model in one step on the global batch; 0 where they are not known. It is asked with
            the first dispatch that is done, for counting takes a second.
        peak: the FLOP/s that all devices together can do at most; None where that is not known.
        facts: of the checkpoint that the run goes on from, with what was not logged yet when it was saved.
        marks: of the run's config, which every checkpoint is to know: fields of `Facts` by name.
    """

    def __init__(
        self,
        log: Log,
        batch: int,
        steps: int | None,
        step: int,
        flops: Callable[[], float] = float,
        peak: float | None = None,
        facts: Facts | None = None,
        marks: Mapping[str, int] | None = None,
    ):
        self._log, self._batch = log, batch
        self._flops, self._peak = cache(flops), peak
        self._facts, self._rate, self._marks = facts or Facts(), 0.0, marks or {}
        self._bar = shown.Bar("step", steps, step, "steps", off=not speaks(), delay=0.0, stay=True)

    def report(self, interval: Interval, progress: Progress) -> None:
        """A dispatch is done."""
        sums, good = self._facts, interval.steps - interval.skipped
        self._facts = Facts(
            losses=sums.losses + interval.loss * good,
            norms=sums.norms + interval.gradient_norm * good,
            seconds=sums.seconds + interval.seconds,
            steps=sums.steps + interval.steps,
            skipped=sums.skipped + interval.skipped,
        )
        self._rate = interval.learning_rate
        images = interval.steps * self._batch / max(interval.seconds, 1e-9)
        used = speed(self._flops(), self._peak, interval.steps, interval.seconds).get("model_flops_utilisation")
        share = "" if used is None else f", {100 * used:.1f} % of peak FLOP/s"
        self._bar.update(interval.step, f"loss {interval.loss:.4f}, {images:,.0f} images/s{share}")

    def flush(self, state: PyTree, progress: Progress) -> None:
        """Log the means since the last time."""
        sums, self._facts = self._facts, Facts()
        if not sums.steps:
            return
        good = sums.steps - sums.skipped
        self._log.scalars(
            progress.step,
            {
                **({"loss": sums.losses / good, "gradient_norm": sums.norms / good} if good else {}),
                **({"skipped_steps": sums.skipped} if sums.skipped else {}),
                "learning_rate": self._rate,
                "images_per_second": sums.steps * self._batch / max(sums.seconds, 1e-9),
                **speed(self._flops(), self._peak, sums.steps, sums.seconds),
                "images_seen": progress.step * self._batch,
                "elapsed_seconds": progress.elapsed,
            },
        )

    def facts(self, progress: Progress, validation_loss: float = math.nan) -> Facts:
        """What a checkpoint is to know."""
        size, checksum = self._log.mark
        return replace(
            self._facts,
            elapsed=progress.elapsed,
            validation_loss=validation_loss,
            log_bytes=size,
            log_checksum=checksum,
            **self._marks,
        )

    def milestone(self, progress: Progress, validation_loss: float) -> None:
        """A checkpoint is being saved."""
        self._log.scalars(progress.step, {"validation_loss": validation_loss})
        self.write(
            f"step {progress.step}: validation loss {validation_loss:.4f}, "
            f"{progress.step * self._batch:,} images, {progress.elapsed:.0f} s"
        )

    def write(self, words: str) -> None:
        """Print above the bar, in process 0."""
        self._bar.write(words)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()

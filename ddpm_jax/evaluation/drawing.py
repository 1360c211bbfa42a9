"""Samples of an experiment, and the pictures that are made of them: at the end of training and on its way."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from ddpm_jax.data import Dataset
from ddpm_jax.devices.plan import Plan
from ddpm_jax.evaluation.told import conditions_of, pictures_of, words_of
from ddpm_jax.experiment import Experiment
from ddpm_jax.generative import Sampler, Sampling
from ddpm_jax.runs import pictures

Bar = Callable[[str], Callable[[Any], Any]]


def sampler(
    experiment: Experiment, plan: Plan, sampling: Sampling | None = None, frames: tuple[int, ...] = ()
) -> Sampler:
    """What draws an experiment's samples, in its own way or another."""
    batch = experiment.config.sampler.batch
    return Sampler(experiment.model, sampling or experiment.sampling_in(), plan, batch, frames)


def draw(
    experiment: Experiment,
    plan: Plan,
    params: PyTree,
    dataset: Dataset,
    count: int,
    progress: Any,
    sampling: Sampling | None = None,
    frames: tuple[int, ...] = (),
) -> tuple:
    """Samples of the config's seed, asked for what the data's own images are: images, film, network evaluations."""
    told = conditions_of(experiment.asked, dataset, count)
    return sampler(experiment, plan, sampling, frames)(params, experiment.config.seed, count, told, progress)


GRID, FILM, FRAMES = 64, 6, 10


@dataclass(frozen=True, eq=False)
class Progress:
    """Pictures of the same few prompts as a model learns them, in the run's folder `progress`.

    Attributes:
        experiment: its config says which prompts; there may be none.
        plan: the devices.
        dataset: the data.
        folder: the run's.
    """

    experiment: Experiment
    plan: Plan
    dataset: Dataset
    folder: Path

    @cached_property
    def _sampler(self) -> Sampler:
        return sampler(self.experiment, self.plan)

    def draw(self, params: PyTree, step: int) -> Path | None:
        """Those of a step; None where there are no prompts, or no pictures of two spatial axes."""
        prompts = list(self.experiment.config.evaluation.prompts)
        if not prompts or len(self.experiment.description.space) != 2:
            return None
        kinds = self.experiment.asked
        asked = conditions_of(kinds, self.dataset, len(prompts), {"text": prompts})
        images, _, _ = self._sampler(params, self.experiment.config.seed, len(prompts), asked)
        shown = np.asarray(self.experiment.description.encode(images))
        try:
            return pictures.grid(self.folder / "progress" / f"step_{step}.png", shown, prompts)
        except OSError as error:  # training goes on without a picture
            warnings.warn(f"the pictures of step {step} cannot be written ({error})", stacklevel=2)
            return None


def draw_pictures(
    experiment: Experiment, plan: Plan, params: PyTree, folder: Path, dataset: Dataset, bar: Bar
) -> dict[str, Path]:
    """A grid of samples and a film strip of the sampling, as PNG in the folder. Images of two spatial axes only."""
    if len(experiment.description.space) != 2:
        return {}
    images, _, _ = draw(experiment, plan, params, dataset, GRID, bar("samples"))
    shown = np.asarray(experiment.description.encode(images))
    grid = experiment.sampling_in().grid
    steps = len(grid) - 1
    late = 1 - (1 - np.linspace(0, 1, FRAMES)) ** 2  # most is to be seen towards the end
    frames = tuple(sorted({round(share * (steps - 1)) for share in late}))
    _, film, _ = draw(experiment, plan, params, dataset, FILM, bar("film"), frames=frames)
    noisy, estimates = film
    kinds = experiment.asked
    told, few = (conditions_of(kinds, dataset, count) for count in (GRID, FILM))
    shown = pictures.beside(shown, pictures_of(kinds, told))
    words, times = words_of(kinds, few), [float(grid[frame]) for frame in frames]
    return {
        "samples": pictures.grid(folder / "samples.png", shown, words_of(kinds, told)),
        "film": pictures.film(folder / "film.png", noisy.swapaxes(0, 1), estimates.swapaxes(0, 1), words, times),
    }

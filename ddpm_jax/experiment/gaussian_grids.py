"""From a config to its schedule before training, and to the time grids of sampling and of the bound."""

import jax
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import schedules
from ddpm_jax.experiment.options import schedule_options
from ddpm_jax.schedules.grids import make_grid


def family_of(config: ConfigDict) -> schedules.Parametrised:
    """The schedule, before its parameters. Raises ValueError for options that cannot be."""
    return schedules.make(config.process.schedule, config.process.steps, **schedule_options(config))


def schedule_of(config: ConfigDict) -> schedules.Schedule:
    """The schedule as it is before training: itself, if it has no parameters."""
    family = family_of(config)
    return family.bind(family.init(jax.random.key(0)))


def t_min(config: ConfigDict) -> float:
    """The least time that a network sees."""
    process = config.process
    return 1 / process.steps if process.steps else process.t_min or schedules.t_min(process.schedule)


def sampling(config: ConfigDict, steps: int | None = None) -> np.ndarray:
    """The sampler's time grid, of `steps` intervals if given. In discrete time it visits the times of training."""
    sampler, total = config.sampler, config.process.steps
    grid = make_grid(schedule_of(config), steps or sampler.steps, sampler.spacing, t_min(config), sampler.rho)
    return np.round(grid * total) / total if total else grid


def bound(config: ConfigDict) -> np.ndarray:
    """The intervals of the variational bound: those of discrete time, or strata of continuous time.

    The last, the decoder's, may begin where there is still noise: any beginning gives a bound.
    """
    steps, evaluation, schedule = config.process.steps, config.evaluation, schedule_of(config)
    trained = config.process.schedule in schedules.TRAINED  # such a schedule begins where it is best
    least = t_min(config)
    if evaluation.decoder_noise and not trained:
        with jax.ensure_compile_time_eval():  # a grid is a constant, also where a program that uses it is traced
            noise = np.asarray(-2 * np.log(evaluation.decoder_noise), np.float32)
            least = max(least, float(schedules.time_of_log_snr(schedule, noise)))
    if steps:
        times = np.arange(steps, 0, -1) / steps
        return np.append(times[times >= least - 0.5 / steps], 0.0)
    # Strata of one width in log-SNR make the terms alike; a learned schedule sees to that itself.
    return make_grid(schedule, evaluation.likelihood_groups or 1000, "uniform" if trained else "log_snr", least)

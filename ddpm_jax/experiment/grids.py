"""The times that a Gaussian sampler visits, from a config, and which of them cannot be."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import plugins, schedules
from ddpm_jax.config.keys import KEYS
from ddpm_jax.experiment.options import make_schedule, of, steps_by_hand, tried
from ddpm_jax.generative import bound_grid
from ddpm_jax.processes import Gaussian, Refusal, Traits
from ddpm_jax.samplers import SOLVERS, AnnealedLangevin
from ddpm_jax.schedules.grids import OF_LEVELS, OF_TABLES, grid_of_levels, grid_of_times, make_grid, restarted

READ_BY = {
    "sigma_min": OF_LEVELS,
    "sigma_max": OF_LEVELS,
    "beta_a": ("beta",),
    "beta_b": ("beta",),
}
"""Options of spacings, and the spacings that read them; `rho` is left alone, for earlier runs may have any."""


def t_min(config: ConfigDict) -> float:
    """The least time that a network sees."""
    section: Any = config.process
    return 1 / section.steps if section.steps else section.t_min or getattr(make_schedule(config), "t_min", 1e-3)


def sampling_process(config: ConfigDict, process: Any) -> Any:
    """What steps back are taken of: the process, its table interpolated where times between entries are visited."""
    if not (config.sampler.between and isinstance(process.schedule, schedules.Table)):
        return process
    return replace(process, schedule=schedules.interpolated(process.schedule))


def sampling_grid(config: ConfigDict, process: Any, steps: int | None = None) -> np.ndarray:
    """The sampler's time grid, of `steps` intervals if given.

    In discrete time it visits the times of training, unless it may go between them. Raises ValueError where there is
    no such grid.
    """
    section, least = config.sampler, t_min(config)
    total = 0 if section.between else config.process.steps
    schedule = sampling_process(config, process).start().known
    if steps_by_hand(config, steps):
        if section.times:
            return grid_of_times(schedule, tuple(map(float, section.times)), least, total)
        return grid_of_levels(schedule, tuple(map(float, section.sigmas)), least, total)
    levels, beta = (section.sigma_min, section.sigma_max), (section.beta_a, section.beta_b)
    grid = make_grid(schedule, steps or section.steps, section.spacing, least, section.rho, *levels, beta)
    return np.round(grid * total) / total if total else grid


def walked_grid(config: ConfigDict, process: Any, steps: int | None) -> np.ndarray:
    """The sampler's times with its restarts. Raises ValueError where too few of them are in the range of those."""
    section, grid = config.sampler, sampling_grid(config, process, steps)
    if not section.restarts:
        return grid
    low, high = map(float, section.restart_range)
    return restarted(sampling_process(config, process).start().known, grid, low, high, section.restarts)


def refusals(config: ConfigDict, process: Gaussian, traits: Traits) -> Iterator[Refusal]:
    """The grids of sampling and of the bound can be made, and Langevin moves on the first do not diverge."""
    section, evaluation, total = config.sampler, config.evaluation, config.process.steps
    unread = list(_unread(config))
    yield from unread
    if unread:
        return
    if section.between and not total:
        yield Refusal("sampler.between", "in continuous time there is nothing between; leave it False")
    grid = yield from _sampling_grid(config, process, traits)
    if grid is not None and not steps_by_hand(config):
        for steps in evaluation.curve:
            yield from tried("evaluation.curve", "", sampling_grid, config, process, steps)
    if section.restarts and grid is not None:
        yield from _restarts(config, process)
    if grid is not None and section.name == "annealed_langevin":
        moves = AnnealedLangevin(section.langevin_step, section.corrector_steps)
        yield from of("sampler", moves.diverging(process.start().known, grid))
    if not total and evaluation.likelihood_groups == 1:
        reason = "one stratum leaves no time between the prior and the decoder; use 100"
        yield Refusal("evaluation.likelihood_groups", reason)
        return
    bound = (process, total, t_min(config), evaluation.likelihood_groups, evaluation.decoder_noise)
    made = yield from tried("evaluation.decoder_noise", "no bound begins at this noise: ", bound_grid, *bound)
    if made is not None and len(made[0]) < 3:
        reason = f"{evaluation.decoder_noise} is above all noise but the last; lower it"
        yield Refusal("evaluation.decoder_noise", reason)


def _unread(config: ConfigDict) -> Iterator[Refusal]:
    """Options of times that say something which nothing reads."""
    section, by_hand = config.sampler, steps_by_hand(config)
    for key, spacings in READ_BY.items():
        default = KEYS[f"sampler.{key}"].default
        if section[key] != default and (by_hand or section.spacing not in spacings):
            where = "with times given by hand" if by_hand else f"by {section.spacing} spacing"
            instead = "" if by_hand else f", or use {' or '.join(spacings)}"
            reason = f"is not read {where}; leave it {default}{instead}"
            yield Refusal(f"sampler.{key}", reason)
    default = KEYS["sampler.restart_range"].default
    if section.restart_range != default and not section.restarts:
        yield Refusal(
            "sampler.restart_range", f"there are no restarts; set config.sampler.restarts, or leave it {default}"
        )


def _restarts(config: ConfigDict, process: Gaussian) -> Iterator[Refusal]:
    """The solver walks a grid, which has times in the range, whatever the number of its steps."""
    section = config.sampler
    if not getattr(plugins.find(SOLVERS, section.name), "walks", True):
        yield Refusal("sampler.restarts", f"{section.name} takes no steps of a grid; leave it 0")
    elif len(section.restart_range) != 2:
        yield Refusal("sampler.restart_range", f"{section.restart_range} is not (from, to)")
    else:
        for steps in (None,) if steps_by_hand(config) else (section.steps, *config.evaluation.curve):
            yield from tried("sampler.restart_range", "", walked_grid, config, process, steps)


def _sampling_grid(
    config: ConfigDict, process: Gaussian, traits: Traits
) -> Generator[Refusal, None, np.ndarray | None]:
    """The times of sampling, if there can be such a grid."""
    section, total = config.sampler, 0 if config.sampler.between else config.process.steps
    if steps_by_hand(config):
        key = "sampler.times" if section.times else "sampler.sigmas"
        return (yield from tried(key, "", sampling_grid, config, process))
    if not section.steps:
        yield Refusal("sampler.steps", "a Gaussian process has no number of steps of its own; use 100")
    elif 0 < total < section.steps:
        yield Refusal("sampler.steps", f"{section.steps} is more than config.process.steps {total}")
    elif section.spacing in OF_TABLES and traits.continuous:
        reason = f"{section.spacing} is for tables; with {config.process.schedule} use uniform or karras"
        yield Refusal("sampler.spacing", reason)
    elif section.spacing in OF_TABLES and section.between:
        reason = f"{section.spacing} is at a table's entries, and between is True; use uniform or karras"
        yield Refusal("sampler.spacing", reason)
    else:
        of_levels = [key for key in ("sigma_max", "sigma_min") if section[key]]
        words = f"no grid of {section.steps} steps with this t_min and rho: "
        key = of_levels[0] if of_levels else "spacing"
        grid = yield from tried(f"sampler.{key}", "" if of_levels else words, sampling_grid, config, process)
        if grid is not None and (np.diff(grid) < 0).all():
            return grid
        if grid is not None:
            reason = f"{section.steps} {section.spacing} steps are finer than the levels of training; use fewer"
            yield Refusal("sampler.steps", reason)
    return None

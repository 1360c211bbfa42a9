"""Sections of a config as the arguments that the rooms take."""

from dataclasses import fields
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import models, samplers
from ddpm_jax.objectives import losses

SCHEDULE_OPTIONS = ("beta_min", "beta_max", "sigma_min", "sigma_max", "rho", "shift", "gamma_min", "gamma_max")


def schedule_options(config: ConfigDict) -> dict[str, float]:
    """The options of the schedule that the config sets; 0 leaves the schedule's own default."""
    return {name: float(config.process[name]) for name in SCHEDULE_OPTIONS if config.process[name]}


def times_options(config: ConfigDict) -> dict[str, float]:
    """The mean and the deviation of the time distributions that have them."""
    section = config.objective
    return {
        "log_normal": {"mean": section.log_mean, "deviation": section.log_deviation},
        "logit_normal": {"mean": section.logit_mean, "deviation": section.logit_deviation},
    }.get(section.times, {})


def objective_options(config: ConfigDict, steps: int) -> losses.Options:
    """What the objective may depend on; `steps` is T, 0 in continuous time."""
    section = config.objective
    return losses.Options(steps, config.model.sigma_data, section.min_snr, section.sigmoid_bias, section.hybrid)


def sampler_options(config: ConfigDict) -> samplers.SamplerOptions:
    """The sampler section, without what makes the grid and wraps the denoiser."""
    return samplers.SamplerOptions(
        **{field.name: config.sampler[field.name] for field in fields(samplers.SamplerOptions)}
    )


def model_options(config: ConfigDict, description: Any) -> dict[str, Any]:
    """The model section as the arguments that its network takes."""
    return {
        "labels": description.labels if config.model.conditional else 0,
        **{name: config.model[name] for name in models.options(config.model.name)},
    }

"""A config with a part of each kind from a package beside it, and a neighbour that it imports."""

from neighbour import STEPS

from ddpm_jax.config import base


def get_config():
    config = base.digits()
    base_of_run(config)
    config.data.name = "mine.parts:stripes"
    config.data.options.images = 48
    config.process.name = "mine.parts:Bright"
    config.process.options.shift = 0.1
    config.process.schedule = "mine.parts:Power"
    config.process.schedule_options.power = 1.5
    config.process.steps = 0
    config.model.name = "mine.parts:Mlp"
    config.model.options.width = 16
    config.model.conditions = ("label",)
    config.model.prediction, config.model.time, config.model.variance = "v", "thousand", "fixed_small"
    config.objective.name = "mine.parts:Louder"
    config.objective.times = "mine.parts:Late"
    config.objective.times_options.share = 0.25
    config.sampler.name = "mine.parts:Damped"
    config.sampler.options.gain = 0.9
    config.sampler.spacing, config.sampler.eta = "uniform", 0.5
    config.evaluation.features = "mine.parts:pixels"
    config.evaluation.features_options.scale = 2.0
    return config


def base_of_run(config):
    config.data.batch = 8
    config.training.steps, config.training.save_every, config.training.log_every = STEPS, STEPS, 2
    config.sampler.steps, config.sampler.batch = 3, 16
    config.evaluation.samples = config.evaluation.likelihood_images = 16
    config.evaluation.likelihood_groups, config.evaluation.ode_images = 4, 0
    config.evaluation.validation_images = 16
    config.evaluation.decoder_noise = 0.0
    config.evaluation.pictures = False
    config.logging.wandb = "off"


def sweep():
    yield {"sampler.options.gain": 0.5}
    yield {"sampler.options.gain": 1.0}

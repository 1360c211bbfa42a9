"""Flow matching that is told a small picture or a grey one: it raises the resolution four times, and colours.

`small` is for two CPU cores, `full` for a GPU. Both are told with noise of up to a deviation of 0.5 in training, and
with how much it is (Ho et al. 2022), and each is left out of half of the pictures. Samples are told those of the test
pictures.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.flow(config)
    config.data.views, config.data.view_noise = ("small", "grey"), 0.5
    config.model.conditions = ("small", "grey")
    config.objective.condition_drop_each = 0.5
    config.sampler.guidance = 1.0
    config.evaluation.prompts = ()
    config.training.steps = 100_000 if size == "full" else 8_000
    return config

"""From a sketch to a picture: flow matching on OpenMoji's emoji, told their outlines alone (extra `emoji`).

`small` is for two CPU cores, `full` for a GPU. Samples are told the sketches of the test split, and their picture shows
each beside what was drawn of it. All emojis designed by OpenMoji, the open-source emoji and icon project; licence: CC
BY-SA 4.0.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.flow(config)
    config.data.name = "emoji" if size == "full" else "emoji/16"
    config.model.conditions = ("sketch",)
    config.model.dropout = 0.1
    config.sampler.guidance = 1.0  # channels beside the input are followed without it
    config.evaluation.samples = 76  # as many as the test split has
    config.evaluation.prompts = ()
    return config

"""Flow matching that is told words, outlines and a picture with a hole: to edit still lifes, and draw after sketches.

`small` is for two CPU cores, `full` for a GPU. Each of the three is left out of half of the pictures in training, so
that any of them may be given. Samples are told those of the test pictures.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.flow(config)
    config.data.views = ("edges", "known")
    config.model.conditions = ("text", "edges", "known")
    config.objective.condition_drop_each = 0.5
    # a network follows channels beside its input without guidance, words only with it
    config.sampler.guidance, config.sampler.guidance_each = 1.0, ("known:1", "edges:1", "text:3")
    config.training.steps = 100_000 if size == "full" else 12_000
    return config

"""Flow matching that is told words, outlines and a picture with a hole: to edit still lifes, and draw after sketches.

`small` is for two CPU cores, `full` for a GPU. Any of the three may be left out, for training leaves each out too:
outlines and the hole of more than half of the pictures, since words are the hardest to learn, and are of least use
beside them. Samples are told those of the test pictures.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.flow(config)
    config.data.views = ("edges", "known")
    config.model.conditions = ("text", "edges", "known")
    config.objective.condition_drop_own = ("text:0.1", "edges:0.6", "known:0.6")
    # a network follows channels beside its input without guidance, words only with it
    config.sampler.guidance, config.sampler.guidance_each = 1.0, ("known:1", "edges:1", "text:3")
    return config

"""DDPM (Ho et al. 2020) on a folder of your own pictures: `ddpm.py:64` is of 64x64, for two CPU cores.

Say where they are: --config.data.dir=PICTURES. To be told their classes or captions: --config.model.conditions=label or
text.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "32") -> ConfigDict:
    config = base.pictures(size)
    families.ddpm(config)
    return config

"""Masked diffusion (Austin et al. 2021) on a folder of your own pictures: `masked.py:64` is 64x64, for two cores.

Say where they are: --config.data.dir=PICTURES. To be told their classes or captions: --config.model.conditions=label or
text.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "32") -> ConfigDict:
    config = base.pictures(size)
    families.masked(config)
    config.model.prediction = "logistics"  # which couples the colours of a pixel
    return config

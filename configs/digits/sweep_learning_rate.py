"""DDPM on the embedded 8x8 digits with three learning rates, twice each: some half an hour on two CPU cores.

python -m ddpm_jax.sweep --config=configs/digits/sweep_learning_rate.py --jobs=2
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import ddpm


def get_config() -> ConfigDict:
    config = digits()
    ddpm(config)
    return config


def sweep() -> Iterator[dict[str, Any]]:
    """What each run changes. Runs of one name differ by their seed, and are one line of a report."""
    for rate in (5e-4, 2e-3, 8e-3):
        for seed in range(2):
            yield {"name": f"rate_{rate:g}", "optimizer.learning_rate": rate, "seed": seed}

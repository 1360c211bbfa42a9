"""A classifier of noisy digits, to guide `ddpm.py` by (Dhariwal and Nichol 2021).

Of another member's process: `--config=configs/digits/classifier.py:vp`. So small a data set is learned by heart, hence
the dropout and the weight decay.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from ddpm_jax.config.families import classifier


def get_config(member: str = "ddpm") -> ConfigDict:
    path = Path(__file__).with_name(f"{member}.py")
    if not path.is_file():
        raise ValueError(f"there is no member {member!r} beside this file")
    config = runpy.run_path(str(path))["get_config"]()
    classifier(config)
    config.model.dropout = 0.3
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.05
    config.training.steps = 2000
    return config

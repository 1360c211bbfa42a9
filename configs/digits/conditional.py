"""Any member of this folder told the class: `--config=configs/digits/conditional.py:masked`; by default DDPM.

Guidance 2 draws the samples; at the end they are measured at other weights too: accuracy of an independent classifier,
and the distances.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(member: str = "ddpm") -> ConfigDict:
    path = Path(__file__).with_name(f"{member}.py")
    if not path.is_file():
        raise ValueError(f"there is no member {member!r} beside this file")
    config = runpy.run_path(str(path))["get_config"]()
    config.model.conditions = ("label",)
    config.sampler.guidance = 2.0
    config.evaluation.curve_guidance = (0.0, 1.0, 3.0, 5.0)
    return config

"""Any member of this folder told the class: `--config=configs/mnist/conditional.py:flow` (GPU), `:flow,small` for two
CPU cores; by default DDPM.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(member: str = "ddpm") -> ConfigDict:
    parts = [part for part in member.split(",") if part]
    size = next((part for part in parts if part in ("small", "full")), "full")
    name = next((part for part in parts if part not in ("small", "full")), "ddpm")
    path = Path(__file__).with_name(f"{name}.py")
    if not path.is_file():
        raise ValueError(f"there is no member {name!r} beside this file")
    config = runpy.run_path(str(path))["get_config"](size)
    config.model.conditions = ("label",)
    config.sampler.guidance = 2.0
    config.evaluation.curve_guidance = (0.0, 1.0, 3.0, 5.0)
    return config

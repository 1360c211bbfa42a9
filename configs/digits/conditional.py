"""Any member of this folder told the class: `--config=configs/digits/conditional.py:masked`; by default DDPM.

Guidance 2 draws the samples; at the end they are measured at other weights too: accuracy of an independent classifier,
and the distances. All of MEMBERS, and a report that has them in one table:

    python -m ddpm_jax.sweep --config=configs/digits/conditional.py --workdir=runs/digits_told
    python -m ddpm_jax.report runs/digits_told
"""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

MEMBERS = (
    *("ddpm", "ddpm_cosine", "improved_ddpm", "vp", "subvp", "ve", "edm", "flow", "vdm"),
    *("masked", "uniform", "random_order", "spread", "chunked", "autoregressive", "pixelcnn"),
)


def get_config(member: str = "ddpm") -> ConfigDict:
    path = Path(__file__).with_name(f"{member}.py")
    if not path.is_file():
        raise ValueError(f"there is no member {member!r} beside this file")
    config = runpy.run_path(str(path))["get_config"]()
    config.model.conditions = ("label",)
    config.sampler.guidance = 2.0
    config.evaluation.curve_guidance = (0.0, 1.0, 3.0, 5.0)
    return config


def sweep() -> Iterator[dict[str, Any]]:
    """Each member, without the likelihoods, which guidance does not change."""
    for member in MEMBERS:
        likelihoods = {"evaluation.likelihood_images": 0, "evaluation.ode_images": 0, "evaluation.exact_images": 0}
        yield {"argument": member, "name": member, **likelihoods}

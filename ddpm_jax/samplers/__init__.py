"""Samplers: start from nothing and put information back.

`loop.py` holds the one sampling loop; a solver is an estimate of the clean image (`estimates.py`) followed by the
process's own reverse step. Imports `processes` and `denoisers`.
"""

from ddpm_jax.samplers.estimates import Estimate, first_order
from ddpm_jax.samplers.loop import sample, step

ESTIMATES = {"first_order": first_order}

__all__ = ["ESTIMATES", "Estimate", "first_order", "sample", "step"]

"""Processes: what removes information from an image, and the law of putting it back.

`process.py` says what every process answers; `gaussian.py` adds noise. Imports `schedules` and `keys`; denoisers,
losses, samplers and likelihoods import it.
"""

from ddpm_jax.processes.gaussian import Gaussian
from ddpm_jax.processes.process import Process

PROCESSES = {"gaussian": Gaussian}

__all__ = ["PROCESSES", "Gaussian", "Process"]

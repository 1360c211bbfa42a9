"""Samplers: start from nothing and put information back.

`loop.py` holds the one sampling loop and `steps.py` the steps it takes; most solvers are an estimate of the clean
image (`estimates.py`) followed by the process's own reverse step. `langevin.py` has the moves that stay at one level,
`adaptive.py` the solver without a grid, `cached.py` the step of a causal network that remembers, `confidence.py` the
one that picks the sites to reveal, `catalogue.py` all of them by name. Imports `processes` and `denoisers`.
"""

from ddpm_jax.samplers.adaptive import tsit5
from ddpm_jax.samplers.cached import cached, no_groups_yet
from ddpm_jax.samplers.catalogue import SAMPLERS, Sampler, SamplerOptions, make, refusal
from ddpm_jax.samplers.confidence import all_hidden, confidence
from ddpm_jax.samplers.estimates import Estimate, dpm_2m, first_order, heun, nothing_yet
from ddpm_jax.samplers.langevin import annealed_langevin, corrector
from ddpm_jax.samplers.loop import After, Film, Step, sample
from ddpm_jax.samplers.steps import churn, euler, posterior_step, reverse_diffusion

__all__ = [
    "SAMPLERS",
    "After",
    "Estimate",
    "Film",
    "Sampler",
    "SamplerOptions",
    "Step",
    "all_hidden",
    "annealed_langevin",
    "cached",
    "churn",
    "confidence",
    "corrector",
    "dpm_2m",
    "euler",
    "first_order",
    "heun",
    "make",
    "no_groups_yet",
    "nothing_yet",
    "posterior_step",
    "refusal",
    "reverse_diffusion",
    "sample",
    "tsit5",
]

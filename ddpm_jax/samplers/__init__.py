"""Samplers: start from nothing and put information back.

`solver.py` says what every solver answers, `stepping.py` holds the one loop; most solvers are an estimate of the clean
image followed by the process's own reverse step (`estimates.py`): by a polynomial in log-SNR (`exponential.py`) or
along a line (`multistep.py`, `coordinates.py`), through the values at hand (`extrapolation.py`). `steps.py` steps along
the equations of noise, `langevin.py` has the moves that stay at one level, `adaptive.py` the solver without a grid,
`cached.py` that of a causal network that remembers, `confidence.py` the one that picks the sites to reveal,
`catalogue.py` all of them by name; `optimised.py` chooses times for a denoiser. Imports `processes` and `denoisers`.

To add a solver: a frozen dataclass that is a `StepSolver` (or a `Solver`), whose fields are its options. One that calls
the denoiser otherwise than once a step says so twice: how often (`evaluations`) and at which times (`calls`).

>>> from ddpm_jax import samplers
>>> samplers.make("dpm_2m", {"eta": 1.0}).eta
1.0
"""

from ddpm_jax.samplers.adaptive import Tsit5
from ddpm_jax.samplers.cached import Cached
from ddpm_jax.samplers.catalogue import CHURN, SOLVERS, UNSAID, make, unread
from ddpm_jax.samplers.confidence import Confidence
from ddpm_jax.samplers.estimates import DDIM, DDPM, FirstOrder, NoisyStep, ReverseStep
from ddpm_jax.samplers.exponential import DPM2M, DPM2S, DPM3M, UniPC
from ddpm_jax.samplers.langevin import AnnealedLangevin, PredictorCorrector
from ddpm_jax.samplers.multistep import DEIS, PNDM, AdamsBashforth, AlongLine, Heun
from ddpm_jax.samplers.optimised import optimised_grid, step_errors
from ddpm_jax.samplers.solver import After, Film, Problem, Solver, sample
from ddpm_jax.samplers.stepping import StepSolver, Walk, walk
from ddpm_jax.samplers.steps import Churned, Euler, ReverseDiffusion

__all__ = [
    "CHURN",
    "DDIM",
    "DDPM",
    "DEIS",
    "DPM2M",
    "DPM2S",
    "DPM3M",
    "PNDM",
    "SOLVERS",
    "UNSAID",
    "AdamsBashforth",
    "After",
    "AlongLine",
    "AnnealedLangevin",
    "Cached",
    "Churned",
    "Confidence",
    "Euler",
    "Film",
    "FirstOrder",
    "Heun",
    "NoisyStep",
    "PredictorCorrector",
    "Problem",
    "ReverseDiffusion",
    "ReverseStep",
    "Solver",
    "StepSolver",
    "Tsit5",
    "UniPC",
    "Walk",
    "make",
    "optimised_grid",
    "sample",
    "step_errors",
    "unread",
    "walk",
]

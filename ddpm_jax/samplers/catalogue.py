"""Solvers by name, made from the options that a config may hold."""

from collections.abc import Iterator
from typing import Any

from ddpm_jax import plugins
from ddpm_jax.plugins import Options
from ddpm_jax.processes import Refusal
from ddpm_jax.samplers.adaptive import Tsit5
from ddpm_jax.samplers.cached import Cached
from ddpm_jax.samplers.confidence import Confidence
from ddpm_jax.samplers.estimates import DDIM, DDPM, FirstOrder
from ddpm_jax.samplers.exponential import DPM2M, DPM2S, DPM3M, UniPC
from ddpm_jax.samplers.langevin import AnnealedLangevin, PredictorCorrector
from ddpm_jax.samplers.multistep import DEIS, PNDM, AdamsBashforth, Heun
from ddpm_jax.samplers.solver import Solver
from ddpm_jax.samplers.steps import Churned, Euler, ReverseDiffusion

SOLVERS: dict[str, type[Solver]] = {
    "first_order": FirstOrder,
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": Heun,
    "dpm_2s": DPM2S,
    "dpm_2m": DPM2M,
    "dpm_3m": DPM3M,
    "unipc": UniPC,
    "adams_bashforth": AdamsBashforth,
    "deis": DEIS,
    "pndm": PNDM,
    "euler": Euler,
    "reverse_diffusion": ReverseDiffusion,
    "predictor_corrector": PredictorCorrector,
    "annealed_langevin": AnnealedLangevin,
    "tsit5": Tsit5,
    "cached": Cached,
    "confidence": Confidence,
}
"""Each solver by its name."""

CHURN = {"churn": "amount", "churn_min": "low", "churn_max": "high", "churn_noise": "noise"}
"""The options of `Churned` in a config."""


OWN = {"solver_order": 0}
"""Options that leave a solver's own default at this value."""

UNSAID = {
    "corrector_steps": (1, "has none; set it to 1"),
    "confidence_temperature": (0, "has none; leave it 0, or use confidence"),
    "solver_order": (0, "has one order; leave it 0, or use adams_bashforth or unipc"),
    "coordinate": ("line", "has none to choose; leave it line, or use heun or adams_bashforth"),
    "noise_law": ("ddim", "has its own; leave it ddim, or use first_order or dpm_2m"),
    "noise_scale": (1, "does not scale its noise; leave it 1, or use first_order, dpm_2m or euler"),
    "predict": (True, "has no predictor to leave out; leave it True, or use predictor_corrector"),
}
"""Options that few solvers have: the value that says nothing, and what to do of a solver without it."""


def make(name: str, chosen: Options, own: Options | None = None) -> Solver:
    """The solver of a name, or of a dotted path.

    Args:
        name: a key of `SOLVERS`, or `package.module:function`.
        chosen: options by name, of which a solver takes its own; churn goes before its steps where it is asked for.
        own: further options, of a dotted path.

    Raises:
        ValueError: there is no such solver, or it cannot be made with these options.
    """
    function: Any = plugins.find(SOLVERS, name)
    own, said = (
        own or {},
        {option: value for option, value in chosen.items() if OWN.get(option, NotImplemented) != value},
    )
    solver = plugins.made(name, function, {**plugins.given(function, **said), **own})
    if not isinstance(solver, Solver):
        raise ValueError(f"{name} is no solver: it must be a ddpm_jax.Solver")
    if chosen.get("churn"):
        solver = Churned(solver, **{ours: chosen[theirs] for theirs, ours in CHURN.items()})
    return solver


def unread(name: str, chosen: Options) -> Iterator[Refusal]:
    """Options that say something and that the solver of this name does not have."""
    function: Any = plugins.find(SOLVERS, name)
    taken, (low, high) = plugins.options(function), getattr(function, "etas", (0, 1))
    eta = chosen["eta"]
    if not low <= eta <= high:
        adds = "adds all the noise there is" if low else "adds no fresh noise"
        yield Refusal("eta", f"{eta} is not in [{low}, {high}]" if low < high else f"{name} {adds}; set it to {low}")
    for option, (silent, reason) in UNSAID.items():
        if option not in taken and chosen.get(option, silent) != silent:
            yield Refusal(option, f"{name} {reason}")

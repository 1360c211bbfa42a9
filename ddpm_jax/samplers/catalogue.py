"""Solvers by name, made from the options that a config may hold."""

from collections.abc import Iterator
from typing import Any

from ddpm_jax import plugins
from ddpm_jax.plugins import Options
from ddpm_jax.processes import Refusal
from ddpm_jax.samplers.adaptive import Tsit5
from ddpm_jax.samplers.cached import Cached
from ddpm_jax.samplers.confidence import Confidence
from ddpm_jax.samplers.estimates import DDIM, DDPM, DPM2M, FirstOrder, Heun
from ddpm_jax.samplers.langevin import AnnealedLangevin, PredictorCorrector
from ddpm_jax.samplers.solver import Solver
from ddpm_jax.samplers.steps import Churned, Euler, ReverseDiffusion

SOLVERS: dict[str, type[Solver]] = {
    "first_order": FirstOrder,
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": Heun,
    "dpm_2m": DPM2M,
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
    own = own or {}
    solver = plugins.made(name, function, {**plugins.given(function, **chosen), **own})
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
        yield Refusal("eta", f"{eta} is not in [0, 1]" if low < high else f"{name} {adds}; set it to {low}")
    if "corrector_steps" not in taken and chosen["corrector_steps"] != 1:
        yield Refusal("corrector_steps", f"{name} has none; set it to 1")
    if "confidence_temperature" not in taken and chosen["confidence_temperature"]:
        yield Refusal("confidence_temperature", f"{name} has none; leave it 0, or use confidence")

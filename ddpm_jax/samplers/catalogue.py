"""Samplers by name: what each is made of, what it costs, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ddpm_jax.denoisers import Denoise, as_point
from ddpm_jax.processes.process import Images, Keys
from ddpm_jax.samplers.adaptive import tsit5
from ddpm_jax.samplers.cached import cached, no_groups_yet
from ddpm_jax.samplers.confidence import all_hidden, confidence
from ddpm_jax.samplers.estimates import dpm_2m, first_order, heun, nothing_yet
from ddpm_jax.samplers.langevin import annealed_langevin, corrector
from ddpm_jax.samplers.loop import After, Film, Step, sample
from ddpm_jax.samplers.steps import churn, euler, posterior_step, reverse_diffusion


@dataclass(frozen=True)
class SamplerOptions:
    """What can be chosen of a sampler beside its grid. Each reads its own; `refusal` says what does not fit.

    Attributes:
        eta: fresh noise: 1 as in the Markov process, 0 none.
        churn: S_churn of Karras et al. 2022; 0 for none.
        churn_min: S_min, a ratio sigma/alpha.
        churn_max: S_max, a ratio sigma/alpha.
        churn_noise: S_noise.
        corrector_steps: Langevin moves at each level.
        snr: r of the corrector's step size (Song et al. 2021b).
        langevin_step: epsilon of annealed Langevin dynamics (Song and Ermon 2019): the step size at the last level, in
            units of x^2. It diverges from 4 (sigma/alpha)^2 there.
        rtol: relative tolerance of the adaptive solver.
        atol: absolute tolerance of the adaptive solver.
        confidence_temperature: how far chance, rather than confidence, decides which sites are revealed.
    """

    eta: float = 1.0
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = float("inf")
    churn_noise: float = 1.0
    corrector_steps: int = 1
    snr: float = 0.16
    langevin_step: float = 2e-5
    rtol: float = 1e-5
    atol: float = 1e-5
    confidence_temperature: float = 0.0


Run = Callable[..., tuple[Images, Film, Int[Array, " batch"]]]
"""`(grid, keys, x, frames=()) -> (x, film, evaluations [batch])`; see `loop.sample`."""

Parts = tuple[Step, Any, After | None]  # the step, the memory before the first one, what comes after each


@dataclass(frozen=True)
class Sampler:
    """What there is to know of a sampler before it runs.

    Attributes:
        parts: `(process, denoise, condition, options, grid, x) -> (step, memory, after)`; None for one without steps.
        evaluations: `(N, options) -> network evaluations` of one sample on a grid of N intervals; None: it depends.
        etas: the least and the greatest eta it can do.
        churns: whether churn can go before its steps.
        corrects: whether it reads `corrector_steps`.
        processes: the names of the processes it is for.
        derivatives: whether it needs the schedule's derivatives.
        signal: whether fresh noise needs alpha(1) > 0.
        causal: whether it needs a causal network, and with it an order that is the same for every image.
        exchangeable: whether it needs a network that was trained on orders in which all sites are alike.
    """

    parts: Callable[..., Parts] | None
    evaluations: Callable[[int, SamplerOptions], int | None]
    etas: tuple[int, int]
    churns: bool = False
    corrects: bool = False
    processes: tuple[str, ...] = ("gaussian",)
    derivatives: bool = False
    signal: bool = False
    causal: bool = False
    exchangeable: bool = False


def _first_order(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    return _churned(process, posterior_step(process, first_order(denoise, condition), options.eta), options, grid)


def _heun(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    return _churned(process, posterior_step(process, heun(process, denoise, condition), 0.0), options, grid)


def _dpm_2m(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    return posterior_step(process, dpm_2m(process, denoise, condition), options.eta), nothing_yet(x), None


def _euler(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    estimate = first_order(as_point(denoise), condition)
    return _churned(process, euler(process, estimate, options.eta), options, grid)


def _reverse_diffusion(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    return reverse_diffusion(process, first_order(as_point(denoise), condition)), None, None


def _predictor_corrector(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    step, memory, _ = _reverse_diffusion(process, denoise, condition, options, grid, x)
    return step, memory, corrector(process, denoise, condition, options.snr, options.corrector_steps)


def _annealed_langevin(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    size = options.langevin_step * process.snr(jnp.asarray(grid[-2], x.dtype), x)
    return annealed_langevin(process, denoise, condition, size, options.corrector_steps), None, None


def _cached(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    if len(grid) - 1 != process.order.groups:
        raise ValueError(f"cached sampling takes {process.order.groups} steps, a group each, not {len(grid) - 1}")
    return cached(process, denoise, condition), no_groups_yet(denoise, x.shape[0]), None


def _confidence(
    process: Any, denoise: Denoise, condition: Any, options: SamplerOptions, grid: np.ndarray, x: Images
) -> Parts:
    return confidence(process, denoise, condition, options.confidence_temperature), all_hidden(process, x), None


def _churned(process: Any, step: Step, options: SamplerOptions, grid: np.ndarray) -> Parts:
    if options.churn:
        low, high, noise = options.churn_min, options.churn_max, options.churn_noise
        step = churn(process, step, len(grid) - 1, options.churn, low, high, noise)
    return step, None, None


SAMPLERS = {
    # eta = 1 is ancestral sampling, eta = 0 DDIM; where sites are hidden, eta > 0 hides some again
    "first_order": Sampler(_first_order, lambda n, _: n, (0, 1), churns=True, processes=("gaussian", "ordered")),
    "heun": Sampler(_heun, lambda n, _: 2 * n - 1, (0, 0), churns=True),
    "dpm_2m": Sampler(_dpm_2m, lambda n, _: n, (0, 1)),
    # eta = 1 is Euler-Maruyama, eta = 0 the probability flow
    "euler": Sampler(_euler, lambda n, _: n, (0, 1), churns=True, derivatives=True, signal=True),
    "reverse_diffusion": Sampler(_reverse_diffusion, lambda n, _: n, (1, 1), signal=True),
    "predictor_corrector": Sampler(
        _predictor_corrector, lambda n, o: n + (n - 1) * o.corrector_steps, (1, 1), corrects=True, signal=True
    ),
    "annealed_langevin": Sampler(_annealed_langevin, lambda n, o: n * o.corrector_steps + 1, (1, 1), corrects=True),
    "tsit5": Sampler(None, lambda n, _: None, (0, 0), derivatives=True),
    "cached": Sampler(_cached, lambda n, _: n, (0, 0), processes=("ordered",), causal=True),
    "confidence": Sampler(_confidence, lambda n, _: n, (0, 0), processes=("ordered",), exchangeable=True),
}
"""Each sampler by its name."""


def make(name: str, process: Any, denoise: Denoise, condition: Any, options: SamplerOptions) -> Run:
    """The sampler of this name: `run(grid, keys, x, frames=()) -> (x, film, evaluations [batch])`.

    `first_order` takes draws of the denoiser's posterior, the others its mean. Options that a sampler cannot serve are
    for `refusal` to find; here they are ignored.

    Args:
        name: a key of `SAMPLERS`.
        process: the process, with parameters bound.
        denoise: the denoiser, wrapped as wanted.
        condition: what the denoiser is told, a row an example.
        options: see `SamplerOptions`.
    """
    sampler = SAMPLERS[name]

    def run(
        grid: np.ndarray, keys: Keys, x: Images, frames: tuple[int, ...] = ()
    ) -> tuple[Images, Film, Int[Array, " batch"]]:
        if sampler.parts is None:
            return tsit5(process, denoise, condition, grid, x, frames, options.rtol, options.atol)
        step, memory, after = sampler.parts(process, denoise, condition, options, grid, x)
        x, film = sample(step, grid, keys, x, memory, after, frames)
        count = sampler.evaluations(len(grid) - 1, options)
        assert count is not None
        return x, film, jnp.full(x.shape[0], count)

    return run


def refusal(
    name: str,
    options: SamplerOptions,
    *,
    process: str,
    continuous: bool = True,
    zero_terminal: bool = False,
    causal: bool = False,
    exchangeable: bool = False,
    independent: bool = False,
) -> tuple[str, str] | None:
    """Why the sampler of this name cannot do this, as (what to change, one line), or None if it can.

    Args:
        name: a key of `SAMPLERS`.
        options: see `SamplerOptions`.
        process: the name of the process.
        continuous: whether its schedule has derivatives.
        zero_terminal: whether alpha(1) = 0.
        causal: whether the network's output at a site depends on the sites before it only.
        exchangeable: whether all sites are alike in its order (random, independent), which is then not the same for
            every image.
        independent: whether its sites are hidden at times independent of one another.
    """
    sampler = SAMPLERS[name]
    low, high = sampler.etas
    if low < high:
        eta = f"{options.eta} is not in [0, 1]"
    else:
        eta = f"{name} {'adds all the noise there is' if low else 'adds no fresh noise'}; set it to {low}"
    churning = ", ".join(other for other, one in SAMPLERS.items() if one.churns)
    tables = ", ".join(other for other, one in SAMPLERS.items() if not one.derivatives and process in one.processes)
    kind = {"gaussian": "Gaussian"}.get(sampler.processes[0], sampler.processes[0])
    ordered = process == "ordered"
    checks = (
        (process not in sampler.processes, "name", f"{name} is for {kind} processes; use first_order"),
        (sampler.causal and not causal, "name", f"{name} needs a causal network; use first_order"),
        (sampler.causal and exchangeable, "name", f"{name} needs an order that is the same for every image"),
        (
            sampler.exchangeable and not exchangeable,
            "name",
            f"{name} needs a network that knows any set of sites: set config.process.order to random or independent, "
            "or use first_order",
        ),
        (not low <= options.eta <= high, "eta", eta),
        (
            ordered and options.eta > 0 and not independent,
            "eta",
            "only sites of independent times can be hidden again; set it to 0, or config.process.order=independent",
        ),
        (options.churn and not sampler.churns, "churn", f"{name} takes no churn; set it to 0 or use one of {churning}"),
        (options.churn and process != "gaussian", "churn", "churn is for Gaussian processes; set it to 0"),
        (options.corrector_steps != 1 and not sampler.corrects, "corrector_steps", f"{name} has none; set it to 1"),
        (sampler.derivatives and not continuous, "name", f"{name} cannot use a table; use one of {tables}"),
        (
            zero_terminal and sampler.signal and options.eta > 0,
            "name",
            f"{name} with fresh noise needs a schedule with alpha(1) > 0; use first_order or dpm_2m",
        ),
    )
    return next(((key, reason) for wrong, key, reason in checks if wrong), None)

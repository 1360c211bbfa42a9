"""Solvers that are an estimate of the clean image followed by the process's own reverse step.

An estimate may be one draw of the posterior, or a combination of several means. The step treats it as if it were x, a
draw of q(x_s | x_t, x_hat), so at s = 0 the estimate is the result. Only at the end is the estimate the denoiser's own.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers.posteriors import Wanted
from ddpm_jax.processes import Refusal, Traits
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import Problem
from ddpm_jax.samplers.stepping import StepSolver

NOISE_LAWS = ("ddim", "sde")
"""How eta between none and all makes the share of fresh noise."""


@dataclass(frozen=True)
class ReverseStep(StepSolver):
    """`x_hat` by `estimate`, then the process's own reverse step.

    >>> issubclass(FirstOrder, ReverseStep)
    True

    Attributes:
        eta: of that step's fresh noise: 1 as in the Markov process, 0 none.
    """

    eta: float = 0.0

    @abstractmethod
    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """`(x_hat, memory)`."""

    def back(self, problem: Problem, keys: Keys, x_t: Images, x_hat: Images, t: Times, s: Times) -> Images:
        """The process's reverse step by this estimate."""
        return problem.process.reverse(keys, x_t, x_hat, t, s, self.eta)

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """A draw of q(x_s | x_t, x_hat)."""
        keys_estimate, keys_reverse = random.split(keys)
        x_hat, memory = self.estimate(problem, keys_estimate, x_t, memory, t, s)
        return self.back(problem, keys_reverse, x_t, x_hat, t, s), x_hat, memory


@dataclass(frozen=True)
class NoisyStep(ReverseStep):
    """One whose step may have any share of fresh noise.

    >>> issubclass(FirstOrder, NoisyStep)
    True

    With ratio = SNR(t)/SNR(s), the noise has the share rho^2 of the variance sigma_s^2:

    - `ddim`: min(eta^2 (1 - ratio), 1) (Song et al. 2021a, eq. 16).
    - `sde`: 1 - ratio^eta, the exact solution with x_hat held of the equation whose noise has eta times the variance of
      the Markov process's (k-diffusion's `eta` of `dpmpp_2m_sde`).

    Both are 0 at eta = 0 and the Markov process's at eta = 1; eta may be above it.

    Attributes:
        noise_law: what eta means between and beyond.
        noise_scale: a factor on the fresh noise (S_noise of k-diffusion's samplers); a little above 1 makes up for
            detail that a network removes.
    """

    noise_law: str = "ddim"
    noise_scale: float = 1.0
    etas: ClassVar[tuple[float, float]] = (0, math.inf)

    def __post_init__(self) -> None:
        if self.noise_law not in NOISE_LAWS:
            raise ValueError(f"unknown noise_law {self.noise_law!r}; choose from {', '.join(NOISE_LAWS)}")

    @property
    def own_law(self) -> bool:
        """Whether the share is another than the process's own for this eta."""
        return self.noise_law != "ddim" and self.eta not in (0, 1)

    def share(self, ratio: Array) -> Array | float:
        """The eta of the process's step, given SNR(t)/SNR(s)."""
        if not self.own_law:
            return self.eta
        return jnp.sqrt((1 - ratio**self.eta) / jnp.maximum(1 - ratio, jnp.finfo(ratio.dtype).tiny))

    def back(self, problem: Problem, keys: Keys, x_t: Images, x_hat: Images, t: Times, s: Times) -> Images:
        """With this share of noise."""
        process = problem.process
        eta = self.share(process.snr(t, x_t) / process.snr(s, x_t)) if self.own_law else self.eta
        options = {} if self.noise_scale == 1 else {"noise_scale": self.noise_scale}
        return process.reverse(keys, x_t, x_hat, t, s, eta, **options)

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """Also what is of Gaussian noise alone."""
        yield from super().refusals(name, traits, causal)
        if traits.kind == "gaussian":
            if self.noise_scale != 1 and not self.noisy:
                yield Refusal("noise_scale", "there is no fresh noise to scale; set eta above 0, or leave it 1")
            return
        if self.eta > 1:
            yield Refusal("eta", f"{self.eta} is not in [0, 1]")
        if self.own_law:
            yield Refusal("noise_law", "it is of Gaussian noise; leave it ddim")
        if self.noise_scale != 1:
            yield Refusal("noise_scale", "it is of Gaussian noise; leave it 1")


@dataclass(frozen=True)
class FirstOrder(NoisyStep):
    """One draw of the posterior at (x_t, t), its mean where it is a point; at s = 0 what it ends a chain with.

    >>> FirstOrder(eta=1.0).evaluations(20)
    20

    With eta = 1 this is ancestral sampling (Ho et al. 2020, algorithm 2), with eta = 0 and a point DDIM (Song et al.
    2021a). Where sites are hidden, eta > 0 hides some again; where they are replaced eta is 1.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian", "ordered", "uniform")
    churns: ClassVar[bool] = True

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """A draw. No memory."""
        return _drawn(problem.posterior(x_t, t), keys, s), memory

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """A draw of q(x_s | x_t, x_hat), for which x_hat is drawn only where it is looked at.

        The x_hat that is returned is of all sites. Nobody takes it but a film, and what is not taken is not computed.
        """
        process, (keys_estimate, keys_reverse) = problem.process, random.split(keys)
        posterior = problem.posterior(x_t, t)
        where = process.uses(keys_reverse, x_t, t, s, self.eta)
        x_hat = _drawn(posterior, keys_estimate, s)
        used = x_hat if where is None else _drawn(posterior, keys_estimate, s, where=where)
        return self.back(problem, keys_reverse, x_t, used, t, s), x_hat, memory


@dataclass(frozen=True)
class DDIM(FirstOrder):
    """`FirstOrder` without fresh noise, by its own name (Song et al. 2021a). Give it a point, such as a mean.

    >>> DDIM().eta
    0.0
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    etas: ClassVar[tuple[float, float]] = (0, 0)
    eta: float = field(default=0.0, init=False)
    noise_law: str = field(default="ddim", init=False)
    noise_scale: float = field(default=1.0, init=False)


@dataclass(frozen=True)
class DDPM(FirstOrder):
    """`FirstOrder` with all the noise of the Markov process: ancestral sampling (Ho et al. 2020, algorithm 2).

    >>> DDPM().eta
    1.0
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    etas: ClassVar[tuple[float, float]] = (1, 1)
    eta: float = field(default=1.0, init=False)
    noise_law: str = field(default="ddim", init=False)


def _drawn(posterior: Any, keys: Keys, s: Times, **options: Wanted) -> Images:
    return jnp.where(jnp.asarray(s) > 0, posterior.sample(keys, **options), posterior.final(keys, **options))

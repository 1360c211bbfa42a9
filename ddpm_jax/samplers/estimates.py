"""Solvers that are an estimate of the clean image followed by the process's own reverse step.

An estimate may be one draw of the posterior, or a combination of several means. The step treats it as if it were x, a
draw of q(x_s | x_t, x_hat), so at s = 0 the estimate is the result. Only at the end is the estimate the denoiser's own.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers.posteriors import Wanted
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import Calls, Problem, StepSolver


@dataclass(frozen=True)
class ReverseStep(StepSolver):
    """`x_hat` by `estimate`, then the process's own reverse step.

    >>> issubclass(DPM2M, ReverseStep)
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

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """A draw of q(x_s | x_t, x_hat)."""
        keys_estimate, keys_reverse = random.split(keys)
        x_hat, memory = self.estimate(problem, keys_estimate, x_t, memory, t, s)
        return problem.process.reverse(keys_reverse, x_t, x_hat, t, s, self.eta), x_hat, memory


@dataclass(frozen=True)
class FirstOrder(ReverseStep):
    """One draw of the posterior at (x_t, t), its mean where it is a point; at s = 0 what it ends a chain with.

    >>> FirstOrder(eta=1.0).evaluations(20)
    20

    With eta = 1 this is ancestral sampling (Ho et al. 2020, algorithm 2), with eta = 0 and a point DDIM (Song et al.
    2021a). Where sites are hidden, eta > 0 hides some again.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian", "ordered")
    etas: ClassVar[tuple[int, int]] = (0, 1)
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
        return process.reverse(keys_reverse, x_t, used, t, s, self.eta), x_hat, memory


@dataclass(frozen=True)
class DDIM(FirstOrder):
    """`FirstOrder` without fresh noise, by its own name (Song et al. 2021a). Give it a point, such as a mean.

    >>> DDIM().eta
    0.0
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    etas: ClassVar[tuple[int, int]] = (0, 0)
    eta: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class DDPM(FirstOrder):
    """`FirstOrder` with all the noise of the Markov process: ancestral sampling (Ho et al. 2020, algorithm 2).

    >>> DDPM().eta
    1.0
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    etas: ClassVar[tuple[int, int]] = (1, 1)
    eta: float = field(default=1.0, init=False)


def _drawn(posterior: Any, keys: Keys, s: Times, **options: Wanted) -> Images:
    return jnp.where(jnp.asarray(s) > 0, posterior.sample(keys, **options), posterior.final(keys, **options))


@dataclass(frozen=True)
class Heun(ReverseStep):
    """The mean of the estimates at both ends of the step: the trapezoidal rule, second order.

    >>> Heun().evaluations(18)
    35

    The far end is reached by a DDIM step with the first estimate. Where the last step ends at s = 0 there is no second
    evaluation. In the variable alpha/sigma, where Karras et al. 2022 (algorithm 1) average dx/dsigma in sigma/alpha:
    an average of noise estimates would diverge where alpha(1) is tiny.
    """

    churns: ClassVar[bool] = True

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """The mean over both ends. No memory."""
        near = problem.posterior(x_t, t).mean

        def average() -> Images:
            x_s = problem.process.reverse(keys, x_t, near, t, s, 0.0)
            return (near + problem.posterior(x_s, s).mean) / 2

        return jax.lax.cond(jnp.asarray(s) > 0, average, lambda: near), memory

    def evaluations(self, steps: int) -> int:
        """Two a step, but one in the last."""
        return 2 * steps - 1

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """One at each end; at s = 0 none."""
        return ((1, t), (s > 0, s))


@dataclass(frozen=True)
class DPM2M(ReverseStep):
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): the line through the last two estimates, at mid-step.

    >>> DPM2M().evaluations(20)
    20

    With lambda = log(alpha/sigma), h = lambda_s - lambda_t and h' the step before, x_hat + h/(2 h') (x_hat - last).
    The deterministic step (eta = 0) makes it second order, with one evaluation a step; eta = 1 is their
    SDE-DPM-Solver++(2M). Plain on the first step and at s = 0, and on the second where alpha(1) = 0: h' is infinite,
    and the error h^2 log(1/h).
    """

    etas: ClassVar[tuple[int, int]] = (0, 1)

    def start(self, problem: Problem, x: Images) -> tuple[Images, Times]:
        """No estimate yet, and a time at which there is none."""
        return jnp.zeros_like(x), jnp.zeros((), x.dtype)

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """On the line. Memory: the last estimate and its time."""
        last, t_last = memory
        x_hat, process = problem.posterior(x_t, t).mean, problem.process
        now = process.log_snr(t, x_t)
        ratio = (process.log_snr(s, x_t) - now) / (now - process.log_snr(t_last, x_t))
        weight = jnp.where((s > 0) & (t_last > 0), ratio / 2, 0)
        return x_hat + weight * (x_hat - last), (x_hat, jnp.asarray(t, x_t.dtype))

"""The Gaussian process: x_t = alpha(t) x + sigma(t) z. DDPM, score SDEs and flow matching differ in the schedule."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax import schedules
from ddpm_jax.processes.process import Images, Keys, Times, Traits, expand, sum_sites
from ddpm_jax.schedules.grids import make_grid


@dataclass(frozen=True, eq=False)
class Gaussian:
    """x_t = alpha x + sigma z with z standard normal.

    >>> import jax.numpy as jnp
    >>> x = jnp.ones((1, 2))
    >>> Gaussian(schedules.Flow()).corrupt(x, jnp.zeros((1, 2)), 0.25).tolist()
    [[0.75, 0.75]]

    Attributes:
        schedule: `t -> (alpha, sigma)`; one that is trained, before its parameters, has `init` and `bind` in its place.
        values: `[levels]`, the values that a pixel can take, for the discrete decoder of the interval that ends at
            t = 0; None for data without levels, which has no such term.
        second: the time 2/T of the second step, whose variance the decoder then has (see `decoder_variance`); or 0.
    """

    schedule: schedules.Schedule | schedules.Trained
    values: np.ndarray | None = None
    second: float = 0.0
    kind: ClassVar[str] = "gaussian"

    def traits(self) -> Traits:
        """Of the schedule as it is before training."""
        schedule = self.start().known
        with jax.ensure_compile_time_eval():
            alpha, sigma = map(np.asarray, schedule(np.asarray([1, 0], np.float32)))
        continuous = getattr(schedule, "continuous", True)
        return Traits(self.kind, continuous, zero_terminal=float(alpha[0]) == 0, sigma_start=float(sigma[1]))

    @property
    def known(self) -> schedules.Schedule:
        """The schedule. Raises ValueError where it is trained and has no parameters yet."""
        if isinstance(self.schedule, schedules.Trained):
            raise ValueError("the schedule is trained, and its parameters are not bound: use process.bind(params)")
        return self.schedule

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Fresh parameters of the schedule; `{}` where it has none."""
        return self.schedule.init(key) if isinstance(self.schedule, schedules.Trained) else {}

    def bind(self, params: PyTree) -> "Gaussian":
        """With these parameters of the schedule."""
        return (
            replace(self, schedule=self.schedule.bind(params)) if isinstance(self.schedule, schedules.Trained) else self
        )

    def start(self) -> "Gaussian":
        """As it is before training."""
        return self.bind(self.init(jax.random.key(0)))

    def grid(
        self, steps: int, spacing: str = "", t_min: float | None = None, discrete: int = 0, rho: float = 7.0
    ) -> np.ndarray:
        """As `schedules.grids.make_grid`, of the schedule before training; even in log-SNR by default.

        With `discrete` each time is moved to the nearest i/T. Raises ValueError where there is no such grid.
        """
        schedule = self.start().known
        least = t_min or getattr(schedule, "t_min", 1e-3)
        grid = make_grid(schedule, steps, spacing or "log_snr", least, rho)
        return np.round(grid * discrete) / discrete if discrete else grid

    def at(self, t: Times, like: Images) -> tuple[Array, Array]:
        """(alpha, sigma), broadcastable to `like`. t = 0 is the clean image whatever the schedule's limit: (1, 0)."""
        t = expand(t, like)
        alpha, sigma = self.known(t)
        return jnp.where(t > 0, alpha, 1), jnp.where(t > 0, sigma, 0)

    def snr(self, t: Times, like: Images) -> Array:
        """alpha^2 / sigma^2; infinite at t = 0."""
        alpha, sigma = self.at(t, like)
        return jnp.square(alpha / sigma)

    def log_snr(self, t: Times, like: Images) -> Array:
        """2 log(alpha / sigma), lambda in the literature; for t > 0."""
        return schedules.log_snr(self.known, expand(t, like))

    def step_variance(self, t: Times, s: Times, like: Images) -> Array:
        """Of q(x_s | x_t, x), 0 < s < t: sigma_s^2 (1 - SNR(t)/SNR(s)), DDPM's beta tilde."""
        _, sigma = self.at(s, like)
        return jnp.square(sigma) * (1 - self.snr(t, like) / self.snr(s, like))

    def decoder_variance(self, t: Times, like: Images) -> Array:
        """Of x given x_t in the interval (0, t], where the posterior is a point.

        (sigma_t/alpha_t)^2 is that of x under a flat prior. DDPM's published code takes the variance of the second
        step, q(x_1/T | x_2/T, x), instead (Ho et al. 2020: `posterior_log_variance_clipped`): with its linear betas
        5.5e-5 for 1.0e-4, and a lower bound where the network's error there is small.
        """
        if self.second:
            second = jnp.asarray(self.second, like.dtype)
            return self.step_variance(second, second / 2, like)
        alpha, sigma = self.at(t, like)
        return jnp.square(sigma / alpha)

    def rates(self, t: Times, like: Images) -> tuple[Array, Array]:
        """(alpha', sigma'), the derivatives in t, for t > 0. Raises ValueError for a schedule without derivatives."""
        return schedules.rates(self.known, expand(t, like))

    @property
    def continuous(self) -> bool:
        """Whether the schedule has derivatives in t."""
        return getattr(self.schedule, "continuous", True)

    def drift_diffusion(self, t: Times, like: Images) -> tuple[Array, Array]:
        """(f, g^2) of the forward equation dx = f x dt + g dw, for t > 0. Infinite where alpha = 0."""
        return schedules.drift_diffusion(self.known, expand(t, like))

    def score(self, x_t: Images, x: Images, t: Times) -> Images:
        """The gradient of log q(x_t) in x_t, where x = E[x | x_t]: (alpha x - x_t) / sigma^2 (Tweedie's formula)."""
        alpha, sigma = self.at(t, x_t)
        return (alpha * x - x_t) / jnp.square(sigma)

    def velocity(self, x_t: Images, x: Images, t: Times) -> Images:
        """dx_t/dt along the probability flow, where x = E[x | x_t]: alpha' x + sigma' (x_t - alpha x) / sigma.

        It equals f x_t - g^2 score / 2 (Song et al. 2021b, eq. 13), and is finite where alpha = 0 as well.
        """
        alpha, sigma = self.at(t, x_t)
        alpha_rate, sigma_rate = self.rates(t, x_t)
        return alpha_rate * x + sigma_rate * (x_t - alpha * x) / sigma

    def noise(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """z ~ N(0, I)."""
        return random.normal(keys, shape, dtype)

    def corrupt(self, x: Images, z: Images, t: Times) -> Images:
        """alpha x + sigma z."""
        alpha, sigma = self.at(t, x)
        return alpha * x + sigma * z

    def prior(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """N(0, sigma(1)^2), which is not the standard normal for every schedule."""
        z = random.normal(keys, shape, dtype)
        return self.at(jnp.ones((), z.dtype), z)[1] * z

    def reverse(
        self,
        keys: Keys,
        x_t: Images,
        x: Images,
        t: Times,
        s: Times,
        eta: Float[Array, "..."] | float,
        noise_scale: float = 1.0,
    ) -> Images:
        """x_s = alpha_s x + sigma_s (sqrt(1 - rho^2) z + rho noise), z = (x_t - alpha_t x) / sigma_t.

        rho^2 = eta^2 (1 - SNR(t) / SNR(s)), at most 1. eta = 1 is the posterior of the Markov process (Ho et al. 2020,
        eq. 7), eta = 0 is DDIM (Song et al. 2021a, eq. 12). With `noise_scale` the noise is multiplied.
        """
        alpha_t, sigma_t = self.at(t, x)
        alpha_s, sigma_s = self.at(s, x)
        z = (x_t - alpha_t * x) / sigma_t
        ratio = jnp.square(alpha_t * sigma_s / (sigma_t * alpha_s))  # SNR(t) / SNR(s)
        if isinstance(eta, float | int) and eta == 0:
            return alpha_s * x + sigma_s * z
        noise = (
            noise_scale
            * jnp.minimum(eta * jnp.sqrt(jnp.maximum(1 - ratio, 0)), 1)
            * random.normal(keys, x.shape, x.dtype)
        )
        # 1 - rho^2 in a form that does not cancel where the ratio is tiny.
        return alpha_s * x + sigma_s * (jnp.sqrt(jnp.maximum(1 - eta**2 + eta**2 * ratio, 0)) * z + noise)

    def uses(self, keys: Keys, x_t: Images, t: Times, s: Times, eta: float) -> None:
        """All values of x."""

    def forward(self, keys: Keys, x_s: Images, s: Times, t: Times) -> Images:
        """x_t = a x_s + sqrt(sigma_t^2 - a^2 sigma_s^2) noise with a = alpha_t / alpha_s."""
        alpha_t, sigma_t = self.at(t, x_s)
        alpha_s, sigma_s = self.at(s, x_s)
        ratio = alpha_t / alpha_s
        variance = jnp.maximum(jnp.square(sigma_t) - jnp.square(ratio * sigma_s), 0)
        return ratio * x_s + jnp.sqrt(variance) * random.normal(keys, x_s.shape, x_s.dtype)

    def elbo(self, posterior: Any, x: Images, z: Images, t: Times, s: Times) -> Float[Array, " batch"]:
        """The interval's term of the variational bound, in nats.

        For s > 0 it is KL(q(x_s | x_t, x) || p(x_s | x_t)), where p draws x from the posterior N(x_hat, v) and takes
        the ancestral step. With d = SNR(s) - SNR(t) both are normal and

            KL = 1/2 sum [ log(1 + d v) - d v / (1 + d v) + d (x - x_hat)^2 / (1 + d v) ],

        for a point (v = 0) d/2 |x - x_hat|^2 (Kingma et al. 2021, eq. 13); for v = sigma_t^2 DDPM's fixed-large
        variance. For s = t it is the density in t, -SNR'(t)/2 |x - x_hat|^2 (their eq. 15). For s = 0 it is the
        decoder: -log of the posterior's mass in the bin of x. A point has the variance `decoder_variance` there.
        """
        t, s = expand(t, x), expand(s, x)
        error = posterior.squared_error(x, z)
        variance = 0.0 if posterior.variance is None else posterior.variance
        alpha_t, sigma_t = self.at(t, x)
        alpha_s, sigma_s = self.at(jnp.where(s > 0, s, t), x)
        ratio = jnp.square(alpha_t * sigma_s / (sigma_t * alpha_s))
        gain = jnp.square(alpha_s / sigma_s) * (1 - ratio)
        spread = gain * variance
        interval = 0.5 * (jnp.log1p(spread) - spread / (1 + spread) + gain * error / (1 + spread))
        density = -0.5 * self._snr_rate(t, x) * error if self.continuous else jnp.nan
        term = jnp.where(s < t, interval, density)
        if self.values is not None:
            decoder = posterior.discretise(jnp.asarray(self.values, x.dtype), self.decoder_variance(t, x))
            term = jnp.where(s > 0, term, decoder.loss(x))
        else:
            term = jnp.where(s > 0, term, 0.0)
        return sum_sites(term)

    def _snr_rate(self, t: Array, like: Images) -> Array:
        """SNR'(t) = 2 (alpha / sigma) (alpha / sigma)'."""
        alpha, sigma = self.at(t, like)
        alpha_rate, sigma_rate = self.rates(t, like)
        return 2 * alpha / sigma * (alpha_rate / sigma - alpha * sigma_rate / jnp.square(sigma))

    def prior_loss(self, x: Images) -> Float[Array, " batch"]:
        """alpha(1)^2 |x|^2 / (2 sigma(1)^2): the prior has the variance of q(x_1 | x), so only the means differ."""
        return sum_sites(0.5 * self.snr(jnp.ones((), x.dtype), x) * jnp.square(x))

    def film(self, denoise: Any, film: PyTree, t: Times, s: Times, condition: PyTree) -> PyTree:
        """As they are."""
        return film

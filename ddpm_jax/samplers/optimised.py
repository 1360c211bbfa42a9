"""Times chosen for a denoiser: those whose first-order steps stray least from what exact steps would do.

From t down to s < t the exact path goes by the denoiser's D(x_u, u) at every u between; a first-order step holds
D(x_t, t) instead. Both measures of what that does are integrals of E |D(x_u, u) - D(x_t, t)|^2 over the step, with
(x_u, x_t) on a path of the forward process from an image:

- `divergence`: 1/2 int ... dSNR. By Girsanov's theorem the sum over steps with fresh noise (eta = 1) is the
  Kullback-Leibler divergence of the two laws of a path, which bounds that of their ends (Sabour et al. 2024, Align Your
  Steps, who have alpha = 1 and sigma = t: there dSNR/2 is dt/t^3). Fine detail counts as much as coarse.
- `distance`: (rho_s - rho_t)/rho_s^2 int ... drho with rho = alpha/sigma. A step without fresh noise is
  x_s/sigma_s = x_t/sigma_t + int D drho, so by Cauchy and Schwarz this bounds the mean square of what it misses of
  x_s/alpha_s, in the units of an image.

Sabour et al. lower their sum by trial over the times; on a fine grid of candidates the best times are a shortest path,
which is found exactly here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax.denoisers import Denoiser
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.processes.process import Images
from ddpm_jax.schedules.grids import make_grid

MEASURES = ("distance", "divergence")
"""What is made small: see above."""


def step_errors(
    process: Gaussian,
    denoise: Denoiser,
    x: Images,
    times: Float[np.ndarray, " K"],
    key: Key[Array, ""],
    condition: PyTree = None,
    measure: str = "distance",
) -> Float[np.ndarray, "K K"]:
    """The error of a step from `times[i]` down to `times[j]`; infinite where that is no step, j <= i.

    A squared distance, or nats. The mean over images, each with one path of noise; its integral by the trapezoidal rule
    over the times between. It takes K evaluations an image.

    Args:
        process: with its parameters bound.
        denoise: the denoiser, plain: guidance changes what is drawn, and the sum bounds nothing then.
        x: images, `[batch, *site]`.
        times: falling, all above 0.
        key: of the noise.
        condition: what the denoiser is told of each image.
        measure: one of `MEASURES`.

    Raises:
        ValueError: there is no such measure.
    """
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose from {', '.join(MEASURES)}")
    means = np.asarray(_means(process, denoise, x, jnp.asarray(times, x.dtype), key, condition))
    flat = means.reshape(len(times), -1).astype(np.float64)
    products = flat @ flat.T
    squares = np.diag(products)
    apart = np.maximum(squares[:, None] + squares - 2 * products, 0) / len(x)
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(part) for part in process.known(np.asarray(times, np.float64)))
    ratio = alpha / sigma
    along = np.square(ratio) / 2 if measure == "divergence" else ratio
    cells = np.diff(along) * (apart[:, :-1] + apart[:, 1:]) / 2
    number = np.arange(len(times))
    inside = np.where(number[:-1] >= number[:, None], cells, 0)
    errors = np.concatenate([np.zeros((len(times), 1)), np.cumsum(inside, axis=1)], axis=1)
    later = number > number[:, None]
    if measure == "distance":
        errors = errors * (ratio - ratio[:, None]) / np.square(np.where(ratio > 0, ratio, 1))
    return np.where(later, errors, np.inf)


def _means(
    process: Gaussian, denoise: Denoiser, x: Images, times: Array, key: Array, condition: PyTree
) -> Float[Array, "K batch *site"]:
    """E[x | x_t] at each of the times, along one path of the forward process for each image."""

    def forward(state: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (x_s, s), (t, key) = state, now
        x_t = process.forward(key, x_s, s, t)
        return (x_t, t), denoise(x_t, t, condition).mean

    start = x, jnp.zeros((), x.dtype)
    return jax.lax.scan(forward, start, (times, jax.random.split(key, len(times))), reverse=True)[1]


def shortest(errors: Float[np.ndarray, "K K"], steps: int) -> list[int]:
    """The indices 0 = i_0 < ... < i_steps = K - 1 whose sum of `errors[i_n, i_n+1]` is least.

    By dynamic programming: the best way to j in n steps goes by the best way to some i < j in n - 1. Raises ValueError
    where there are not so many indices.
    """
    count = len(errors)
    if not 1 <= steps < count:
        raise ValueError(f"{steps} steps do not fit {count} times")
    best, came = errors[0], []
    for _ in range(steps - 1):
        through = best[:, None] + errors
        came.append(through.argmin(axis=0))
        best = through.min(axis=0)
    path = [count - 1]
    for earlier in reversed(came):
        path.append(int(earlier[path[-1]]))
    return [0, *reversed(path)]


def optimised_grid(
    process: Process,
    denoise: Denoiser,
    x: Images,
    key: Key[Array, ""],
    steps: int,
    condition: PyTree = None,
    t_min: float | None = None,
    candidates: int = 100,
    discrete: int = 0,
    measure: str = "distance",
) -> Float[np.ndarray, " points"]:
    """A time grid of `steps` intervals, `[steps + 1]` from 1 to 0, that is best for this denoiser on such images.

    It is found for first-order steps; for another solver another grid may be better. The last time above 0 is t_min
    whatever its error, for the last step is the estimate there.

    >>> from ddpm_jax.oracles import GaussianMixture
    >>> from ddpm_jax.schedules import VP
    >>> process, one = Gaussian(VP()), jnp.ones(1)
    >>> law = GaussianMixture(one, jnp.zeros((1, 2)), jnp.eye(2)[None])
    >>> x = law.sample(jax.random.key(0), 16)
    >>> optimised_grid(process, law.denoiser(process), x, jax.random.key(1), 5).shape
    (6,)

    Args:
        process: with its parameters bound.
        denoise: the denoiser, plain: see `step_errors`.
        x: some images, `[batch, *site]`.
        key: of the noise.
        steps: N.
        condition: what the denoiser is told of each image.
        t_min: the least time above 0; the schedule's own by default.
        candidates: how many times to choose from, even in log-SNR; each is an evaluation an image.
        discrete: T, where the network knows the times i/T alone.
        measure: one of `MEASURES`: `distance`, or `divergence`, which has many times near 0.

    Raises:
        ValueError: the process hides sites, there are not so many times, or no such measure; in one line.
    """
    if not isinstance(process, Gaussian):
        raise ValueError("times are chosen for processes of noise, which have log-SNRs")
    if steps == 1:
        return np.array([1.0, 0.0])
    schedule = process.known
    total = discrete or getattr(schedule, "steps", 0)
    least = t_min or getattr(schedule, "t_min", 1e-3)
    most = min(candidates, total - max(round(least * total), 1) + 1) if total else candidates
    times = make_grid(schedule, most, "log_snr", least)[:-1]
    times = np.unique(np.round(times * total) / total)[::-1] if total else times
    errors = step_errors(process, denoise, x, times, key, condition, measure)
    return np.append(times[shortest(errors, steps - 1)], 0.0)

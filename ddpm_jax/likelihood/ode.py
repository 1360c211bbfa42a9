"""The log-likelihood of a Gaussian process's model, by the probability-flow ODE and the change of variables."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoiser
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images

Divergence = Literal["exact", "hutchinson"]


def exact_divergence(field: Callable[[Array], Array], x: Array, probe: Array) -> tuple[Array, Float[Array, ""]]:
    """`field(x)` and the trace of its Jacobian at x, `[*site]`: D forward derivatives. The probe is not used."""

    def along(direction: Array) -> tuple[Array, Array]:
        value, slope = jax.jvp(field, (x,), (direction.reshape(x.shape),))
        return value, jnp.sum(slope * direction.reshape(x.shape))

    values, diagonal = jax.vmap(along, out_axes=(None, 0))(jnp.eye(x.size, dtype=x.dtype))
    return values, diagonal.sum()


def hutchinson_divergence(field: Callable[[Array], Array], x: Array, probe: Array) -> tuple[Array, Float[Array, ""]]:
    """`field(x)` and probe^T J probe, whose mean is the trace of J for probes of independent signs."""
    value, slope = jax.jvp(field, (x,), (probe,))
    return value, jnp.sum(slope * probe)


DIVERGENCES = {"exact": exact_divergence, "hutchinson": hutchinson_divergence}


def ode(
    process: Gaussian,
    denoise: Denoiser,
    keys: Key[Array, " batch"],
    x: Images,
    condition: PyTree = None,
    *,
    t_min: float = 1e-3,
    divergence: Divergence = "hutchinson",
    draws: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
    """-log p(x) of each image in nats, and how often the denoiser was evaluated for it: `[batch]` both.

    The flow dx/dt = `process.velocity(x, x_hat(x, t), t)` carries the model's density at t_min to the prior
    N(0, sigma(1)^2) at t = 1 (Song et al. 2021b, section 4.3 and eq. 39):

        log p(x) = log prior(x_1) + integral from t_min to 1 of the divergence of the velocity along the path.

    As there, the image is put in as x at t_min unscaled, so p is the model's density at t_min: of alpha x + sigma z
    with the schedule's small sigma(t_min), not of x itself.

    Discrete pixels have no density. Where the process knows their `values`, w apart, u uniform in [-w/2, w/2) is added
    to every one (Theis et al. 2016, section 3.1), and the result is the mean over `draws` of -log p(x + u) - D log w.
    In expectation it is at or above -log of the probability that p gives to the bin of x. It also depends on how p,
    trained on the bins' centres, spreads over them: a figure of kind `ode` is not to be ranked among bounds of a
    discrete decoder. Where there are no values the result is -log p(x).

    Tsit5 with a PID controller (diffrax), each image with steps of its own: its result does not depend on its batch.
    Both x and the log-density per dimension are held to the tolerances. Draws are taken one after another.

    Args:
        process: of a schedule with derivatives; its `values` say whether pixels are discrete.
        denoise: without dropout, clipping or guidance. It is called with one image at a time, under `vmap`.
        keys: `[batch]`.
        x: `[batch, *site]`.
        condition: a pytree of arrays `[batch, ...]`, or None.
        t_min: where the data are, in (0, 1).
        divergence: `exact` costs D derivatives of the denoiser in every evaluation; `hutchinson` one, along a vector
            of random signs that is fixed along the path (Grathwohl et al. 2019): unbiased, with a variance that shows
            in the standard error.
        draws: K, draws of u and of the probe for one image.
        rtol: relative tolerance of the solver. Below about 1e-6 float32 has nothing left to gain.
        atol: absolute tolerance.
        max_steps: of the solver; an image that needs more has the result NaN.

    Raises:
        ValueError: the schedule is a table, which has no derivative in t.
    """
    import diffrax

    if not process.continuous:
        raise ValueError("a table schedule has no probability-flow ODE: choose one that is continuous in t")
    trace, start, end = DIVERGENCES[divergence], jnp.asarray(t_min, x.dtype), jnp.ones((), x.dtype)
    dimensions = math.prod(x.shape[1:])
    width = 1.0 if process.values is None else float(process.values[1] - process.values[0])

    def norm(state: tuple[Array, Array]) -> Array:
        """The worse of the two: among thousands of pixels a mean would not feel the log-density."""
        return jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(state[0]))), jnp.abs(state[1]))

    def rate(t: Any, state: tuple[Array, Array], args: tuple[Any, Array]) -> tuple[Array, Array]:
        """Of x, and of the divergence gathered so far, per dimension."""
        condition, probe = args

        def field(x_t: Array) -> Array:
            x_hat = denoise(x_t[None], t[None], condition).mean
            return process.velocity(x_t[None], x_hat, t[None])[0]

        velocity, spread = trace(field, state[0], probe)
        return velocity, spread / dimensions

    def one(key: Array, x: Array, condition: PyTree) -> tuple[Array, Array]:
        key_shift, key_probe = jax.random.split(key)
        shift = width * (jax.random.uniform(key_shift, x.shape, x.dtype) - 0.5)
        start_at = x if process.values is None else x + shift
        probe = jax.random.rademacher(key_probe, x.shape, x.dtype)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rate),
            diffrax.Tsit5(),
            start,
            end,
            0.01,
            (start_at, jnp.zeros((), x.dtype)),
            (jax.tree.map(lambda leaf: leaf[None], condition), probe),
            stepsize_controller=diffrax.PIDController(rtol, atol, norm=norm),
            max_steps=max_steps,
            throw=False,
        )
        x_1, gathered = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        sigma = process.at(end, x_1)[1]
        log_prior = -0.5 * jnp.sum(jnp.square(x_1 / sigma)) - dimensions * (jnp.log(sigma) + math.log(2 * math.pi) / 2)
        log_density = log_prior + dimensions * gathered
        done = solution.result == diffrax.RESULTS.successful
        # Six a step, for the last stage of a step is the first of the next.
        return jnp.where(done, -log_density, jnp.nan), 6 * solution.stats["num_steps"] + 1

    def draw(keys: Array) -> tuple[Array, Array]:
        return jax.vmap(one)(keys, x, condition)

    nats, evaluations = jax.lax.map(draw, random.split(keys, draws))
    return nats.mean(axis=0) - dimensions * math.log(width), evaluations.sum(axis=0)

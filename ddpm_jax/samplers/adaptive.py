"""The probability flow by an adaptive Runge-Kutta method: as many network evaluations as the tolerance takes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ddpm_jax.denoisers import Denoise
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images
from ddpm_jax.samplers.loop import Film

AXIS = "example"
MAX_STEPS = 4096


def tsit5(
    process: Gaussian,
    denoise: Denoise,
    condition: Any,
    grid: np.ndarray,
    x: Images,
    frames: tuple[int, ...] = (),
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> tuple[Images, Film, Int[Array, " batch"]]:
    """Solve dx/dt = velocity from t = 1 to t_min with Tsitouras' 5(4) pair, then take x_hat there.

    Each example has steps of its own, so image i depends on its own start alone. All wait for the slowest: the
    network is called on the whole batch until the last example is done. Song et al. 2021b solve the same equation with
    RK45 at tolerances of 1e-5.

    Args:
        process: a Gaussian one whose schedule has derivatives.
        denoise: whose mean gives the velocity.
        condition: what the denoiser is told.
        grid: `[N + 1]`; only its first time, the last before 0, and those of the frames are used.
        x: `[batch, *site]`, a draw of the prior.
        frames: the steps of the grid at whose start to return x_t, interpolated, and x_hat. Extra network evaluations,
            not counted.
        rtol: relative tolerance of a step, in the root mean square over an example.
        atol: absolute tolerance, in units of x_t.

    Returns:
        x at time 0, the frames, and the evaluations that each example needed. An example that needs more than
        MAX_STEPS steps is NaN.
    """
    import diffrax  # late: it takes a second

    times = jnp.asarray(grid, x.dtype)
    order = sorted(set(frames))
    save = [diffrax.SubSaveAt(t1=True)]
    if order:
        save.append(diffrax.SubSaveAt(ts=times[jnp.asarray(order)]))

    def velocity(t: Any, x_t: Any, args: Any) -> Array:
        # One example of many under vmap: gather them for the denoiser, whose condition is the whole batch's.
        everyone, at = jax.lax.all_gather((x_t, t), AXIS)
        return process.velocity(everyone, denoise(everyone, at, condition).mean, at)[jax.lax.axis_index(AXIS)]

    def solve(x: Array) -> tuple[Array, Array, Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=times[0],
            t1=times[-2],
            dt0=(times[-2] - times[0]) / 100,
            y0=x,
            saveat=diffrax.SaveAt(subs=save),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            adjoint=diffrax.ForwardMode(),
            max_steps=MAX_STEPS,
            throw=False,
        )
        assert solution.ys is not None and solution.stats is not None
        done = solution.result == diffrax.RESULTS.successful
        return solution.ys[0][0], solution.ys[-1], solution.stats["num_steps"], done

    x_end, states, steps, done = jax.vmap(solve, axis_name=AXIS)(x)
    end = jnp.where(done.reshape(-1, *[1] * (x.ndim - 1)), denoise(x_end, times[-2], condition).mean, jnp.nan)
    # The velocity at t = 1, six more in each step, tried or taken, whose last serves the next, and x_hat.
    evaluations = (steps > 0) + 6 * steps + 1
    if not frames:
        empty = jnp.zeros((0, *x.shape), x.dtype)
        return end, (empty, empty), evaluations
    slots = jnp.asarray([order.index(frame) for frame in frames])
    states = jnp.moveaxis(states, 1, 0)[slots]
    at = times[jnp.asarray(frames)]
    return end, (states, jax.lax.map(lambda pair: denoise(pair[0], pair[1], condition).mean, (states, at))), evaluations

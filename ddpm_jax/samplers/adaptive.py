"""The probability flow by an adaptive Runge-Kutta method: as many network evaluations as the tolerance takes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddpm_jax.denoisers import cost
from ddpm_jax.processes.process import Images, Keys
from ddpm_jax.samplers.solver import After, Film, Problem, Solver

AXIS = "example"
MAX_STEPS = 4096


@dataclass(frozen=True)
class Tsit5(Solver):
    """Solve dx/dt = velocity from t = 1 to t_min with Tsitouras' 5(4) pair, then take x_hat there.

    >>> Tsit5(rtol=1e-4).evaluations(20) is None  # it depends on the image
    True

    Each example has steps of its own, so image i depends on its own start alone. All wait for the slowest: the
    network is called on the whole batch until the last example is done. Song et al. 2021b solve the same equation with
    RK45 at tolerances of 1e-5. Of the grid only the first time, the last before 0, and those of the frames are used.

    Attributes:
        rtol: relative tolerance of a step, in the root mean square over an example.
        atol: absolute tolerance, in units of x_t.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    derivatives: ClassVar[bool] = True

    def evaluations(self, steps: int) -> int | None:
        """It depends on the example."""
        return None

    def solve(
        self,
        problem: Problem,
        keys: Keys,
        x: Images,
        frames: tuple[int, ...] = (),
        after: After | None = None,
    ) -> tuple[Images, Film, Int[Array, " batch"]]:
        """See `Solver`. An example that needs more than MAX_STEPS steps is NaN.

        The frames' x_t are interpolated, and their x_hat take further network evaluations, not counted.

        Raises:
            ValueError: there is an `after`, but there are no steps of a grid.
        """
        if after is not None:
            raise ValueError("an adaptive solver has no steps of a grid, after which to do something")
        return _solved(self, problem, x, frames)


def _solved(
    solver: Tsit5, problem: Problem, x: Images, frames: tuple[int, ...]
) -> tuple[Images, Film, Int[Array, " batch"]]:
    import diffrax  # late: it takes a second

    process, times = problem.process, jnp.asarray(problem.grid, x.dtype)
    order = sorted(set(frames))
    save = [diffrax.SubSaveAt(t1=True)]
    if order:
        save.append(diffrax.SubSaveAt(ts=times[jnp.asarray(order)]))

    def velocity(t: Any, x_t: Any, args: Any) -> Array:
        # One example of many under vmap: gather them for the denoiser, whose condition is the whole batch's.
        everyone, at = jax.lax.all_gather((x_t, t), AXIS)
        return process.velocity(everyone, problem.posterior(everyone, at).mean, at)[jax.lax.axis_index(AXIS)]

    def solve(x: Array) -> tuple[Array, Array, Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=times[0],
            t1=times[-2],
            dt0=(times[-2] - times[0]) / 100,
            y0=x,
            saveat=diffrax.SaveAt(subs=save),
            stepsize_controller=diffrax.PIDController(rtol=solver.rtol, atol=solver.atol),
            adjoint=diffrax.ForwardMode(),
            max_steps=MAX_STEPS,
            throw=False,
        )
        assert solution.ys is not None and solution.stats is not None
        done = solution.result == diffrax.RESULTS.successful
        return solution.ys[0][0], solution.ys[-1], solution.stats["num_steps"], done

    x_end, states, steps, done = jax.vmap(solve, axis_name=AXIS)(x)
    end = jnp.where(done.reshape(-1, *[1] * (x.ndim - 1)), problem.posterior(x_end, times[-2]).mean, jnp.nan)
    # The velocity at t = 1, six more in each step, tried or taken, whose last serves the next, and x_hat.
    # Inside the solver each example has its own time.
    evaluations = cost(problem.denoise) * ((steps > 0) + 6 * steps) + cost(problem.denoise, times[-2])
    if not frames:
        empty = jnp.zeros((0, *x.shape), x.dtype)
        return end, (empty, empty), evaluations
    slots = jnp.asarray([order.index(frame) for frame in frames])
    states = jnp.moveaxis(states, 1, 0)[slots]
    at = times[jnp.asarray(frames)]
    return end, (states, jax.lax.map(lambda pair: problem.posterior(pair[0], pair[1]).mean, (states, at))), evaluations

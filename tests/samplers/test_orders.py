"""How errors fall with the step: orders of the deterministic samplers, biases of those that add noise. In float64."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import (
    DEIS,
    DPM2M,
    DPM2S,
    DPM3M,
    PNDM,
    AdamsBashforth,
    AnnealedLangevin,
    Euler,
    FirstOrder,
    Heun,
    PredictorCorrector,
    Problem,
    ReverseDiffusion,
    UniPC,
)
from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow

END = 0.1  # where sigma(0) = 0, an even grid down to 0 would lose the order


STEPS = {
    "euler": (1, Euler()),
    "ddim": (1, FirstOrder()),
    "heun": (2, Heun()),
    "dpm_2s": (2, DPM2S()),
    "dpm_2m": (2, DPM2M()),
    "dpm_3m": (3, DPM3M()),
    "unipc of order 1": (2, UniPC(solver_order=1)),
    "unipc of order 2": (3, UniPC(solver_order=2)),
    "adams_bashforth of order 1": (1, AdamsBashforth(solver_order=1)),
    "adams_bashforth of order 2": (2, AdamsBashforth(solver_order=2)),
    "adams_bashforth of order 3": (3, AdamsBashforth(solver_order=3)),
}
RATIOS = {
    "heun in sigma/alpha": (2, Heun(coordinate="noise_ratio")),
    "deis": (3, DEIS()),
    "pndm": (2, PNDM()),  # its weights are those of even steps, which these are not in sigma/alpha
}


@pytest.mark.parametrize("schedule", [Cosine(), VE(0.02, 50.0)], ids=["cosine", "ve"])
def test_orders_of_convergence(mixture, schedule):
    """The map from noise to x at t = 0.1, against an adaptive solver of eighth order.

    From alpha = 0, where the log-SNR is infinite, a logarithm of the step goes with the second order of 2M, and all who
    remember are held to the second order by their first step.
    """
    counts = np.array([80, 160, 320])
    with jax.enable_x64(True):
        process = Gaussian(schedule)
        denoise = mixture.mean(process)
        start = process.prior(jax.random.key(1), (8, 2), jnp.float64)
        exact = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, _: process.velocity(x, denoise(x, t, None).mean, t)),
            diffrax.Dopri8(),
            1.0,
            END,
            -1e-3,
            start,
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
            adjoint=diffrax.ForwardMode(),
            max_steps=100_000,
        ).ys[0]

        problem = Problem(process, denoise)

        def end(solver, count):
            def body(i, carry):
                x, memory = carry
                t, s = 1 - (1 - END) * i / count, 1 - (1 - END) * (i + 1) / count
                x, _, memory = solver.step(problem, jax.random.key(0), x, memory, t, s)
                return x, memory

            return jax.lax.fori_loop(0, count, body, (start, solver.start(problem, start)))[0]

        pure = isinstance(schedule, Cosine)
        for name, (order, solver) in (STEPS if pure else STEPS | RATIOS).items():
            walk = jax.jit(lambda count, solver=solver: end(solver, count))
            errors = [float(jnp.abs(walk(count) - exact).mean()) for count in counts]
            slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
            least, slack = (min(order, 2), 0.25) if pure else (order, 0.2)
            assert slope == pytest.approx(least, abs=slack), (name, errors)


@pytest.mark.parametrize("solver", [UniPC(solver_order=3), AdamsBashforth(solver_order=4)], ids=str)
def test_fourth_order_once_there_are_enough_values(mixture, solver):
    """From a start at which a step is exact, here where there is only noise, lower orders in it show the least."""
    counts = np.array([160, 320, 640])
    with jax.enable_x64(True):
        process = Gaussian(VE(0.02, 50.0))
        problem = Problem(process, mixture.mean(process))
        start = process.prior(jax.random.key(1), (4, 2), jnp.float64)

        @jax.jit
        def end(count):
            def body(i, carry):
                t, s = 1 - (1 - END) * i / count, 1 - (1 - END) * (i + 1) / count
                x, _, memory = solver.step(problem, jax.random.key(0), *carry, t, s)
                return x, memory

            return jax.lax.fori_loop(0, count, body, (start, solver.start(problem, start)))[0]

        exact = end(10_000)
        errors = [float(jnp.abs(end(count) - exact).mean()) for count in counts]
    assert -np.polyfit(np.log(counts), np.log(errors), 1)[0] > 3.7, errors


MEAN, VARIANCE = 0.4, 0.3


def normal_data(process):
    """The exact posterior mean of data N(MEAN, VARIANCE)."""

    def denoise(x_t, t, condition=None):
        alpha, sigma = process.at(t, x_t)
        gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
        return Normal(MEAN + gain * (x_t - alpha * MEAN))

    return denoise


def law(process, t):
    """Mean and variance of x_t."""
    alpha, sigma = process.at(jnp.asarray(t, float), jnp.zeros((1, 1)))
    return alpha * MEAN, alpha**2 * VARIANCE + sigma**2


def moved(solver, problem, moments, t, s):
    """Mean and variance after a step, exactly: with normal data it is affine in x and in its one draw of noise."""
    probes, draws = jnp.array([[0.0], [1.0], [0.0]]), jnp.array([[0.0], [0.0], [1.0]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", lambda keys, shape, dtype=None: draws)
        shift, with_x, with_noise = solver.step(problem, jax.random.key(0), probes, None, t, s)[0][:, 0]
    mean, variance = moments
    return shift + (with_x - shift) * mean, (with_x - shift) ** 2 * variance + (with_noise - shift) ** 2


NOISY = {
    "euler_maruyama": Euler(1.0),
    "euler, eta 0.5": Euler(0.5),
    "reverse_diffusion": ReverseDiffusion(),
}


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("schedule", [VP(), VE(0.02, 50.0)], ids=["vp", "ve"])
def test_biases_fall_in_proportion_to_the_step(schedule, name):
    """Weak order 1: twice the steps, half the error of mean and variance; 1% of the law's scale at 4000 steps."""
    with jax.enable_x64(True):
        process = Gaussian(schedule)
        problem = Problem(process, normal_data(process))

        @jax.jit
        def end(count):
            def body(i, moments):
                t, s = 1 - (1 - END) * i / count, 1 - (1 - END) * (i + 1) / count
                return moved(NOISY[name], problem, moments, t, s)

            return jnp.stack(jax.lax.fori_loop(0, count, body, law(process, 1.0)))

        mean, variance = law(process, END)
        coarse, fine = (np.abs((end(count) - jnp.array([mean, variance])) / variance) for count in (4000, 8000))
    assert np.all(coarse < 0.01)
    ratio = coarse[coarse > 1e-6] / fine[coarse > 1e-6]
    assert len(ratio)
    np.testing.assert_allclose(ratio, 2, atol=0.2)


def test_annealed_langevin_is_biased_by_its_step_size_alone():
    """It finds the law at each level, from the wrong one, with a variance too large by a quarter of the step size."""
    levels = np.linspace(1.0, 0.6, 5)
    with jax.enable_x64(True):
        process = Gaussian(VE(0.02, 5.0))
        problem = Problem(process, normal_data(process), grid=np.append(levels, 0))
        _, sigma = process.schedule(jnp.float64(levels[-1]))

        @partial(jax.jit, static_argnums=0)
        def end(size, count):
            solver = AnnealedLangevin(size * float(sigma) ** 2, corrector_steps=1, end=False)
            moments = jnp.float64(3.0), jnp.float64(9.0)
            for t in levels:
                moments = jax.lax.fori_loop(
                    0, count, lambda _, both, t=t: moved(solver, problem, both, jnp.float64(t), jnp.float64(t)), moments
                )
            return jnp.stack(moments)

        mean, variance = law(process, levels[-1])
        share = float(sigma**2 / variance)
        biases = []
        for size, count in ((0.4, 300), (0.2, 600)):
            found = end(size, count)
            np.testing.assert_allclose(found[0], mean, rtol=1e-3)
            biases.append(float(found[1] / variance - 1))
            assert biases[-1] == pytest.approx(size / 4 * share, rel=0.15)
    assert biases[0] / biases[1] == pytest.approx(2, abs=0.2)


@pytest.mark.slow
def test_the_corrector_is_biased_by_its_ratio_squared_alone():
    """On an image of many sites its norms are steady: wherever it starts, it comes to 1 + snr^2 times the variance."""
    process = Gaussian(VP())
    t = jnp.float32(0.4)
    mean, variance = law(process, t)
    noise = jax.random.normal(jax.random.key(0), (1, 40_000))
    for snr in (0.5, 0.25):
        correct = jax.jit(partial(PredictorCorrector(snr, 400).correct, Problem(process, normal_data(process))))
        found = correct(jax.random.key(1), mean + 1.5 * np.sqrt(variance) * noise, t)
        assert float(jnp.var(found) / variance) == pytest.approx(1 + snr**2, abs=0.03)
        assert float(found.mean()) == pytest.approx(float(mean), abs=0.02)


def test_the_corrector_mends_the_predictor():
    """Halfway down a coarse grid the law is several times nearer the true one with a corrector than without."""
    process = Gaussian(VE(0.02, 50.0))
    problem = Problem(process, normal_data(process))
    start = process.prior(jax.random.key(0), (1, 40_000))

    def spread(solver):
        x, correct = start, jax.jit(partial(solver.correct, problem))
        for i in range(20):
            t, s = jnp.float32(1 - 0.045 * i), jnp.float32(1 - 0.045 * (i + 1))
            x = solver.step(problem, jax.random.key(i), x, None, t, s)[0]
            x = correct(jax.random.key(100 + i), x, s)
        return float(jnp.var(x) / law(process, s)[1] - 1)

    assert abs(spread(PredictorCorrector(0.16, 5))) < abs(spread(ReverseDiffusion())) / 2


def test_the_corrector_leaves_the_end_alone():
    process = Gaussian(VP())
    x = jnp.ones((2, 3))
    problem = Problem(process, normal_data(process))
    np.testing.assert_array_equal(PredictorCorrector().correct(problem, jax.random.key(0), x, jnp.float32(0)), x)


def trapezium_in_t(process, denoise, x, t, s):
    """Heun's method for dx/dt in t."""
    here = process.velocity(x, denoise(x, t).mean, t)
    moved = x + (s - t) * here
    return x + (s - t) * (here + process.velocity(moved, denoise(moved, s).mean, s)) / 2


def trapezium_in_sigma(process, denoise, x, t, s):
    """Karras et al. 2022, algorithm 1: of x/alpha in sigma/alpha."""
    (alpha, sigma), (alpha_s, sigma_s) = process.at(t, x), process.at(s, x)
    step = sigma_s / alpha_s - sigma / alpha
    here = (x - alpha * denoise(x, t).mean) / sigma
    moved = alpha_s * (x / alpha + step * here)
    return alpha_s * (x / alpha + step * (here + (moved - alpha_s * denoise(moved, s).mean) / sigma_s) / 2)


@pytest.mark.parametrize(
    ("schedule", "spacing", "standard"),
    [
        (Flow(), "uniform", trapezium_in_t),
        (VP(), "uniform", trapezium_in_t),
        (Cosine(), "uniform", trapezium_in_t),
        (VE(), "karras", trapezium_in_sigma),
        (EDM(), "karras", trapezium_in_sigma),
    ],
    ids=lambda value: type(value).__name__ if value is not str else value,
)
def test_heun_is_no_worse_than_the_standard_on_a_grid_that_is_used(mixture, schedule, spacing, standard):
    """Down to t_min, root mean square error over 200 starts: over all counts, and nearly at each."""
    with jax.enable_x64(True):
        process = Gaussian(schedule)
        denoise = mixture.mean(process)
        problem, solver = Problem(process, denoise), Heun()
        start = process.prior(jax.random.key(2), (200, 2), jnp.float64)

        def ours(x, t, s):
            return solver.step(problem, jax.random.key(0), x, None, t, s)[0]

        @partial(jax.jit, static_argnums=0)
        def end(step, grid):
            return jax.lax.scan(lambda x, ends: (step(x, *ends), None), start, (grid[:-1], grid[1:]))[0]

        def grid(count):
            return jnp.asarray(process.grid(count, spacing)[:-1], jnp.float64)

        exact = end(ours, grid(3000))
        ratios = []
        for count in (10, 20, 40, 80):
            mine, theirs = (
                float(jnp.sqrt(jnp.square(end(step, grid(count)) - exact).mean()))
                for step in (ours, lambda x, t, s: standard(process, denoise, x, t, s))
            )
            ratios.append(mine / theirs)
    assert np.exp(np.mean(np.log(ratios))) < 1.05, ratios
    assert max(ratios) < 1.3, ratios

"""How errors fall with the step: orders of the deterministic samplers, biases of those that add noise. In float64."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import (
    annealed_langevin,
    corrector,
    dpm_2m,
    euler,
    first_order,
    heun,
    nothing_yet,
    posterior_step,
    reverse_diffusion,
)
from ddpm_jax.schedules import VE, VP, Cosine

END = 0.1  # where sigma(0) = 0, an even grid down to 0 would lose the order


STEPS = {
    "euler": (1, lambda process, denoise: euler(process, first_order(denoise), 0.0)),
    "ddim": (1, lambda process, denoise: posterior_step(process, first_order(denoise), 0.0)),
    "heun": (2, lambda process, denoise: posterior_step(process, heun(process, denoise), 0.0)),
    "dpm_2m": (2, lambda process, denoise: posterior_step(process, dpm_2m(process, denoise), 0.0)),
}


@pytest.mark.parametrize("schedule", [Cosine(), VE(0.02, 50.0)], ids=["cosine", "ve"])
def test_orders_of_convergence(mixture, schedule):
    """The map from noise to x at t = 0.1, against an adaptive solver of eighth order.

    From alpha = 0, where the log-SNR is infinite, a logarithm of the step goes with the second order of 2M.
    """
    counts = np.array([80, 160, 320])
    with jax.enable_x64(True):
        process = Gaussian(schedule)
        denoise = mixture.mean(process)
        start = process.prior(jax.random.key(1), (8, 2))
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

        def end(step, count):
            def body(i, carry):
                x, memory = carry
                t, s = 1 - (1 - END) * i / count, 1 - (1 - END) * (i + 1) / count
                x, _, memory = step(jax.random.key(0), x, memory, t, s)
                return x, memory

            return jax.lax.fori_loop(0, count, body, (start, nothing_yet(start)))[0]

        for name, (order, make) in STEPS.items():
            walk = jax.jit(lambda count, make=make: end(make(process, denoise), count))
            errors = [float(jnp.abs(walk(count) - exact).mean()) for count in counts]
            slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
            slack = 0.25 if name == "dpm_2m" and isinstance(schedule, Cosine) else 0.15
            assert slope == pytest.approx(order, abs=slack), (name, errors)


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


def moved(step, moments, t, s):
    """Mean and variance after a step, exactly: with normal data it is affine in x and in its one draw of noise."""
    probes, draws = jnp.array([[0.0], [1.0], [0.0]]), jnp.array([[0.0], [0.0], [1.0]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", lambda keys, shape: draws)
        shift, with_x, with_noise = step(jax.random.key(0), probes, None, t, s)[0][:, 0]
    mean, variance = moments
    return shift + (with_x - shift) * mean, (with_x - shift) ** 2 * variance + (with_noise - shift) ** 2


NOISY = {
    "euler_maruyama": lambda process, denoise: euler(process, first_order(denoise), 1.0),
    "euler, eta 0.5": lambda process, denoise: euler(process, first_order(denoise), 0.5),
    "reverse_diffusion": lambda process, denoise: reverse_diffusion(process, first_order(denoise)),
}


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("schedule", [VP(), VE(0.02, 50.0)], ids=["vp", "ve"])
def test_biases_fall_in_proportion_to_the_step(schedule, name):
    """Weak order 1: twice the steps, half the error of mean and variance; 1% of the law's scale at 4000 steps."""
    with jax.enable_x64(True):
        process = Gaussian(schedule)
        step = NOISY[name](process, normal_data(process))

        @jax.jit
        def end(count):
            def body(i, moments):
                return moved(step, moments, 1 - (1 - END) * i / count, 1 - (1 - END) * (i + 1) / count)

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

        @jax.jit
        def end(size, count):
            step = annealed_langevin(process, normal_data(process), None, size, count=1, end=False)
            moments = jnp.float64(3.0), jnp.float64(9.0)
            for t in levels:
                moments = jax.lax.fori_loop(
                    0, count, lambda _, both, t=t: moved(step, both, jnp.float64(t), jnp.float64(t)), moments
                )
            return jnp.stack(moments)

        mean, variance = law(process, levels[-1])
        _, sigma = process.schedule(jnp.float64(levels[-1]))
        share = float(sigma**2 / variance)
        biases = []
        for size, count in ((0.4, 300), (0.2, 600)):
            found = end(size, count)
            np.testing.assert_allclose(found[0], mean, rtol=1e-3)
            biases.append(float(found[1] / variance - 1))
            assert biases[-1] == pytest.approx(size / 4 * share, rel=0.15)
    assert biases[0] / biases[1] == pytest.approx(2, abs=0.2)


def test_the_corrector_is_biased_by_its_ratio_squared_alone():
    """On an image of many sites its norms are steady: wherever it starts, it comes to 1 + snr^2 times the variance."""
    process = Gaussian(VP())
    t = jnp.float32(0.4)
    mean, variance = law(process, t)
    noise = jax.random.normal(jax.random.key(0), (1, 40_000))
    for snr in (0.5, 0.25):
        after = corrector(process, normal_data(process), None, snr, count=400)
        found = jax.jit(after)(jax.random.key(1), mean + 1.5 * np.sqrt(variance) * noise, t)
        assert float(jnp.var(found) / variance) == pytest.approx(1 + snr**2, abs=0.03)
        assert float(found.mean()) == pytest.approx(float(mean), abs=0.02)


def test_the_corrector_mends_the_predictor():
    """Halfway down a coarse grid the law is several times nearer the true one with a corrector than without."""
    process = Gaussian(VE(0.02, 50.0))
    denoise = normal_data(process)
    step = reverse_diffusion(process, first_order(denoise))
    start = process.prior(jax.random.key(0), (1, 40_000))

    def spread(after):
        x = start
        for i in range(20):
            t, s = jnp.float32(1 - 0.045 * i), jnp.float32(1 - 0.045 * (i + 1))
            x = step(jax.random.key(i), x, None, t, s)[0]
            x = after(jax.random.key(100 + i), x, s)
        return float(jnp.var(x) / law(process, s)[1] - 1)

    plain = jax.jit(lambda keys, x, s: x)
    mended = jax.jit(corrector(process, denoise, None, 0.16, count=5))
    assert abs(spread(mended)) < abs(spread(plain)) / 2


def test_the_corrector_leaves_the_end_alone():
    process = Gaussian(VP())
    x = jnp.ones((2, 3))
    after = corrector(process, normal_data(process))
    np.testing.assert_array_equal(after(jax.random.key(0), x, jnp.float32(0)), x)

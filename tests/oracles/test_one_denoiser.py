"""One exact denoiser serves every schedule: p(x | x_t) depends on x_t/alpha and sigma/alpha alone.

So all Gaussian processes are one, in other coordinates: what is learned under one schedule can be sampled under another
(Kingma et al. 2021, section 5.1; Karras et al. 2022, section 4).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax import samplers, schedules
from ddpm_jax.denoisers import Pointed
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian

PROCESSES = {
    name: Gaussian(schedules.make(name, **options))
    for name, options in {"flow": {}, "vp": {}, "subvp": {}, "ve": {"sigma_max": 50.0}, "cosine": {}}.items()
}
others = pytest.mark.parametrize("name", [name for name in PROCESSES if name != "flow"])
RATIOS = np.geomspace(20, 0.03, 24)  # sigma/alpha, from nearly all noise to nearly none: inside every schedule's range


def mixture(dtype):
    return GaussianMixture(
        jnp.array([0.35, 0.65], dtype),
        jnp.array([[-1.0, 0.3], [0.7, -0.4]], dtype),
        jnp.array([[[0.05, 0.01], [0.01, 0.1]], [[0.08, -0.03], [-0.03, 0.04]]], dtype),
    )


def times_of(process, ratios):
    """Where a process has these sigma/alpha, in float64."""
    return schedules.time_of_log_snr(process.schedule, -2 * jnp.log(jnp.asarray(ratios, jnp.float64)))


@others
def test_the_posterior_is_the_same_at_the_same_ratio(name):
    """Logits up to a constant, means and factors, at x_t = alpha y."""
    with jax.enable_x64(True):
        model, y = mixture(jnp.float64), jnp.asarray(np.random.default_rng(0).normal(0, 1, (len(RATIOS), 2)))
        posteriors = []
        for process in (PROCESSES["flow"], PROCESSES[name]):
            t = times_of(process, RATIOS)
            alpha, sigma = process.schedule(t)
            np.testing.assert_allclose(sigma / alpha, RATIOS, rtol=1e-9)
            posteriors.append(jax.jit(model.denoiser(process))(alpha[:, None] * y, t))
        one, other = posteriors
        np.testing.assert_allclose(jax.nn.softmax(one.logits), jax.nn.softmax(other.logits), rtol=1e-8)
        np.testing.assert_allclose(one.means, other.means, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(one.factors, other.factors, rtol=1e-8, atol=1e-12)


def walk(process, model, eta, keys, y, point):
    """From x_t = alpha y down the ratios to 0."""
    t = times_of(process, RATIOS)
    denoise = model.denoiser(process)
    problem = samplers.Problem(process, Pointed(denoise) if point else denoise, grid=np.append(t, 0))
    start = process.at(t[0], y)[0] * y
    return jax.jit(lambda keys, x: samplers.walk(samplers.FirstOrder(eta), problem, keys, x)[0])(keys, start)


@others
def test_ddim_ends_at_the_same_images(name):
    """At the same ratios, from the same x_t/alpha: float64, to nine digits."""
    with jax.enable_x64(True):
        model = mixture(jnp.float64)
        y = RATIOS[0] * random.normal(jax.random.key(1), (50, 2)).astype(jnp.float64)
        keys = random.per_example(jax.random.key(2), jnp.arange(50))
        one, other = (walk(PROCESSES[which], model, 0.0, keys, y, point=True) for which in ("flow", name))
        assert np.asarray(one).std(axis=0).min() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "vp", "ve"])
def test_one_law_under_every_schedule(name):
    """Draws of the exact posterior and fresh noise at every step, from alpha x + sigma z: the mixture's own law."""
    rows, process = 8000, PROCESSES[name]
    with jax.enable_x64(True):
        model = mixture(jnp.float64)
        x = model.sample(random.per_example(jax.random.key(3), jnp.arange(rows)), rows)
        noise = random.normal(jax.random.key(4), x.shape)
        keys = random.per_example(jax.random.key(5), jnp.arange(rows))
        drawn = np.asarray(walk(process, model, 1.0, keys, x + RATIOS[0] * noise, point=False))
        covariances, means = np.asarray(model.covariances), np.asarray(model.means)
    for direction in np.array([[1.0, 0.0], [0.6, 0.8]]):
        deviations = np.sqrt(np.einsum("i,kij,j->k", direction, covariances, direction))

        def law(u, centres=means @ direction, deviations=deviations):
            return np.array([0.35, 0.65]) @ stats.norm(centres[:, None], deviations[:, None]).cdf(u)

        assert stats.kstest(drawn @ direction, law).pvalue > 1e-3

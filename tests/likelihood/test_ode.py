"""The density by the probability-flow ODE, against densities in closed form: mixtures, Gaussians, a small lattice."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax import schedules
from ddpm_jax.denoisers import Normal
from ddpm_jax.likelihood import bits_per_dimension, ode
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian

OPTIONS = {
    "vp": {},
    "subvp": {},
    "ve": {"sigma_max": 50.0},
    "edm": {},
    "flow": {},
    "cosine": {},
    "learned": {"gamma_max": 10.0},
}
T_MIN = 1e-4


def bound_schedule(name):
    made = schedules.make(name, 0, **OPTIONS[name])
    return made.bind(made.init(jax.random.key(0))) if name == "learned" else made


SCHEDULES = [bound_schedule(name) for name in OPTIONS]
each_schedule = pytest.mark.parametrize("index", range(len(SCHEDULES)), ids=OPTIONS)


def choice(index, values=None):
    """The process of the schedule of this number, which a compiled function takes as an argument: compiled once."""
    return Gaussian(lambda t: jax.lax.switch(index, [lambda t, at=at: at(t) for at in SCHEDULES], t), values)


def keys_of(rows, seed=0):
    return random.per_example(jax.random.key(seed), jnp.arange(rows))


def centred_mixture():
    """Three tilted modes with the mean 0, so that at t = 1 it is very nearly the prior."""
    weights = np.array([0.2, 0.5, 0.3], np.float32)
    means = np.array([[-1.0, 0.2], [0.8, -0.5], [0.1, 1.0]], np.float32)
    covariances = [[[0.1, 0.05], [0.05, 0.2]], [[0.3, -0.1], [-0.1, 0.1]], [[0.05, 0.0], [0.0, 0.4]]]
    return GaussianMixture(jnp.asarray(weights), jnp.asarray(means - weights @ means), jnp.asarray(covariances))


MIXTURE = centred_mixture()
POINTS = jnp.concatenate([MIXTURE.sample(jax.random.key(0), 12), jnp.array([[1.8, -1.8], [0.0, 0.0]])])


@jax.jit
def mixture_by_ode(index, keys, x):
    process = choice(index)
    found = ode(process, MIXTURE.denoiser(process), keys, x, t_min=T_MIN, divergence="exact")
    return *found, -MIXTURE.log_density_at(process, x, jnp.float32(T_MIN))


@pytest.mark.slow
@each_schedule
def test_the_density_of_a_mixture(index):
    """Within 3e-3 nats, at likely points, between the modes and out in the tails.

    Most of the difference is that between the law of x_1 and the prior, of the order of SNR(1).
    """
    nats, evaluations, expected = mixture_by_ode(jnp.int32(index), keys_of(len(POINTS)), POINTS)
    np.testing.assert_allclose(nats, expected, atol=3e-3)
    assert np.all(np.asarray(evaluations) < 250)


DEVIATION = 0.3


@jax.jit
def gaussian_by_ode(index, keys, x, means):
    """One Gaussian an image, whose mean is the image's condition: [batch, 2, 2, 1]. Its field has a diagonal Jacobian,
    of which one probe of signs gives the trace without error."""
    process = choice(index)

    def denoise(x_t, t, condition):
        alpha, sigma = process.at(t, x_t)
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        return Normal(condition + gain * (x_t - alpha * condition))

    return ode(process, denoise, keys, x, means, t_min=T_MIN)[0]


@pytest.mark.slow
@each_schedule
def test_the_model_of_a_gaussian_in_closed_form(index):
    """The flow is linear: x_1 = alpha(1) m + (x - alpha m) S(1)/S, S^2 = alpha^2 0.09 + sigma^2. So the model's own
    density is known, also where x_1 is not quite the prior's."""
    rng = np.random.default_rng(1)
    means = rng.uniform(-1, 1, (5, 2, 2, 1))
    x = means + 0.5 * rng.normal(size=means.shape)
    nats = gaussian_by_ode(jnp.int32(index), keys_of(5), jnp.float32(x), jnp.float32(means))
    (alpha, alpha_1), (sigma, sigma_1) = np.asarray(SCHEDULES[index](jnp.array([T_MIN, 1.0])), np.float64)
    spread, spread_1 = np.hypot(alpha * DEVIATION, sigma), np.hypot(alpha_1 * DEVIATION, sigma_1)
    x_1 = alpha_1 * means + (x - alpha * means) * spread_1 / spread
    expected = stats.norm(0, sigma_1).logpdf(x_1) + np.log(spread_1 / spread)
    np.testing.assert_allclose(nats, -expected.sum(axis=(1, 2, 3)), atol=1e-3)


@jax.jit
def vp_by_probes(keys, x):
    process = Gaussian(SCHEDULES[0])
    return ode(process, MIXTURE.denoiser(process), keys, x, t_min=T_MIN)[0]


@pytest.mark.slow
def test_hutchinsons_estimate_is_unbiased():
    """On a field that is not linear, the mean over 2000 probes against the exact divergence."""
    x = jnp.array([[-0.6, 0.5]])
    exact = float(mixture_by_ode(jnp.int32(0), keys_of(len(POINTS)), jnp.tile(x, (len(POINTS), 1)))[0][0])
    nats = np.asarray(vp_by_probes(keys_of(2000, seed=3), jnp.tile(x, (2000, 1))), np.float64)
    error = nats.std() / math.sqrt(len(nats))
    assert 1e-3 < error < 0.02
    assert nats.mean() == pytest.approx(exact, abs=4 * error + 1e-4)


def test_an_image_does_not_depend_on_its_batch():
    """On who else is in it: the two alone are a batch of nobody else."""
    keys, rows = keys_of(14, seed=4), np.tile([13, 2], 7)  # the first of them takes more steps than most
    whole, alone = mixture_by_ode(jnp.int32(2), keys, POINTS), mixture_by_ode(jnp.int32(2), keys[rows], POINTS[rows])
    np.testing.assert_allclose(alone[0], whole[0][rows], rtol=1e-5)
    np.testing.assert_array_equal(alone[1], whole[1][rows])
    assert len(np.unique(whole[1])) > 1


VALUES = np.linspace(-1, 1, 5)
LATTICE = VALUES[[[0, 1], [2, 2], [4, 3], [1, 4], [3, 0], [2, 3]]]
WIDTH, SPREAD = 0.5, 0.15
SPOTS = GaussianMixture(
    jnp.full(6, 1 / 6), jnp.asarray(LATTICE, jnp.float32), jnp.tile(SPREAD**2 * jnp.eye(2), (6, 1, 1))
)


@pytest.mark.slow
def test_dequantised_pixels_of_a_lattice():
    """Six images of two pixels, equally likely, and a density of spots around them.

    The figure is the mean of -log p over the bins by quadrature, and lies above -log of the bins' exact masses, which
    lies above the entropy of the images, log2(6)/2 bits.
    """
    process, draws, copies = Gaussian(SCHEDULES[0], VALUES), 4, 60
    x = jnp.asarray(np.tile(LATTICE, (copies, 1)), jnp.float32)
    run = jax.jit(lambda keys, x: ode(process, SPOTS.denoiser(process), keys, x, t_min=1e-5, draws=draws))
    nats, evaluations = run(keys_of(len(x), seed=5), x)
    figure = bits_per_dimension(np.asarray(nats), 2, "ode", "uniform", draws)
    assert (figure.kind, figure.dequantisation, figure.draws) == ("ode", "uniform", draws)
    assert np.all(np.asarray(evaluations) > draws * 30)

    offsets = (np.arange(80) + 0.5) / 80 * WIDTH - WIDTH / 2
    shifts = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 1, 1, 2)
    density = stats.norm(LATTICE, SPREAD).pdf(LATTICE[:, None] + shifts).prod(axis=3).mean(axis=2)
    mean = -np.log2(density * WIDTH**2).mean() / 2
    masses = -np.log2(density.mean(axis=0) * WIDTH**2).mean() / 2
    assert mean > masses + 0.05 > math.log2(6) / 2 + 0.1
    assert figure.value == pytest.approx(mean, abs=4 * figure.standard_error + 2e-3)
    assert figure.standard_error < 0.02


def test_evaluations_are_counted_and_a_solver_without_steps_left_says_so():
    process, calls = Gaussian(SCHEDULES[0]), []

    def denoise(x_t, t, condition):
        jax.debug.callback(lambda time: calls.append(float(time[0])), t)
        return MIXTURE.denoiser(process)(x_t, t)

    nats, evaluations = ode(process, denoise, keys_of(1), POINTS[:1], t_min=T_MIN, max_steps=5)
    jax.effects_barrier()
    assert np.isnan(nats[0])
    assert len(calls) == evaluations[0] == 31
    assert min(calls) == pytest.approx(T_MIN)


def test_a_table_has_no_flow():
    process = Gaussian(schedules.make("ddpm_linear", 100))
    with pytest.raises(ValueError, match="continuous in t"):
        ode(process, MIXTURE.denoiser(process), keys_of(1), POINTS[:1])

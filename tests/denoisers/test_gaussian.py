"""Parameterisations: each published identity, exact round trips, and float32 where the noise is nearly nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import C_IN, C_NOISE, CATEGORICAL, PREDICTIONS, GaussianPrediction, point
from ddpm_jax.denoisers.gaussian import solve
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow, SubVP, Table, ddpm_linear

DDPM = Gaussian(ddpm_linear(100))
PROCESSES = {
    "ddpm": DDPM,
    "vp": Gaussian(VP()),
    "subvp": Gaussian(SubVP()),
    "ve": Gaussian(VE(sigma_min=0.02, sigma_max=50.0)),
    "edm": Gaussian(EDM()),
    "flow": Gaussian(Flow()),
    "cosine": Gaussian(Cosine(shift=0.5)),
}
PAIRS = [
    (name, prediction)
    for name, prediction in itertools.product(PROCESSES, PREDICTIONS)
    if not (name == "ddpm" and prediction == "velocity")
]
SHAPE = (3, 4, 2)
T = jnp.array([0.03, 0.5, 0.97])
DATA = 0.6


def arrays(count, shape=SHAPE):
    return [jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), count)]


def denoiser(output, process, prediction, variance="fixed_small"):
    """A denoiser whose network says `output` whatever it is given."""
    says = GaussianPrediction(prediction, variance, "thousand", sigma_data=DATA)
    return says.denoiser(lambda x_t, time, condition: output, process)


def levels(process, t=T):
    """(alpha, sigma) in float64, with axes for the sites."""
    return (np.asarray(level, np.float64).reshape(-1, 1, 1) for level in process.schedule(t))


def slopes(process, width=1e-3):
    """(alpha', sigma') by differences."""
    ends = [process.schedule(T + sign * width) for sign in (-1, 1)]
    return (
        (np.asarray(up, np.float64) - np.asarray(down, np.float64)).reshape(-1, 1, 1) / (2 * width)
        for down, up in zip(*ends, strict=True)
    )


def published(prediction, process, x, z):
    """What each paper has its network predict, from x and z, in float64."""
    x, z = np.asarray(x, np.float64), np.asarray(z, np.float64)
    alpha, sigma = levels(process)
    if prediction == "velocity":  # Lipman et al. 2023, theorem 3: the time derivative of alpha x + sigma z
        (alpha_rate, sigma_rate) = slopes(process)
        return alpha_rate * x + sigma_rate * z
    if prediction == "F":  # Karras et al. 2022, eq. 8 and table 1, for x_t / alpha = x + n
        level, data = sigma / alpha, DATA
        skip = data**2 / (level**2 + data**2)
        out = level * data / np.sqrt(level**2 + data**2)
        return (x - skip * (x + level * z)) / out
    return {"x0": x, "epsilon": z, "score": -z / sigma, "v": alpha * z - sigma * x}[prediction]


@pytest.mark.parametrize(("name", "prediction"), PAIRS)
def test_a_network_that_predicts_what_the_paper_says_gives_back_x(name, prediction):
    """A perfect network has no error; where the relation is singular, float32 keeps fewer digits."""
    process = PROCESSES[name]
    x, z = arrays(2)
    alpha, sigma = levels(process)
    exact = published(prediction, process, x, z)
    posterior = denoiser(jnp.asarray(exact, jnp.float32), process, prediction)(process.corrupt(x, z, T), T, None)
    rounding = 3e-6 if prediction != "velocity" else 3e-3  # of the differences
    size = rounding * (1 + sigma) * np.maximum(1, sigma / alpha)
    assert (np.abs(posterior.mean - x) < 20 * size).all()


@pytest.mark.parametrize("name", PROCESSES)
def test_round_trips_between_all_predictions(name):
    """From the raw output of any prediction to (x, z), on to any other, and back: in float64, to rounding."""
    with jax.enable_x64(True):
        process = PROCESSES[name]
        x, z = (np.asarray(a, np.float64) for a in arrays(2))
        t = jnp.asarray(T, jnp.float64)
        at = point(process, t, jnp.asarray(x), DATA)
        x_t = at.alpha * x + at.sigma * z
        rows = {prediction: PREDICTIONS[prediction](at) for prediction in PREDICTIONS if (name, prediction) in PAIRS}
        for one, other in itertools.product(rows, rows):
            (p, q), (p_other, q_other) = rows[one], rows[other]
            x_1, z_1, _ = solve(x_t, p * x + q * z, at.alpha, at.sigma, p, q)
            x_2, z_2, _ = solve(x_t, p_other * x_1 + q_other * z_1, at.alpha, at.sigma, p_other, q_other)
            np.testing.assert_allclose(x_2, x, atol=1e-9)
            np.testing.assert_allclose(z_2, z, atol=1e-9)


@pytest.mark.parametrize("prediction", ["x0", "epsilon", "v"])
def test_the_published_identities_for_any_output(prediction):
    """x0: the output itself; epsilon: DDPM's eq. 15; v: alpha x_t - sigma v (Salimans and Ho 2022, appendix D)."""
    x_t, raw = arrays(2)
    alpha, sigma = levels(DDPM)
    expected = {"x0": raw, "epsilon": (x_t - sigma * raw) / alpha, "v": alpha * x_t - sigma * raw}[prediction]
    mean = denoiser(raw, DDPM, prediction)(x_t, T, None).mean
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "prediction"), PAIRS)
def test_errors_in_the_networks_space_are_errors_of_the_mean(name, prediction):
    process = PROCESSES[name]
    x, z, raw = arrays(3)
    posterior = denoiser(raw, process, prediction)(process.corrupt(x, z, T), T, None)
    naive = np.square(np.asarray(x, np.float64) - np.asarray(posterior.mean, np.float64))
    np.testing.assert_allclose(posterior.squared_error(x, z), naive, rtol=5e-3, atol=1e-4)


def test_squared_error_keeps_its_digits_where_the_noise_is_nearly_nothing():
    """sigma = 1e-3, an output wrong by 0.01: the mean is wrong by 1e-5, of which float32 keeps two digits."""
    process = Gaussian(Table.from_betas(np.array([1e-6, 1e-6])))
    x, z = arrays(2, (1, 1000))
    t = jnp.array([0.5])
    error = 0.01 * jnp.sign(z)
    posterior = denoiser(z + error, process, "epsilon")(process.corrupt(x, z, t), t, None)
    true = 1e-6 / (1 - 1e-6) * 1e-4
    np.testing.assert_allclose(posterior.squared_error(x, z), true, rtol=1e-3)
    naive = np.square(x - posterior.mean)
    assert np.abs(naive / true - 1).max() > 0.01  # or this test would show nothing


def test_variances():
    x_t, raw = arrays(2)
    _, sigma = levels(DDPM)
    assert denoiser(raw, DDPM, "epsilon", "fixed_small")(x_t, T, None).variance is None
    large = denoiser(raw, DDPM, "epsilon", "fixed_large")(x_t, T, None).variance
    np.testing.assert_allclose(np.broadcast_to(large, SHAPE), np.broadcast_to(sigma**2, SHAPE), rtol=1e-5)


def test_a_learned_variance_lies_between_the_two_fixed_ones():
    """Nichol and Dhariwal 2021: between beta tilde (a point, no variance of x) and beta (sigma_t^2)."""
    x_t, raw = arrays(2)
    _, sigma = levels(DDPM)
    for share, expected in ((-30.0, 0.0), (0.0, 0.5), (30.0, 1.0)):
        both = jnp.concatenate([raw, jnp.full_like(raw, share)], axis=-1)
        posterior = denoiser(both, DDPM, "epsilon", "learned")(x_t, T, None)
        np.testing.assert_allclose(posterior.variance, np.broadcast_to(expected * sigma**2, SHAPE), atol=1e-6)
        same = denoiser(raw, DDPM, "epsilon")(x_t, T, None)
        np.testing.assert_allclose(posterior.mean, same.mean, rtol=1e-6)


@pytest.mark.parametrize("index", [2, 3, 50, 99, 100])
def test_a_learned_range_is_improved_diffusions(index):
    """The variance of a step: log-linear between beta tilde and beta, v = (raw + 1)/2 from -0.2 to 1.2."""
    betas = np.linspace(1e-3, 0.2, 100)
    with jax.enable_x64(True):
        process = Gaussian(Table.from_betas(betas))
        v = np.linspace(-0.2, 1.2, 8).reshape(1, 8)
        raw = jnp.concatenate([jnp.zeros((1, 8)), jnp.asarray(2 * v - 1)], axis=-1)
        t, s = jnp.asarray([index / 100]), jnp.asarray([(index - 1) / 100])
        said = GaussianPrediction("epsilon", "learned_range", steps=100)
        variance = said.denoiser(lambda x, time, condition: raw, process)(jnp.zeros((1, 8)), t).variance
        # of x_s: the process's own step, and the variance that x brings to it
        ones = jnp.ones((1, 8))
        carried = (
            process.reverse(jax.random.key(0), ones, ones, t, s, 1.0)
            - process.reverse(jax.random.key(0), ones, 0 * ones, t, s, 1.0)
        ) ** 2
        ours = process.step_variance(t, s, ones) + carried * variance
    kept = np.cumprod(1 - betas)
    beta = betas[index - 1]
    tilde = beta * (1 - kept[index - 2]) / (1 - kept[index - 1])
    np.testing.assert_allclose(ours, np.exp(v * np.log(beta) + (1 - v) * np.log(tilde)), rtol=1e-9)


@pytest.mark.parametrize("t", [jnp.float32(0.5), jnp.full(3, 0.5)], ids=["one", "each"])
def test_the_network_hears_its_time_and_the_condition(t):
    heard = []

    def network(x_t, time, condition):
        heard.append((time, condition))
        return x_t

    GaussianPrediction("x0", time="index", steps=100).denoiser(network, DDPM)(arrays(1)[0], t, "condition")
    [(time, condition)] = heard
    np.testing.assert_allclose(time, [49, 49, 49], rtol=1e-6)
    assert condition == "condition"


@pytest.mark.parametrize("steps", [1, 50, 1000, 4000])
def test_published_networks_hear_zero_to_one_less_than_the_steps(steps):
    t = jnp.asarray(np.arange(1, steps + 1) / steps, jnp.float32)
    np.testing.assert_allclose(C_NOISE["index"](DDPM, t, steps), np.arange(steps), atol=3e-4)


def test_what_networks_hear_of_the_noise():
    """Karras et al. 2022, table 1 (VE and EDM columns), at sigma = 2 and 0.5; VDM's range of gamma to 0 ... 1000."""
    process = Gaussian(lambda t: (jnp.ones_like(t), 4 * t))
    t = jnp.array([0.5, 0.125])
    np.testing.assert_allclose(C_NOISE["log_sigma"](process, t, 0), np.log([1.0, 0.25]), atol=1e-6)
    np.testing.assert_allclose(C_NOISE["quarter_log_sigma"](process, t, 0), np.log([2.0, 0.5]) / 4, rtol=1e-6)
    np.testing.assert_allclose(C_NOISE["thousand"](process, t, 0), [499.5, 124.875], rtol=1e-6)
    ends = Gaussian(lambda t: (jnp.sqrt(jax.nn.sigmoid(13.3 - 18.3 * t)), jnp.sqrt(jax.nn.sigmoid(18.3 * t - 13.3))))
    np.testing.assert_allclose(C_NOISE["log_snr"](ends, jnp.array([1e-9, 1.0]), 0), [0, 1000], atol=0.1)


@pytest.mark.parametrize("name", PROCESSES)
def test_unit_inputs_have_unit_variance(name):
    process = PROCESSES[name]
    x = DATA * jax.random.normal(jax.random.key(0), (3, 40_000))
    x_t = process.corrupt(x, jax.random.normal(jax.random.key(1), x.shape), T)
    scaled = C_IN["unit"](point(process, T, x_t, DATA)) * x_t
    np.testing.assert_allclose(scaled.std(axis=1), 1, rtol=4 / np.sqrt(2 * 40_000))
    assert C_IN["none"](point(process, T, x_t, DATA)) == 1


def test_how_many_numbers_a_network_puts_out():
    assert GaussianPrediction("epsilon", "fixed_large").numbers(1, 17) == 1
    assert GaussianPrediction("v", "learned").numbers(1, None) == 2
    assert GaussianPrediction(CATEGORICAL).numbers(1, 17) == 17
    assert GaussianPrediction("epsilon").numbers(3, 17) == 3
    assert GaussianPrediction("v", "learned").numbers(3, None) == 6
    assert GaussianPrediction(CATEGORICAL).numbers(3, 17) == 51

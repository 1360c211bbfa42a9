"""The Gaussian process against its laws, Bayes' rule written out for joint normals, and quadrature.

Draws are compared with a law by their moments, within 4 standard errors, many rows at a time.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from ddpm_jax.denoisers import GaussianPrediction, Normal
from ddpm_jax.processes import Gaussian, Traits
from ddpm_jax.schedules import VE, VP, Flow, Table, ddpm_linear, make

ROWS = 20_000
X = np.array([0.7, -0.2])

SCHEDULES = {
    "ddpm": ddpm_linear(100),
    "cosine": lambda t: (jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2)),
    "exploding": lambda t: (jnp.ones_like(t), 0.02 + 50 * t**2),
    "flow": lambda t: (1 - t, t),
}


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def process(request):
    return Gaussian(request.param)


def coefficients(process, time):
    """(alpha, sigma) as float64 numbers; (1, 0) at time 0."""
    return tuple(float(value) for value in process.schedule(jnp.float32(time))) if time else (1.0, 0.0)


def rows_of_x():
    return jnp.broadcast_to(jnp.asarray(X, jnp.float32), (ROWS, 2))


def assert_moments(draws, mean, variance):
    """Mean and variance of each column within 4 standard errors of a normal's."""
    draws = np.asarray(draws, np.float64)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 4 * np.sqrt(variance / len(draws)) + 1e-6)
    np.testing.assert_array_less(np.abs(draws.var(axis=0) / variance - 1), 4 * np.sqrt(2 / len(draws)))


def test_corrupt_has_its_law_with_a_time_for_each_row_or_one_for_all(process):
    x = rows_of_x()
    z = process.noise(jax.random.key(0), x.shape)
    t = jnp.where(jnp.arange(ROWS) % 2 == 0, 0.3, 0.8)
    x_t = process.corrupt(x, z, t)
    for first, time in ((0, 0.3), (1, 0.8)):
        alpha, sigma = coefficients(process, time)
        assert_moments(x_t[first::2], alpha * X, sigma**2)
    np.testing.assert_allclose(process.corrupt(x, z, jnp.float32(0.8))[1::2], x_t[1::2], rtol=1e-6)
    np.testing.assert_array_equal(process.corrupt(x, z, jnp.zeros(ROWS)), x)  # even where sigma(0) > 0


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_reverse_keeps_the_law_of_x_s_given_x(process, eta):
    x = rows_of_x()
    t, s = jnp.float32(0.9), jnp.float32(0.4)
    x_t = process.corrupt(x, process.noise(jax.random.key(1), x.shape), t)
    alpha, sigma = coefficients(process, 0.4)
    assert_moments(process.reverse(jax.random.key(2), x_t, x, t, s, eta), alpha * X, sigma**2)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_reverse_to_zero_returns_x_exactly(process, eta):
    x = rows_of_x()[:5]
    x_t = process.prior(jax.random.key(3), x.shape)
    for t in (1.0, 0.01):
        x_0 = process.reverse(jax.random.key(4), x_t, x, jnp.full(5, t), jnp.zeros(5), eta)
        np.testing.assert_array_equal(x_0, x)


def elbo(process):
    """Compiled: much faster than one operation at a time."""
    return jax.jit(process.elbo)


def bayes(process, t, s):
    """x_s given x_t and x: its variance and its mean's coefficients of x and x_t, by conditioning.

    Given x, (x_s, x_t) are jointly normal: x_t = r x_s + noise, and var x_s = sigma_s^2, var x_t = sigma_t^2.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = coefficients(process, t), coefficients(process, s)
    covariance = alpha_t / alpha_s * sigma_s**2
    slope = covariance / sigma_t**2
    return sigma_s**2 - slope * covariance, alpha_s - slope * alpha_t, slope


@pytest.mark.parametrize(("t", "s"), [(0.9, 0.4), (0.31, 0.3), (0.02, 0.01)])
def test_eta_one_is_the_bayesian_posterior(process, t, s):
    variance, of_x, of_x_t = bayes(process, t, s)
    x = rows_of_x()
    x_t = jnp.full_like(x, 0.4)

    def draw(x_t, x):
        return np.asarray(process.reverse(jax.random.key(5), x_t, x, jnp.float32(t), jnp.float32(s), 1.0), np.float64)

    # The same keys at a shifted x_t or x: the noise cancels, and the coefficients of the mean are left.
    scale = max(abs(of_x), abs(of_x_t))
    np.testing.assert_allclose(draw(x_t + 1, x) - draw(x_t, x), of_x_t, atol=1e-4 * scale)
    np.testing.assert_allclose(draw(x_t, x + 1) - draw(x_t, x), of_x, atol=1e-4 * scale)
    assert_moments(draw(x_t, x), of_x * X + of_x_t * 0.4, variance)


@pytest.mark.parametrize("eta", [0.3, 0.7])
def test_eta_scales_the_deviation_of_the_fresh_noise(process, eta):
    """Song et al. 2021a, eq. 16: eta times the deviation of the Markov process's posterior."""
    x = rows_of_x()
    x_s = process.reverse(jax.random.key(5), jnp.full_like(x, 0.4), x, jnp.float32(0.9), jnp.float32(0.4), eta)
    deviation = np.asarray(x_s, np.float64).std(axis=0)
    np.testing.assert_allclose(deviation, eta * np.sqrt(bayes(process, 0.9, 0.4)[0]), rtol=4 / np.sqrt(2 * ROWS))


def test_neighbours_have_ddpms_two_variances():
    """From betas alone: beta tilde for a point, beta for a normal of variance sigma_t^2 (Ho et al. 2020, 3.2)."""
    betas = np.linspace(0.02, 0.5, 10)
    process = Gaussian(Table.from_betas(betas))
    bars = np.cumprod(1 - betas)
    i = 3  # betas[2]
    beta_tilde = (1 - bars[i - 2]) / (1 - bars[i - 1]) * betas[i - 1]
    assert beta_tilde < 0.8 * betas[i - 1]  # else the two could be confused

    t, s = jnp.float32(i / 10), jnp.float32((i - 1) / 10)
    mean, x_t = rows_of_x(), jnp.full((ROWS, 2), 0.3)
    drawn = Normal(mean, jnp.square(process.at(t, mean)[1])).sample(jax.random.key(7))
    for x, variance in ((mean, beta_tilde), (drawn, betas[i - 1])):
        x_s = np.asarray(process.reverse(jax.random.key(6), x_t, x, t, s, 1.0), np.float64)
        np.testing.assert_allclose(x_s.var(axis=0), variance, rtol=4 * np.sqrt(2 / ROWS))


def test_forward_goes_on_to_the_law_of_x_t_and_undoes_reverse(process):
    x = rows_of_x()
    t, s = jnp.float32(0.9), jnp.float32(0.4)
    (alpha, sigma), (_, sigma_s) = coefficients(process, 0.9), coefficients(process, 0.4)
    x_s = process.corrupt(x, process.noise(jax.random.key(8), x.shape), s)
    x_t = process.forward(jax.random.key(9), x_s, s, t)
    assert_moments(x_t, alpha * X, sigma**2)
    # x_s and x_t are correlated as Bayes' rule has it.
    pair = np.corrcoef(x_s[:, 0], x_t[:, 0])[0, 1]
    assert pair == pytest.approx(bayes(process, 0.9, 0.4)[2] * sigma / sigma_s, abs=4 / np.sqrt(ROWS))
    # From the clean image, forward is corrupt.
    assert_moments(process.forward(jax.random.key(9), x, jnp.float32(0), t), alpha * X, sigma**2)


def test_prior_has_the_noise_of_time_one(process):
    draws = process.prior(jax.random.key(10), (ROWS, 2))
    assert_moments(draws, 0.0, coefficients(process, 1)[1] ** 2)
    assert stats.kstest(np.ravel(draws) / coefficients(process, 1)[1], "norm").pvalue > 1e-3


def divergence(log_p, log_q, centre, deviation):
    """KL(p || q) by quadrature, p a density around `centre`."""
    u = np.linspace(centre - 10 * deviation, centre + 10 * deviation, 4001)
    p = np.exp(log_p(u))
    assert np.trapezoid(p, u) == pytest.approx(1)
    return np.trapezoid(p * (log_p(u) - log_q(u)), u)


def test_prior_loss_is_the_divergence_at_time_one(process):
    alpha, sigma = coefficients(process, 1)
    x = np.array([[0.7, -0.2], [1.0, 1.0]])
    expected = [
        sum(divergence(stats.norm(alpha * v, sigma).logpdf, stats.norm(0, sigma).logpdf, alpha * v, sigma) for v in row)
        for row in x
    ]
    np.testing.assert_allclose(process.prior_loss(jnp.asarray(x, jnp.float32)), expected, rtol=1e-4, atol=1e-9)


def interval_by_quadrature(process, x, x_hat, v, z, t, s):
    """KL(q(x_s|x_t,x) || integral of q(x_s|x_t,x') N(x'; x_hat, v) dx'), both built from Bayes' rule, one site."""
    variance, of_x, of_x_t = bayes(process, t, s)
    alpha, sigma = coefficients(process, t)
    x_t, deviation = alpha * x + sigma * z, np.sqrt(variance)
    true = stats.norm(of_x * x + of_x_t * x_t, deviation).logpdf
    if not v:
        model = stats.norm(of_x * x_hat + of_x_t * x_t, deviation).logpdf
    else:
        nodes, weights = np.polynomial.hermite_e.hermegauss(120)
        clean, weights = x_hat + np.sqrt(v) * nodes, weights / weights.sum()

        def model(u):
            each = stats.norm(of_x * clean[:, None] + of_x_t * x_t, deviation).pdf(u)
            return np.log(weights @ each)

    return divergence(true, model, of_x * x + of_x_t * x_t, deviation)


@pytest.mark.parametrize(("v", "t", "s"), [(None, 0.9, 0.4), (0.05, 0.9, 0.4), (0.05, 0.42, 0.4)])
def test_elbo_of_an_interval_is_the_divergence_of_the_two_steps(process, v, t, s):
    x, x_hat, z = (
        np.array([[0.7, -0.2], [0.1, -1.0]]),
        np.array([[0.4, 0.3], [0.2, -0.9]]),
        np.array([[0.5, -1], [2, 0]]),
    )
    expected = [
        sum(interval_by_quadrature(process, *site, t, s) for site in zip(*rows, strict=True))
        for rows in zip(x, x_hat, np.full_like(x, v or 0), z, strict=True)
    ]
    posterior = Normal(jnp.asarray(x_hat, jnp.float32), None if v is None else jnp.full((2, 2), v))
    x, z = jnp.asarray(x, jnp.float32), jnp.asarray(z, jnp.float32)
    term = elbo(process)(posterior, x, z, jnp.full(2, t), jnp.full(2, s))
    np.testing.assert_allclose(term, expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "exploding", "flow"])
def test_elbo_at_one_time_is_the_limit_of_short_intervals(name):
    """elbo(t, t - h)/h tends to it with an error of first order in h, and the integral of it is a long interval."""
    process = Gaussian(SCHEDULES[name])
    term = elbo(process)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    with jax.enable_x64(True):
        x = jnp.broadcast_to(jnp.asarray(X), (30, 2))
        posterior = Normal(jnp.broadcast_to(jnp.asarray([0.1, 0.5]), (30, 2)))

        def at(t, s):
            return np.asarray(term(posterior, x, x, jnp.broadcast_to(t, 30), jnp.broadcast_to(s, 30)))

        density = at(0.6, 0.6)[0]
        errors = [at(0.6, 0.6 - h)[0] / h - density for h in (2e-4, 1e-4)]
        assert errors[0] / errors[1] == pytest.approx(2, rel=0.01)
        assert abs(errors[1]) < 1e-3 * density
        times = 0.6 + 0.2 * nodes
        assert 0.2 * weights @ at(times, times) == pytest.approx(at(0.8, 0.4)[0], rel=1e-6)


VALUES = np.linspace(-1, 1, 9)
DECODER = Gaussian(ddpm_linear(1000), VALUES)


@jax.jit
def decoder_loss(mean, variance, levels):
    """elbo of the interval (0, 0.05] for each of `levels`, one site."""
    x = levels[:, None]
    posterior = Normal(jnp.full_like(x, mean), None if variance is None else jnp.full_like(x, variance))
    return DECODER.elbo(posterior, x, x, jnp.full(len(x), 0.05), jnp.zeros(len(x)))


def log_mass(mean, deviation, level):
    """log of the normal's mass in the bin of a level by quadrature, scaled by the density at the nearest edge."""
    low = -np.inf if level == VALUES[0] else level - 0.125
    high = np.inf if level == VALUES[-1] else level + 0.125
    law = stats.norm(mean, deviation)
    peak = np.clip(mean, low, high)
    decay = deviation / max(abs(peak - mean) / deviation, 1)  # the density falls over about this length from the peak
    low, high = max(low, peak - 40 * decay), min(high, peak + 40 * decay)
    density = lambda u: np.exp(law.logpdf(u) - law.logpdf(peak))  # noqa: E731
    mass = integrate.quad(density, low, high, points=[peak], limit=200)[0]
    return law.logpdf(peak) + np.log(mass)


@pytest.mark.parametrize(("mean", "variance"), [(0.1, 0.04), (0.1, None), (-0.93, 1e-3), (1.0, 4.0), (3.0, 0.01)])
def test_decoder_masses_sum_to_one_and_are_the_normals(mean, variance):
    losses = np.asarray(decoder_loss(mean, variance, jnp.asarray(VALUES, jnp.float32)), np.float64)
    assert np.exp(-losses).sum() == pytest.approx(1, rel=1e-4)
    alpha, sigma = coefficients(DECODER, 0.05)
    deviation = sigma / alpha if variance is None else np.sqrt(variance)  # a point: x given x_t under a flat prior
    expected = [-log_mass(mean, deviation, level) for level in VALUES]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-4)


def test_decoder_is_right_in_the_far_tails():
    """Values and gradients, up to 150 deviations away and for the outer and an inner bin, against quadrature."""
    deviation, h = 0.02, 1e-3
    of_levels = jax.jit(jax.vmap(jax.grad(lambda m, v, x: decoder_loss(m, v, x[None])[0], (0, 1)), (None, None, 0)))
    levels = np.array([-1.0, 0.0, 1.0])
    for mean in (-3.0, 0.1, 1.5):
        losses = decoder_loss(mean, deviation**2, jnp.asarray(levels, jnp.float32))
        by_mean, by_variance = of_levels(mean, deviation**2, jnp.asarray(levels, jnp.float32))
        for i, level in enumerate(levels):
            assert float(losses[i]) == pytest.approx(-log_mass(mean, deviation, level), rel=1e-4, abs=1e-6)
            slope = (log_mass(mean - h, deviation, level) - log_mass(mean + h, deviation, level)) / (2 * h)
            assert float(by_mean[i]) == pytest.approx(slope, rel=2e-3, abs=1e-3)
            near, far = (log_mass(mean, deviation * np.exp(step), level) for step in (-h, h))
            wider = (near - far) / (2 * h) / (2 * deviation**2)
            assert float(by_variance[i]) == pytest.approx(wider, rel=5e-3, abs=1)


@pytest.mark.parametrize("mean", [-40.0, 300.0, 1e6])
def test_decoder_stays_finite_and_points_home_however_far_the_mean(mean):
    levels = jnp.array([-1.0, 0.0, 1.0])
    assert np.all(np.isfinite(decoder_loss(mean, 4e-4, levels)))
    by_mean, by_variance = jax.jit(jax.grad(lambda m, v: decoder_loss(m, v, levels).sum(), (0, 1)))(mean, 4e-4)
    assert np.isfinite(by_mean)
    assert np.sign(by_mean) == np.sign(mean)
    assert np.isfinite(by_variance)
    assert by_variance < 0


def test_data_without_levels_have_no_decoder():
    x = jnp.zeros((2, 3))
    term = Gaussian(ddpm_linear(100)).elbo(Normal(x + 1), x, x, jnp.full(2, 0.1), jnp.zeros(2))
    np.testing.assert_array_equal(term, 0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (VP(), Traits("gaussian")),
        (ddpm_linear(100), Traits("gaussian", continuous=False)),
        (VE(0.02, 50.0), Traits("gaussian", sigma_start=float(np.float32(0.02)))),
        (Flow(), Traits("gaussian", zero_terminal=True)),
    ],
    ids=["vp", "table", "ve", "flow"],
)
def test_what_other_parts_may_need_of_it(schedule, expected):
    process = Gaussian(schedule)
    assert process.kind == "gaussian"
    assert process.traits() == expected
    assert process.init(jax.random.key(0)) == {}
    assert process.bind({}) is process


def test_a_learned_schedules_parameters_are_the_processes():
    process = Gaussian(make("learned", gamma_min=-6.0), np.linspace(-1, 1, 5))
    start = Traits("gaussian", sigma_start=np.sqrt(1 / (1 + np.exp(6.0))))
    assert process.traits().sigma_start == pytest.approx(start.sigma_start, rel=1e-5)
    assert (process.traits().continuous, process.traits().zero_terminal) == (start.continuous, start.zero_terminal)
    params = process.init(jax.random.key(0))
    params["start"] = params["start"] - 0.2  # in units of 5
    bound = process.bind(params)
    np.testing.assert_array_equal(bound.values, process.values)
    t, like = jnp.float32(1e-6), jnp.zeros((1, 1))
    np.testing.assert_allclose(bound.log_snr(t, like), 7.0, atol=1e-3)
    np.testing.assert_allclose(process.start().log_snr(t, like), 6.0, atol=1e-3)


BETAS = np.linspace(1e-4, 2e-2, 1000)
KEPT = np.cumprod(1 - BETAS)
SECOND = BETAS[1] * (1 - KEPT[0]) / (1 - KEPT[1])  # beta tilde of the second step, as in DDPM's code


@pytest.mark.parametrize(
    ("variance", "second", "expected"),
    [
        ("fixed_small", 0.0, (1 - KEPT[0]) / KEPT[0]),
        ("fixed_large", 0.0, 1 - KEPT[0]),
        ("fixed_small", 0.002, SECOND),
        ("fixed_large", 0.002, SECOND),
        ("learned_range", 0.0, SECOND**0.75 * BETAS[0] ** 0.25),  # the raw output is -0.5
    ],
)
def test_the_last_step_of_the_published_bound_has_the_variance_of_the_second(variance, second, expected):
    """The decoder's -log mass in nats, of pixels whose estimate is off by as much as a network's, from scipy."""
    values = np.linspace(-1, 1, 256)
    process = Gaussian(ddpm_linear(1000), values, second)
    x = np.random.default_rng(0).choice(values[1:-1], (4, 5, 5, 3)).astype(np.float32)
    off = 0.006 * np.random.default_rng(1).normal(size=x.shape)
    z = jnp.zeros_like(x)
    t = jnp.full(4, 0.001, jnp.float32)
    alpha, sigma = np.sqrt(KEPT[0]), np.sqrt(1 - KEPT[0])
    x_t = process.corrupt(jnp.asarray(x), z, t)
    raw = (x_t - alpha * (x + off)) / sigma  # an epsilon whose x is x + off

    def network(x_t, time, condition):
        return jnp.concatenate([raw, jnp.full_like(raw, -0.5)], -1) if variance == "learned_range" else raw

    posterior = GaussianPrediction("epsilon", variance).denoiser(network, process)(x_t, t)
    found = process.elbo(posterior, jnp.asarray(x), z, t, jnp.zeros(4))
    law = stats.norm(x.astype(float) + off, np.sqrt(expected))
    masses = law.cdf(x + 1 / 255) - law.cdf(x - 1 / 255)
    np.testing.assert_allclose(found, -np.log(masses).sum(axis=(1, 2, 3)), rtol=2e-3)

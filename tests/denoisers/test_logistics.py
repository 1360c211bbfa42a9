"""The discretised mixture of logistics against scipy in float64 and against its own table of all levels^C pixels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Categorical, LogisticMixture
from ddpm_jax.denoisers.logistics import log_mass, log_masses, numbers_a_pixel

loss = jax.jit(lambda posterior, x: posterior.loss(x))
draw = jax.jit(lambda posterior, keys, numbers=None: posterior.sample(keys, numbers))
mean = jax.jit(lambda posterior: posterior.mean)
given = jax.jit(lambda posterior, x, channel: posterior.given(x, channel), static_argnums=2)

CASES = [(1, 2, 3), (1, 7, 1), (2, 4, 2), (3, 3, 2), (3, 2, 1)]  # channels, levels, components


def raw_of(channels, components, batch=2, space=(2, 3), seed=0):
    """Output of some size, with scales of about a level and all kinds of means."""
    shape = (batch, *space, numbers_a_pixel(channels, components))
    return 0.8 * np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mixture_of(channels, levels, components, **options):
    values = jnp.linspace(-1, 1, levels)
    return LogisticMixture.of(jnp.asarray(raw_of(channels, components, **options)), channels, values)


def all_pixels(channels, levels):
    """`[levels^C, C]`, every pixel there is."""
    return np.array(list(itertools.product(np.linspace(-1, 1, levels), repeat=channels)), np.float32)


def reference(raw, channels, levels, components):
    """p of every pixel at one place, `[levels^C]`, from the paper's equations, in float64 and in loops."""
    raw = np.asarray(raw, np.float64)
    K, half = components, 1 / (levels - 1)
    least = -7 + np.log(255 * half)  # the floor of their code, in levels
    weights = np.exp(raw[:K]) / np.exp(raw[:K]).sum()
    numbers = raw[K:].reshape(-1, K)
    table = []
    for pixel in all_pixels(channels, levels).astype(np.float64):
        total = 0.0
        for k in range(K):
            p = weights[k]
            pairs = iter(np.tanh(numbers[2 * channels :, k]))
            for c in range(channels):
                centre = numbers[c, k] + sum(next(pairs) * pixel[i] for i in range(c))
                law = stats.logistic(centre, np.exp(max(numbers[channels + c, k], least)))
                upper = 1.0 if pixel[c] > 1 - half else law.cdf(pixel[c] + half)
                lower = 0.0 if pixel[c] < -1 + half else law.cdf(pixel[c] - half)
                p *= upper - lower
            total += p
        table.append(total)
    return np.array(table)


all_losses = jax.jit(lambda mixture, x: jax.vmap(mixture.loss)(x))


def table_of(mixture, channels, levels):
    """log p of every pixel at every place, `[levels^C, batch, *space]`, and each channel's term."""
    pixels = all_pixels(channels, levels)
    x = jnp.asarray(np.broadcast_to(pixels[:, None, None, None, :], (len(pixels), *mixture.shape)))
    terms = -all_losses(mixture, x)
    return np.asarray(terms.sum(axis=-1), np.float64), np.asarray(terms, np.float64)


@pytest.mark.parametrize(("channels", "levels", "components"), CASES)
def test_probabilities_are_the_papers_and_sum_to_one(channels, levels, components):
    raw = raw_of(channels, components)
    logs, _ = table_of(mixture_of(channels, levels, components), channels, levels)
    np.testing.assert_allclose(np.exp(logs).sum(axis=0), 1, atol=2e-6)
    for place in np.ndindex(*raw.shape[:-1]):
        expected = np.log(reference(raw[place], channels, levels, components))
        np.testing.assert_allclose(logs[:, *place], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "levels", "components"), CASES)
def test_a_channels_loss_and_conditional_are_quotients_of_the_table(channels, levels, components):
    mixture = mixture_of(channels, levels, components)
    logs, terms = table_of(mixture, channels, levels)
    joint = np.exp(logs).reshape(*[levels] * channels, *mixture.shape[:-1])
    pixels = all_pixels(channels, levels)
    for c in range(channels):
        later = tuple(range(c + 1, channels))
        upto = joint.sum(axis=later, keepdims=True)
        conditional = upto / upto.sum(axis=c, keepdims=True)
        expected = np.broadcast_to(conditional, joint.shape).reshape(logs.shape)
        np.testing.assert_allclose(np.exp(terms[..., c]), expected, atol=3e-6)
        pixel = pixels[levels**channels * 2 // 3]
        posterior = given(mixture, jnp.broadcast_to(pixel, mixture.shape), c)
        assert isinstance(posterior, Categorical)
        index = np.round((pixel + 1) / 2 * (levels - 1)).astype(int)
        here = conditional[(*index[:c], slice(None), *[0] * len(later))]
        np.testing.assert_allclose(np.moveaxis(jax.nn.softmax(posterior.logits), -1, 0), here, atol=3e-6)


def test_where_each_number_of_the_output_goes():
    """One component of three channels, by hand: the couplings are of 1 on 0, of 2 on 0, of 2 on 1."""
    raw = jnp.array([9.0, 0.1, 0.2, 0.3, -1.0, -1.1, -1.2, 0.5, -0.6, 0.7])[None, None]
    mixture = LogisticMixture.of(raw, 3, jnp.linspace(-1, 1, 256))
    x = jnp.array([[[-0.2, 0.4, 0.6]]])
    np.testing.assert_allclose(mixture.centre(x, 1), [[[0.2 - 0.2 * np.tanh(0.5)]]], rtol=1e-6)
    expected = 0.3 - 0.2 * np.tanh(-0.6) + 0.4 * np.tanh(0.7)
    np.testing.assert_allclose(mixture.centre(x, 2), [[[expected]]], rtol=1e-6)
    np.testing.assert_allclose(mixture.log_scales[0, 0, :, 0], [-1.0, -1.1, -1.2])


LEVELS = np.linspace(-1, 1, 256)


def exact_log_mass(x, mean, log_scale):
    """scipy's logarithms of both tails, reflected so that they never subtract from 1; of 256 levels."""
    half, law = 1 / 255, stats.logistic(mean, np.exp(log_scale))
    upper = np.where(x > 1 - half, np.inf, x + half)
    lower = np.where(x < -1 + half, -np.inf, x - half)
    right = (lower + upper) / 2 > mean
    near = np.where(right, law.logsf(lower), law.logcdf(upper))
    far = np.where(right, law.logsf(upper), law.logcdf(lower))
    return near + np.log(-np.expm1(far - near))


def test_256_levels_in_the_middle_in_far_tails_and_at_any_scale():
    x, mean, log_scale = (a.ravel() for a in np.meshgrid(LEVELS[[0, 1, 100, 254, 255]], [-3, 0.1, 2], [-7, -2, 1, 9]))
    arrays = [jnp.asarray(a, jnp.float32) for a in (x, mean, log_scale, LEVELS)]
    expected = exact_log_mass(x, mean, log_scale)
    np.testing.assert_allclose(jax.jit(log_mass)(*arrays), expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("components", [1, 4])
def test_a_mixtures_levels_add_up_its_components_however_far_and_wide(components):
    """Weights that differ by e^60, so that the heaviest component at a level may be any."""
    rng, shape = np.random.default_rng(4), (40, components)
    weights = rng.uniform(-60, 0, shape).astype(np.float32)
    means, log_scales = rng.uniform(-3, 3, shape).astype(np.float32), rng.uniform(-7, 9, shape).astype(np.float32)
    exact = [a[..., None].astype(np.float64) for a in (means, log_scales)]
    expected = special.logsumexp(weights[..., None] + exact_log_mass(LEVELS, *exact), axis=1)
    logits = jax.jit(log_masses)(weights, means, log_scales, jnp.asarray(LEVELS, jnp.float32))
    np.testing.assert_allclose(logits, expected, rtol=2e-5, atol=2e-4)


def test_losses_and_gradients_are_finite_however_extreme_the_output():
    values = jnp.linspace(-1, 1, 256)
    signs = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], (64, 4, numbers_a_pixel(3, 2)))
    slopes = jax.jit(jax.value_and_grad(lambda raw, x: LogisticMixture.of(raw, 3, values).loss(x).sum()))
    for size, value in itertools.product((1e2, 1e4, 1e6), (-1.0, 1.0, values[77])):
        total, gradient = slopes(jnp.asarray(size * signs, jnp.float32), jnp.full((64, 4, 3), value))
        assert np.isfinite(total)
        assert np.isfinite(gradient).all()


def test_gradients_against_differences_in_float64():
    with jax.enable_x64(True):
        values = jnp.linspace(-1, 1, 8)
        x = values[np.random.default_rng(2).integers(0, 8, (2, 3, 2))]
        raw = jnp.asarray(raw_of(2, 2, space=(3,)), jnp.float64)

        @jax.jit
        def total(raw):
            return LogisticMixture.of(raw, 2, values).loss(x).sum()

        direction = jnp.asarray(np.random.default_rng(3).normal(size=raw.shape))
        slope = (total(raw + 1e-6 * direction) - total(raw - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(jnp.vdot(jax.jit(jax.grad(total))(raw), direction), slope, rtol=1e-6)


def pvalue(draws, chances, levels):
    """Of the chi-square test that rows of `draws` `[n, C]` come with these chances, `[levels^C]`."""
    index = np.round((np.asarray(draws) + 1) / 2 * (levels - 1)).astype(int)
    count = np.bincount(np.ravel_multi_index(index.T, [levels] * draws.shape[1]), minlength=len(chances))
    often = chances * len(draws) > 5
    assert count[chances < 1e-12].sum() == 0
    observed = np.append(count[often], count[~often].sum())
    expected = np.append(chances[often], chances[~often].sum()) * len(draws)
    used = expected > 1e-6
    return stats.chisquare(observed[used], expected[used] * observed.sum() / expected[used].sum()).pvalue


@pytest.mark.parametrize(("channels", "levels", "components"), CASES)
def test_draws_come_as_often_as_the_table_says(channels, levels, components):
    """Drawn by component and, through the conditionals of each channel, as a tempered mixture is."""
    raw = raw_of(channels, components, batch=1, space=(1,))
    many = LogisticMixture.of(jnp.broadcast_to(raw, (1, 10_000, raw.shape[-1])), channels, jnp.linspace(-1, 1, levels))
    expected = reference(raw[0, 0], channels, levels, components)
    for posterior in (many, many.tempered())[: 2 if components > 1 else 1]:
        assert pvalue(draw(posterior, jax.random.key(0))[0], expected, levels) > 1e-3


@pytest.mark.slow
def test_a_value_is_drawn_by_its_number_alone():
    """Three pixels of six, in an order of their own, get what the whole images would have given them."""
    mixture = mixture_of(3, 5, 2, batch=3)
    keys = random.per_example(jax.random.key(0), jnp.arange(3))
    places = np.array([4, 0, 5])
    numbers = jnp.asarray(3 * places[:, None] + np.arange(3))
    arrays = (mixture.logits, mixture.means, mixture.log_scales, mixture.couplings)
    part = LogisticMixture(*(a.reshape(3, 6, *a.shape[3:])[:, places] for a in arrays), mixture.values)
    for whole, some in ((mixture, part), (mixture.tempered(0.8), part.tempered(0.8))):
        at_all = np.asarray(draw(whole, keys)).reshape(3, 6, 3)[:, places]
        np.testing.assert_array_equal(draw(some, keys, numbers), at_all)


@pytest.mark.slow
def test_mean():
    """Exact for one channel; with couplings exact as long as little is clipped."""
    for levels in (2, 9):
        mixture = mixture_of(1, levels, 3)
        chances = np.exp(table_of(mixture, 1, levels)[0])
        np.testing.assert_allclose(
            mixture.mean[..., 0], np.tensordot(np.linspace(-1, 1, levels), chances, 1), atol=1e-6
        )
        x = jnp.ones(mixture.shape)
        np.testing.assert_allclose(mixture.squared_error(x, x), np.square(1 - mean(mixture)), atol=1e-6)
    raw = 0.3 * raw_of(3, 2)
    raw[..., 8:14] = -2.5  # scales of 0.08: means stay six of them within the range
    narrow = LogisticMixture.of(jnp.asarray(raw), 3, jnp.linspace(-1, 1, 17))
    logs, _ = table_of(narrow, 3, 17)
    exact = np.tensordot(all_pixels(3, 17).T, np.exp(logs), 1)
    np.testing.assert_allclose(np.moveaxis(mean(narrow), -1, 0), exact, atol=5e-3)
    np.testing.assert_allclose(mean(narrow.tempered())[..., 0], exact[0], atol=1e-5)


def test_its_levels_are_its_own():
    mixture = mixture_of(2, 4, 2)
    assert mixture.discretise(jnp.linspace(-1, 1, 4), jnp.ones(())) is mixture

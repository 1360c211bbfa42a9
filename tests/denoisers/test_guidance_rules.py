"""Rules of guidance: plain where they are neutral, the papers' formulas in NumPy, projections by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import (
    Categorical,
    GaussianPrediction,
    Guided,
    LogisticMixture,
    Normal,
    Plain,
    Pointed,
    Projected,
    Rescaled,
    Told,
)
from ddpm_jax.denoisers.logistics import numbers_a_pixel
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import VP

X = jnp.arange(6.0).reshape(3, 2)
T = jnp.array([0.2, 0.4, 0.6])


def fixed(posterior):
    return lambda x_t, t, condition=None: posterior


def noisy_pair(output, schedule, rows=4):
    """A network of random outputs, as a denoiser that is told which of two to put out; x_t, t, (alpha, sigma)."""
    process = Gaussian(schedule)
    raw = jnp.asarray(np.random.default_rng(3).normal(size=(2, 6, 6, 1)) * np.array([1.0, 2.0])[:, None, None, None])
    raw = jnp.broadcast_to(raw[:, None].astype(jnp.float32), (2, rows, 6, 6, 1))

    def network(x, time, condition):
        each = jnp.tile(jnp.arange(rows), len(x) // rows)
        return raw[condition, each] + 0.3 * x

    denoise = GaussianPrediction(output, time="thousand").denoiser(network, process)
    x_t = jax.random.normal(jax.random.key(1), (rows, 6, 6, 1))
    return denoise, network, x_t, jnp.float32(0.6), schedule(jnp.float32(0.6))


def guided_by(rule, denoise, x_t, t, weight=4.0):
    rows = len(x_t)
    chain = (Told(denoise, jnp.zeros(1, jnp.int32)), denoise)
    return jax.jit(Guided(chain, (weight,), rule))(x_t, t, jnp.ones(rows, jnp.int32))


@pytest.mark.parametrize("rule", [Rescaled(0.0), Projected(1.0)], ids=str)
def test_neutral_rules_are_plain_guidance(rule):
    denoise, _, x_t, t, _ = noisy_pair("v", VP())
    plain, ruled = (guided_by(one, denoise, x_t, t) for one in (Plain(), rule))
    np.testing.assert_array_equal(ruled.mean, plain.mean)
    strong = denoise(x_t, t, jnp.ones(4, jnp.int32)).mean
    for rule_ in (Rescaled(0.7), Projected(0.0, 0.5)):
        np.testing.assert_allclose(guided_by(rule_, denoise, x_t, t, 1.0).mean, strong, atol=1e-5)
        assert np.abs(guided_by(rule_, denoise, x_t, t).mean - plain.mean).max() > 0.1
        within = Guided((Told(denoise, jnp.zeros(1, jnp.int32)), denoise), (4.0,), rule_, (0.7, 1.0))
        np.testing.assert_array_equal(within(x_t, t, jnp.ones(4, jnp.int32)).mean, strong)  # to the bit


def test_rescaling_is_the_papers_in_the_space_of_v():
    """Lin et al. 2024, eq. 14 to 16 in float64, and x = alpha x_t - sigma v."""
    denoise, network, x_t, t, (alpha, sigma) = noisy_pair("v", VP())
    weak, strong = (np.asarray(network(x_t, None, jnp.full(4, k)), np.float64) for k in (0, 1))
    v = weak + 4 * (strong - weak)
    ratio = np.std(strong, axis=(1, 2, 3), keepdims=True) / np.std(v, axis=(1, 2, 3), keepdims=True)
    for phi in (0.7, 1.0):
        raw = phi * v * ratio + (1 - phi) * v
        expected = float(alpha) * np.asarray(x_t) - float(sigma) * raw
        np.testing.assert_allclose(guided_by(Rescaled(phi), denoise, x_t, t).mean, expected, atol=2e-5)


def test_rescaling_depends_on_the_space_and_without_an_output_it_is_the_images():
    """An epsilon network and the same seen as a denoiser alone, whose result has the strong image's spread."""
    denoise, _, x_t, t, _ = noisy_pair("epsilon", VP())
    alone, rule = Pointed(denoise), Rescaled(1.0)
    one, other = (guided_by(rule, which, x_t, t).mean for which in (denoise, alone))
    assert np.abs(one - other).max() > 0.1
    strong = denoise(x_t, t, jnp.ones(4, jnp.int32)).mean
    np.testing.assert_allclose(np.std(other, axis=(1, 2, 3)), np.std(strong, axis=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Projected(1.0), [3, 4]),  # 1 + 2 (1, 2)
        (Projected(0.0), [1, 4]),
        (Projected(0.5), [2, 4]),
        (Projected(1.0, 5**0.5 / 2), [2, 2]),
        (Projected(0.0, 5**0.5 / 2), [1, 2]),
        (Projected(0.0, 100.0), [1, 4]),
    ],
    ids=str,
)
def test_projection_by_hand(rule, expected):
    """Strong (1, 0) and weak (0, -2), so D = (1, 2) of length sqrt 5; each image by itself; w = 3."""
    strong = Normal(jnp.array([[1.0, 0.0], [0.0, 0.0], [2.0, 2.0]]), 0.1 * T[:, None])
    weak = Normal(jnp.array([[0.0, -2.0], [0.0, 0.0], [2.0, 2.0]]), T[:, None])
    posterior = Guided((fixed(weak), fixed(strong)), (3.0,), rule)(X, T)
    np.testing.assert_allclose(posterior.mean, [expected, [0, 0], [2, 2]], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(posterior.variance, strong.variance)


OVER_LEVELS = [
    Categorical(jnp.zeros((3, 2, 4)), jnp.linspace(-1, 1, 4)),
    LogisticMixture.of(jnp.zeros((3, 2, numbers_a_pixel(1, 2))), 1, jnp.linspace(-1, 1, 4)),
]


@pytest.mark.parametrize("posterior", OVER_LEVELS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("rule", [Rescaled(0.7), Projected()], ids=str)
def test_rules_for_images_refuse_levels_in_one_line(rule, posterior):
    with pytest.raises(ValueError, match="levels") as raised:
        Guided((fixed(posterior), fixed(posterior)), (2.0,), rule)(X, T)
    [(part, reason)] = rule.refusals("guidance_rule", levels=True)
    assert part == "guidance_rule" and reason == str(raised.value) and "\n" not in reason
    assert not [*rule.refusals("guidance_rule", levels=False), *Plain().refusals("guidance_rule", levels=True)]
    with pytest.raises(ValueError, match="above 0"):
        Projected(limit=0.0)

"""Tempered and guided mixtures against tables that are changed conditional by conditional, and drawn frequencies."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import LogisticMixture
from ddpm_jax.denoisers.logistics import numbers_a_pixel

loss = jax.jit(lambda posterior, x: posterior.loss(x))
draw = jax.jit(lambda posterior, key: posterior.sample(key))

LEVELS = 4
VALUES = np.linspace(-1, 1, LEVELS).astype(np.float32)


def mixture_of(channels, seed, count=1):
    """One pixel's mixture at `count` pixels."""
    raw = 0.7 * np.random.default_rng(seed).normal(size=(1, 1, numbers_a_pixel(channels, 3)))
    raw = np.broadcast_to(raw, (1, count, raw.shape[-1]))
    return LogisticMixture.of(jnp.asarray(raw, jnp.float32), channels, jnp.asarray(VALUES))


def every_pixel(channels):
    """`[1, levels^C, C]`: a row of pixels, one of each kind."""
    return jnp.asarray(list(itertools.product(VALUES, repeat=channels)))[None]


def joint_of(posterior, channels):
    """p of each pixel, `[levels] * C`, from the losses."""
    chances = np.exp(-np.asarray(loss(posterior, every_pixel(channels))[0].sum(axis=-1), np.float64))
    return chances.reshape([LEVELS] * channels)


def conditionals(joint):
    """p(x_c | x_0 ... x_(c-1)), `[levels] * (c + 1)`, of each channel of a table."""
    for c in range(joint.ndim):
        upto = joint.sum(axis=tuple(range(c + 1, joint.ndim)))
        yield upto / upto.sum(axis=-1, keepdims=True)


def product(tables):
    """The joint table of conditionals."""
    joint = np.ones(())
    for table in tables:
        joint = joint[..., None] * table
    return joint


def changed(table, temperature, top_k, nucleus):
    """One conditional tempered level by level, in loops."""
    out = np.zeros_like(table)
    for place in np.ndindex(table.shape[:-1]):
        p = table[place] ** (1 / temperature)
        order = np.argsort(-p)[: top_k or LEVELS]
        total, reached = p[order].sum(), 0.0
        for level in order:
            if reached >= nucleus:
                break
            out[(*place, level)] = p[level]
            reached += p[level] / total
    return out / out.sum(axis=-1, keepdims=True)


OPTIONS = [(1, (0.5, 0, 1.0)), (1, (1.0, 0, 0.7)), (2, (2.0, 0, 1.0)), (2, (1.0, 2, 1.0)), (3, (0.8, 3, 0.8))]


@pytest.mark.parametrize(("channels", "options"), OPTIONS, ids=str)
def test_tempered_mixtures_have_the_law_of_tempered_conditionals(channels, options):
    count = LEVELS**channels
    expected = product(
        changed(table, *options) for table in conditionals(joint_of(mixture_of(channels, 0, count), channels))
    )
    np.testing.assert_allclose(
        joint_of(mixture_of(channels, 0, count).tempered(*options), channels), expected, atol=2e-6
    )

    draws = draw(mixture_of(channels, 0, 6000).tempered(*options), jax.random.key(1))[0]
    index = np.round((np.asarray(draws) + 1) / 2 * (LEVELS - 1)).astype(int)
    shares = np.bincount(np.ravel_multi_index(index.T, expected.shape), minlength=count) / 6000
    error = np.sqrt(expected * (1 - expected) / 6000).ravel()
    np.testing.assert_array_less(np.abs(shares - expected.ravel()), 4.5 * error + 1e-9 + 2e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_guided_mixtures_have_the_law_of_guided_conditionals(channels):
    count = LEVELS**channels
    one, none = mixture_of(channels, 0, count), mixture_of(channels, 1, count)
    tables = zip(conditionals(joint_of(one, channels)), conditionals(joint_of(none, channels)), strict=True)
    powers = [c**2.5 * u**-1.5 for c, u in tables]
    expected = product(p / p.sum(axis=-1, keepdims=True) for p in powers)
    guided = one.guide(none, 2.5)
    np.testing.assert_allclose(joint_of(guided, channels), expected, atol=1e-5)
    np.testing.assert_allclose(joint_of(one.guide(none, 1.0), channels), joint_of(one, channels), atol=1e-6)
    # The order of both: guidance first, then temperature.
    both = product(changed(p / p.sum(axis=-1, keepdims=True), 0.5, 0, 1.0) for p in powers)
    np.testing.assert_allclose(joint_of(guided.tempered(0.5), channels), both, atol=1e-5)


def raw_of(batch, space):
    """Of two mixtures, each pixel's its own."""
    return jnp.asarray(np.random.default_rng(6).normal(size=(2, batch, *space, numbers_a_pixel(2, 2))), jnp.float32)


def guided_of(raw, levels):
    """With a weight an example."""
    one, none = (LogisticMixture.of(part, 2, jnp.linspace(-1, 1, levels)) for part in raw)
    return one.guide(none, jnp.linspace(1, 3, raw.shape[1]))


@pytest.mark.slow
@pytest.mark.parametrize("space", [(5, 4), (3,)])
def test_draws_are_the_same_wherever_they_are_wanted(space):
    """Of 20 pixels, or of fewer than are drawn at once: none of an image, all, some, and single values of a pixel."""
    where = np.random.default_rng(7).random((5, *space, 2)) < 0.2
    where[0], where[1] = False, True
    keys, pixels = jax.random.split(jax.random.key(2), 5), jnp.array([[2, 0], [1, 2], [0, 1], [2, 1], [0, 2]])

    @jax.jit
    def draws(raw):
        posterior = guided_of(raw, LEVELS).tempered(0.7, 3)
        part = posterior.at(pixels).sample(keys, 2 * pixels[..., None] + jnp.arange(2))
        return posterior.sample(keys), posterior.sample(keys, where=jnp.asarray(where)), part

    whole, some, part = draws(raw_of(5, space))
    np.testing.assert_array_equal(np.where(where, some, 0), np.where(where, whole, 0))
    np.testing.assert_array_equal(part, np.take_along_axis(whole.reshape(5, -1, 2), pixels[..., None], axis=1))


def test_a_draw_never_holds_the_levels_of_an_image():
    """The memory of a compiled draw, whatever of the image is wanted."""
    raw, keys, where = raw_of(4, (16, 16)), jax.random.split(jax.random.key(2), 4), jnp.ones((4, 16, 16, 2), bool)
    drawn = jax.jit(lambda raw, where: guided_of(raw, 256).sample(keys, where=where))
    levels = 4 * 16 * 16 * 256 * raw.itemsize
    assert drawn.lower(raw, where).compile().memory_analysis().temp_size_in_bytes < levels / 2


def test_means_of_changed_mixtures():
    """Exact for the first channel, and given the level nearest to it for the second."""
    tempered = mixture_of(2, 0).tempered(0.5)
    first, second = conditionals(joint_of(mixture_of(2, 0, LEVELS**2).tempered(0.5), 2))
    mean = first @ VALUES
    expected = [mean, second[np.abs(VALUES - mean).argmin()] @ VALUES]
    mean, error = jax.jit(lambda posterior, x: (posterior.mean, posterior.squared_error(x, x)))(
        tempered, jnp.ones((1, 1, 2))
    )
    np.testing.assert_allclose(mean[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(error, np.square(1 - mean), atol=1e-6)


def test_rows_and_programs():
    """Posteriors are pytrees whose settings stay, and their rows are those of the arrays inside."""
    raw = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, numbers_a_pixel(2, 2))), jnp.float32)
    mixture = LogisticMixture.of(raw, 2, jnp.asarray(VALUES))
    x = jnp.broadcast_to(VALUES[1], (3, 2, 2))
    changed = mixture.guide(mixture.tempered(2.0), 1.5).tempered(0.9, 3)
    np.testing.assert_allclose(loss(changed.rows(slice(1, 3)), x[1:]), loss(changed, x)[1:], rtol=1e-5)
    assert changed.variance is None
    assert changed.discretise(jnp.asarray(VALUES), jnp.ones(())) is changed

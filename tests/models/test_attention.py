"""Attention against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.models import attention


@pytest.mark.parametrize(("tokens", "chunk"), [(300, 1), (300, 7), (400, 150), (5, 9)])
def test_attention_in_parts_is_attention(tokens, chunk):
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 2, tokens, 4))
    groups = np.arange(tokens) // chunk
    last = (a.transpose(0, 2, 1, 3) for a in (query, key, value))
    mask = jnp.asarray(groups[:, None] >= groups)[None, None]
    expected = jax.jit(jax.nn.dot_product_attention)(*last, mask=mask)
    got = jax.jit(attention.attend_before, static_argnums=3)(query, key, value, chunk)
    np.testing.assert_allclose(got.transpose(0, 2, 1, 3), expected, atol=2e-6)


def test_attention_keeps_float32_within_bfloat16():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 2, 64, 8)).astype(jnp.bfloat16)
    got = attention.attend_where(query, key, value)
    exact = attention.attend_where(*(a.astype(jnp.float32) for a in (query, key, value)))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), exact, atol=0.02)
    huge = attention.attend_where(query * 1e4, key, value)
    assert np.isfinite(huge.astype(jnp.float32)).all()


def test_parts_do_less_work():
    query = jnp.zeros((1, 1, 800, 4))

    def flops(*chunk):
        program = jax.jit(lambda a: attention.attend_before(a, a, a, *chunk)).lower(query).compile()
        return (program.cost_analysis() or {})["flops"]

    assert flops(1) < 0.6 * flops(800)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "chunk"), [(300, 0), (1030, 1), (700, 7), (512, 0)])
def test_attention_in_blocks_is_attention_and_so_are_its_derivatives(tokens, chunk):
    query, key, value, along = jax.random.normal(jax.random.key(0), (4, 2, 3, tokens, 8))

    def plain(*given):
        return attention.attend_before(*given, chunk) if chunk else attention.attend_where(*given)

    def blocks(*given):
        return attention.attend_in_blocks(*given, chunk, block=256)

    ours, theirs = jax.jvp(blocks, (query, key, value), (along,) * 3), jax.jvp(plain, (query, key, value), (along,) * 3)
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_memory_grows_with_the_tokens_and_not_with_their_square():
    def between(form, tokens):
        query = jnp.zeros((1, 1, tokens, 4))
        gradient = jax.grad(lambda a: form(a, a, a).sum())
        return jax.jit(gradient).lower(query).compile().memory_analysis().temp_size_in_bytes

    whole, blocks = (
        [between(form, tokens) for tokens in (2048, 4096)]
        for form in (attention.attend_where, attention.attend_in_blocks)
    )
    weights = 4 * 4096**2  # all of them, in float32
    assert whole[1] >= weights > 1.3 * blocks[1] and blocks[1] < 2.2 * blocks[0]

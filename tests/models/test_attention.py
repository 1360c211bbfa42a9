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


@pytest.mark.parametrize(("chunk", "causal"), [(0, False), (1, True)])
def test_the_fused_kernel_is_asked_for_the_same_attention(monkeypatch, chunk, causal):
    """There is no GPU here: its kernel's place is taken by JAX's own implementation of the same call."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 3, 20, 8))
    calls, original = [], jax.nn.dot_product_attention

    def stand_in(*arrays, implementation, **how):
        calls.append((implementation, how))
        return original(*arrays, implementation="xla", **how)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    got = attention.attend(query, key, value, chunk, fused=True)
    assert calls == [("cudnn", {"is_causal": causal})]
    np.testing.assert_allclose(got, attention.attend(query, key, value, chunk), atol=2e-6)
    attention.attend(query, key, value, 4, fused=True)  # no kernel for groups of four
    attention.attend(query[..., :7], key[..., :7], value[..., :7], chunk, fused=True)
    assert len(calls) == 1

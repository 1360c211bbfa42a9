"""Attention without all weights: the same as plain attention, and the kernels are chosen where a program is lowered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.devices import flops
from ddpm_jax.models import efficient_attention
from ddpm_jax.models.efficient_attention import attend


@pytest.mark.parametrize(("tokens", "chunk"), [(100, 0), (600, 1), (130, 4)])
def test_values_and_gradients_are_those_of_plain_attention(tokens, chunk):
    query, key, value, pulled = jax.random.normal(jax.random.key(0), (4, 2, 3, tokens, 8))
    got, back = jax.vjp(lambda *given: attend(*given, chunk, True), query, key, value)
    expected, plain = jax.vjp(lambda *given: attend(*given, chunk), query, key, value)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    for ours, theirs in zip(back(pulled), plain(pulled), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("platform", "tokens", "chunk", "kernel"),
    [
        ("tpu", 256, 0, True),
        ("tpu", 256, 1, True),
        ("tpu", 250, 0, False),
        ("tpu", 256, 4, False),
        ("cpu", 256, 0, False),
    ],
)
def test_a_kernel_is_chosen_where_it_is_lowered(platform, tokens, chunk, kernel):
    query = jnp.zeros((2, 2, tokens, 64), jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda a: attend(a, a, a, chunk, True).astype(jnp.float32).sum()))
    text = gradient.trace(query).lower(lowering_platforms=(platform,)).as_text()
    assert ("tpu_custom_call" in text) == kernel


def test_a_kernel_is_chosen_where_each_of_several_devices_has_its_own_rows():
    mesh, rows = jax.sharding.AbstractMesh((8,), ("rows",)), jax.sharding.PartitionSpec("rows")
    query = jnp.zeros((8, 2, 256, 64), jnp.bfloat16)
    mapped = jax.shard_map(
        lambda a: attend(a, a, a, 0, True), mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False
    )
    assert "tpu_custom_call" in jax.jit(mapped).trace(query).lower(lowering_platforms=("tpu",)).as_text()


def test_cudnn_is_asked_for_the_same_attention(monkeypatch):
    """There is no GPU here: its kernel's place is taken by JAX's own implementation of the same call."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 3, 24, 8)).astype(jnp.bfloat16)
    calls, original = [], jax.nn.dot_product_attention

    def stand_in(*arrays, implementation, **how):
        calls.append((implementation, how))
        return original(*arrays, implementation="xla", **how)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for chunk in (0, 1):
        got = attend(query, key, value, chunk, fused=True).astype(jnp.float32)
        np.testing.assert_allclose(got, attend(query, key, value, chunk).astype(jnp.float32), atol=0.02)
    assert calls == [("cudnn", {"is_causal": False}), ("cudnn", {"is_causal": True})]
    attend(query, key, value, 4, fused=True)  # no kernel for groups of four, seven features, or float32
    attend(query[..., :7], key[..., :7], value[..., :7], 0, fused=True)
    attend(*(a.astype(jnp.float32) for a in (query, key, value)), 0, fused=True)
    assert len(calls) == 2


def test_images_one_by_one_are_images_together():
    query = jax.random.normal(jax.random.key(0), (4, 2, 3, 20, 8))
    gradient = jax.grad(lambda a: (attend(a, a, a, 0, True) ** 2).sum())
    one, together = jax.vmap(gradient)(query), gradient(query.reshape(8, 3, 20, 8))
    np.testing.assert_allclose(one.reshape(together.shape), together, atol=1e-5)


def test_long_sequences_never_hold_all_weights(monkeypatch):
    monkeypatch.setattr(efficient_attention, "LONG", 1024)
    query = jnp.ones((1, 1, 1026, 4))
    traced = str(jax.make_jaxpr(attend)(query, query, query))
    assert "342,1026" in traced and "1026,1026" not in traced


@pytest.mark.parametrize("chunk", [0, 1])
def test_its_flops_are_those_of_plain_attention(chunk):
    query = jnp.zeros((2, 3, 64, 8))

    def counted(fused):
        return flops.of_function(jax.grad(lambda a: attend(a, a, a, chunk, fused).sum()), query)

    assert counted(True) == pytest.approx(counted(False), rel=0.35)

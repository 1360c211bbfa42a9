"""The transformers over sites: what each output may depend on, group by group as at once, and sites of every kind."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels as classes
from ddpm_jax.models import Conditioning, Sites, transformer

SMALL: dict[str, Any] = {"channels": 8, "depth": 2, "heads": 2}
CASES = [  # shape, chunk, apart, levels, labels
    ((7, 1), 1, False, 0, 0),
    ((7, 2), 3, False, 5, 3),
    ((5, 4, 1), 1, False, 5, 3),
    ((3, 4, 2), 5, False, 5, 0),
    ((3, 2, 3), 1, True, 5, 0),
    ((3, 2, 3), 4, True, 0, 0),
    ((2, 2, 3, 2), 2, False, 5, 3),
]
"""One, two and three axes; chunks of 1, 2 and more, which divide the sites and which do not."""


@functools.cache
def causal(shape, chunk, apart, levels, labels, values=4):
    """A network with a random order that puts out `values` numbers for each value, and its compiled `apply`."""
    count = np.prod(shape) if apart else np.prod(shape[:-1])
    order = tuple(int(i) for i in np.random.RandomState(count).permutation(count))
    sites = Sites(order, chunk, apart, levels)
    told = Conditioning(classes(labels)) if labels else None
    network = models.make("causal_transformer", shape, values * shape[-1], told, sites, **SMALL)
    return network, jax.jit(network.apply), jax.jit(network.advance)


def image(shape, batch, seed=0):
    """Images on five levels of [-1, 1]."""
    return jnp.asarray(np.random.RandomState(seed).randint(0, 5, (batch, *shape)) / 2 - 1, jnp.float32)


def by_site(a, sites, batch):
    """[batch, sites, numbers of a site]."""
    return np.asarray(a).reshape(batch, len(sites.order), -1)


# The causal network


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_output_depends_on_the_groups_before_and_on_each_of_their_values(filled, case):
    network, apply, _ = causal(*case)
    sites, params, x = network.module.sites, filled(network), image(case[0], 1)
    jacobian = jax.jit(jax.jacobian(lambda x: network.apply(params, x, jnp.zeros(1))))(x)
    count = len(sites.order)
    jacobian = np.abs(np.asarray(jacobian)).reshape(count, -1, count, x.size // count)
    # The embedding of a level has no derivative, so every value is changed as well.
    others = x.reshape(1, -1) + (jnp.where(x.reshape(-1) > 0, -0.5, 0.5) * jnp.eye(x.size))
    rows = jnp.concatenate([x, others.reshape(-1, *case[0])])
    answers = by_site(apply(params, rows, jnp.zeros(len(rows))), sites, len(rows))
    changed = np.abs(answers[1:] - answers[0]).max(-1).reshape(count, -1, count)  # [input, value, output]

    group = np.empty(count, int)
    group[list(sites.order)] = np.arange(count) // sites.chunk
    before = group[:, None] > group  # [output, input]
    assert not jacobian.max((1, 3))[~before].any()
    assert changed.max(1).T[~before].max() < 2e-6  # rounding: rows of a batch are not always added up alike
    assert jacobian.max(1)[before].min() > 1e-4
    assert changed.min(1).T[before].min() > 1e-4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_group_by_group_equals_all_at_once(filled, case):
    network, apply, advance = causal(*case)
    sites, params, batch = network.module.sites, filled(network), 3
    x, condition = image(case[0], batch), {"label": jnp.array([0, 2, 3])} if network.conditions else None
    whole = by_site(apply(params, x, jnp.zeros(batch), condition), sites, batch)
    flat, cache = by_site(x, sites, batch), network.start(params, batch, condition)
    for step in range(sites.groups):
        known = np.full_like(flat, np.nan)  # nothing else is read
        known[:, list(sites.order[: step * sites.chunk])] = flat[:, list(sites.order[: step * sites.chunk])]
        raw, after = advance(params, cache, jnp.asarray(known).reshape(x.shape), jnp.int32(step))
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, cache)
        now, cache = list(sites.order[step * sites.chunk : (step + 1) * sites.chunk]), after
        assert raw.shape == (batch, sites.chunk, whole.shape[-1])
        np.testing.assert_allclose(raw[:, : len(now)], whole[:, now], atol=1e-5)


def test_the_order_and_the_time_are_not_read_where_they_must_not_be(filled):
    """A causal network's answer at t is its answer at any other; sites of one group do not know of one another."""
    network, apply, _ = causal((3, 4, 2), 12, False, 5, 0)
    params, x = filled(network), image((3, 4, 2), 2)
    output = apply(params, x, jnp.array([0.0, 999.0]))
    np.testing.assert_array_equal(output[0], output[1])  # one group of all: nothing is seen
    np.testing.assert_array_equal(apply(params, x, jnp.zeros(2)), output)


def test_levels_are_told_apart_beyond_their_value(filled):
    """Of inputs on a grid of levels, the answer need not be smooth; a value off the grid counts as the nearest."""
    network, apply, _ = causal((7, 1), 1, False, 3, 0)
    params = filled(network)
    for layer in ("first", "near"):
        params[layer]["kernel"] *= 0  # the value itself
    x = jnp.broadcast_to(jnp.array([-1.0, -0.6, 0.0, 0.4, 1.0])[:, None, None], (5, 7, 1))
    output = np.asarray(apply(params, x, jnp.zeros(5)))
    np.testing.assert_array_equal(output[0], output[1])
    np.testing.assert_array_equal(output[2], output[3])
    assert np.abs(output[0] - output[2]).max() > 0.01
    assert np.abs(output[2] - output[4]).max() > 0.01


def test_a_fresh_network_answers_nearly_nothing_and_learns():
    """It copies the site before, which neither places nor levels alone could tell."""
    sites = Sites(tuple(range(6)), levels=3)
    network = models.make("causal_transformer", (6, 1), 3, sites=sites, channels=16, depth=1, heads=2)
    params = jax.jit(network.init)(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    levels = np.random.RandomState(0).randint(0, 3, (64, 6))
    levels[:, 3:] = levels[:, :3]  # the second half repeats the first
    x = jnp.asarray(levels - 1, jnp.float32)[..., None]
    assert 0 < np.abs(jax.jit(network.apply)(params, x, jnp.zeros(64))).max() < 1e-3

    def loss(params):
        logits = jax.nn.log_softmax(network.apply(params, x, jnp.zeros(64)))
        return -jnp.take_along_axis(logits, levels[..., None], -1).mean()

    def step(_, state):
        params, mean, square = state
        gradient = jax.grad(loss)(params)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, square, gradient)
        params = jax.tree.map(lambda p, m, v: p - 0.01 * m / (jnp.sqrt(v) + 1e-8), params, mean, square)
        return params, mean, square

    zeros = jax.tree.map(jnp.zeros_like, params)
    trained, _, _ = jax.jit(lambda state: jax.lax.fori_loop(0, 200, step, state))((params, zeros, zeros))
    # Three sites of three levels: log 3 each in the first half, nothing in the second.
    assert float(jax.jit(loss)(trained)) == pytest.approx(np.log(3) / 2, abs=0.06)


def test_neighbours_are_those_of_earlier_groups():
    """Against distances, on a grid whose sites are revealed two by two in a random order."""
    axes, distance = (3, 5, 2), 1
    places = np.array(list(np.ndindex(*axes)))
    group = np.random.RandomState(0).permutation(len(places)) // 2
    near = np.abs(places[:, None] - places).max(-1) <= distance
    for groups, expected in ((group, near & (group < group[:, None])), (None, near & ~np.eye(len(places), dtype=bool))):
        table = transformer.neighbours(axes, distance, groups)
        assert table.shape[0] == len(places) and table.shape[1] <= 3**3 - 1
        for found, wanted in zip(table, expected, strict=True):
            assert sorted(found[found >= 0]) == list(np.flatnonzero(wanted))
    # A direction is the same column at every site; in raster order half of them are known.
    table = transformer.neighbours((4, 4), 1, np.arange(16))
    assert [list(row) for row in table[[5, 10]]] == [[0, 1, 2, 4], [5, 6, 7, 9]]
    assert list(table[0]) == [-1] * 4


def test_without_context_the_answer_is_attention_alone(filled):
    network, apply, _ = causal((3, 4, 1), 1, False, 5, 0)
    bare = models.make("causal_transformer", (3, 4, 1), 4, sites=network.module.sites, **SMALL, context=0)
    params, x = filled(network), image((3, 4, 1), 2)
    rest = {name: value for name, value in params.items() if name != "near"}
    assert jax.tree.map(jnp.shape, rest) == jax.tree.map(jnp.shape, filled(bare))
    silent = {**params, "near": {"kernel": 0 * params["near"]["kernel"]}}
    np.testing.assert_allclose(
        jax.jit(bare.apply)(rest, x, jnp.zeros(2)), apply(silent, x, jnp.zeros(2)), rtol=0, atol=1e-6
    )


# The network that sees all


@pytest.mark.parametrize(("shape", "apart"), [((7, 2), False), ((2, 3, 2), True), ((2, 2, 2, 1), False)])
def test_hidden_sites_are_not_read_and_visible_ones_are(filled, shape, apart):
    count = int(np.prod(shape) if apart else np.prod(shape[:-1]))
    sites = Sites(tuple(range(count)), 1, apart, 5)
    network = models.make("transformer", (*shape[:-1], 2 * shape[-1]), 4 * shape[-1], None, sites, **SMALL)
    params, apply = filled(network), jax.jit(network.apply)
    x, time = image(shape, 1), jnp.full(1, 500.0)
    visible = np.random.RandomState(1).rand(count) < 0.5
    seen = jnp.broadcast_to(jnp.repeat(jnp.asarray(visible, jnp.float32), x.size // count).reshape(shape), x.shape)

    def answer(values, seen):
        return np.asarray(apply(params, jnp.concatenate([values, seen], -1), time))

    output = answer(x, seen)
    assert output.shape == (1, *shape[:-1], 4 * shape[-1])
    np.testing.assert_array_equal(answer(jnp.where(seen > 0, x, 0.5), seen), output)
    others = x.reshape(-1) + jnp.where(x.reshape(-1) > 0, -0.5, 0.5) * jnp.eye(x.size)
    for number in np.flatnonzero(np.asarray(seen)):
        assert np.abs(answer(others[number].reshape(x.shape), seen) - output).max(-1).min() > 1e-6
    assert np.abs(answer(x * 0, seen * 0) - answer(x * 0, seen * 0 + 1)).max() > 0.01  # hidden is not the level 0
    assert np.abs(apply(params, jnp.concatenate([x, seen], -1), time / 2) - output).max() > 1e-4


@pytest.mark.slow
def test_real_inputs_have_derivatives_of_every_kind(filled):
    """Without sites it serves any process; the flow's likelihood differentiates forwards, distillation twice."""
    network = models.make("transformer", (2, 3, 1), 2, **SMALL)
    params, x = filled(network), jnp.asarray(np.random.RandomState(0).randn(1, 2, 3, 1), jnp.float32)

    @jax.jit
    def output(scale):
        return network.apply(params, x * scale, jnp.ones(1)).sum()

    _, tangent = jax.jit(lambda scale: jax.jvp(output, (scale,), (1.0,)))(1.0)
    assert float(tangent) == pytest.approx(float(output(1.01) - output(0.99)) / 0.02, rel=0.02, abs=1e-3)
    assert np.isfinite(jax.jit(jax.grad(jax.grad(output)))(1.0))


# Mistakes


@pytest.mark.parametrize("name", ["transformer", "causal_transformer"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"channels": 0}, "channels: 0 is not a whole number of at least 1"),
        ({"depth": 0}, "depth: 0 is not"),
        ({"heads": 0}, "heads: 0 is not"),
        ({"channels": 100, "heads": 8}, "heads: 100 channels cannot be split into 8 heads"),
        ({"context": -1}, "context: -1 is not a whole number of at least 0"),
        ({"dropout": 1.0}, "dropout: 1.0 is not a probability in [0, 1)"),
        ({"dtype": "half"}, "dtype: 'half' is unknown"),
        ({"patch": 2}, "patch: the "),
    ],
)
def test_a_mistake_names_what_to_change(refused, name, options, line):
    refused(name, (2, 2, 1), {"sites": Sites((0, 1, 2, 3)), **options} if name in models.CAUSAL else options, line)


def test_wrong_sites_raise():
    with pytest.raises(ValueError, match="order of the sites"):
        models.make("causal_transformer", (2, 2, 1), 1)
    for order in ((0, 1, 2), (0, 1, 2, 2)):
        with pytest.raises(ValueError, match="each site once"):
            models.make("causal_transformer", (2, 2, 1), 1, sites=Sites(order))
    with pytest.raises(ValueError, match="chunk"):
        models.make("causal_transformer", (2, 2, 1), 1, sites=Sites((0, 1, 2, 3), chunk=5))
    with pytest.raises(ValueError, match="visibility"):
        models.make("transformer", (2, 2, 1), 1, sites=Sites((0, 1, 2, 3)))
    with pytest.raises(ValueError, match="out_channels"):
        models.make("causal_transformer", (2, 1, 2), 3, sites=Sites((0, 1, 2, 3), apart=True))


def test_right_options_pass():
    sites = Sites(tuple(range(784)), levels=2)
    models.check("causal_transformer", (28, 28, 1), sites=sites, **models.options("causal_transformer"))
    models.check("transformer", (28, 28, 2), Conditioning(classes(10)), sites, channels=64, heads=4, dropout=0)
    models.check("transformer", (32, 32, 3))

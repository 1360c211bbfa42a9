"""The table's conditionals against sums over all images one by one, and its figures where they are known by hand."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.oracles import JointTable
from ddpm_jax.oracles.joint_table import reveal_law, site_sets
from ddpm_jax.processes import MASK, ORDERS, Ordered, make_order
from ddpm_jax.schedules.keeping import KEEPS

VALUES = np.linspace(-1, 1, 3)
RANDOM = np.random.default_rng(0).dirichlet(np.full(81, 0.4)).reshape(3, 3, 3, 3)


def made(name, space=(2, 2), channels=1, apart=False, chunk=1):
    return Ordered(make_order(name, space, channels, apart, chunk), KEEPS["linear"], apart)


def test_denoiser_by_sums_over_all_images():
    """Every one of the 4^4 states of 4 sites, hidden or at a level."""
    table, process = JointTable(RANDOM, VALUES), made("raster")
    partial = list(itertools.product([None, 0, 1, 2], repeat=4))
    x_t = jnp.asarray([[MASK if k is None else VALUES[k] for k in row] for row in partial], jnp.float32)
    posterior = jax.jit(table.denoiser(process))(x_t.reshape(-1, 2, 2, 1), jnp.float32(0.5), None)
    chances = np.asarray(jax.nn.softmax(posterior.logits)).reshape(-1, 4, 3)
    for row, found in zip(partial, chances, strict=True):
        expected = np.zeros((4, 3))
        for state in itertools.product(range(3), repeat=4):
            if all(k is None or k == level for k, level in zip(row, state, strict=True)):
                expected[np.arange(4), state] += RANDOM[state]
        np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_channels_are_values_of_their_own():
    table = JointTable(RANDOM, VALUES)
    x_t = jnp.full((1, 2, 2), MASK).at[0, 1].set(jnp.asarray(VALUES[[2, 0]], jnp.float32))  # two pixels of two channels
    chances = jax.nn.softmax(table.denoiser(made("raster", (2,), 2))(x_t, jnp.float32(0.5), None).logits)
    expected = RANDOM[:, :, 2, 0] / RANDOM[:, :, 2, 0].sum()
    np.testing.assert_allclose(chances[0, 0, 0], expected.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(chances[0, 0, 1], expected.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(chances[0, 1], [[0, 0, 1], [1, 0, 0]], atol=1e-6)


def test_states_and_their_probabilities():
    table = JointTable(RANDOM, VALUES)
    states = table.states((2, 2))
    assert states.shape == (81, 2, 2, 1) and len(np.unique(states, axis=0)) == 81
    np.testing.assert_array_equal(table.index(jnp.asarray(states)), np.arange(81))
    log_p = np.asarray(table.log_probability(jnp.asarray(states)), np.float64)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-6)
    x = jnp.asarray(VALUES[[0, 2, 1, 1]], jnp.float32).reshape(1, 2, 2, 1)
    assert float(table.log_probability(x)[0]) == pytest.approx(np.log(RANDOM[0, 2, 1, 1]), rel=1e-6)
    assert table.entropy == pytest.approx(-np.sum(np.exp(log_p) * log_p), rel=1e-5)


@pytest.mark.parametrize("name", list(ORDERS))
def test_values_that_do_not_depend_on_one_another_cost_the_same_in_any_groups(name):
    margins = np.random.default_rng(1).dirichlet(np.ones(3), size=4)
    table = JointTable(np.einsum("a,b,c,d->abcd", *margins), VALUES)
    expected = -np.sum(margins * np.log(margins))
    assert table.entropy == pytest.approx(expected)
    for chunk in (1, 2, 4) if name != "independent" else (1,):
        process = made(name, chunk=chunk)
        assert table.group_entropy(process.order) == pytest.approx(expected)
        np.testing.assert_allclose(table.sampled_law(process, np.array([1, 0.4, 0])), table.probabilities, atol=1e-12)


def test_two_equal_pairs_by_hand():
    """Sites (a, a, b, b), a and b fair among 3 levels: 2 log 3 nats, and log 3 more for each pair taken at once."""
    probabilities = np.zeros((3, 3, 3, 3))
    for a, b in itertools.product(range(3), repeat=2):
        probabilities[a, a, b, b] = 1 / 9
    table, log3 = JointTable(probabilities, VALUES), np.log(3)
    assert table.entropy == pytest.approx(2 * log3)
    costs = {("raster", 1): 2, ("raster", 2): 4, ("raster", 4): 4, ("random", 1): 2, ("independent", 1): 2}
    costs["random", 2] = 2 + 2 * 1 / 3  # one pairing of three puts equal sites together
    costs["spread", 2] = 2  # the corners (0, 0) and (1, 1) are an a and a b
    for (name, chunk), cost in costs.items():
        assert table.group_entropy(make_order(name, (2, 2), chunk=chunk)) == pytest.approx(cost * log3)
    raster = table.sampled_law(made("raster", chunk=2), np.array([1, 0.5, 0]))
    np.testing.assert_allclose(raster, np.full((3, 3, 3, 3), 1 / 81))
    spread = table.sampled_law(made("spread", chunk=2), np.array([1, 0.5, 0]))
    np.testing.assert_allclose(spread, probabilities, atol=1e-12)
    assert raster.sum() == pytest.approx(1)  # though it comes to images that the table does not have
    pixels = make_order("raster", (2,), 2)  # a pixel's two channels are equal, and drawn at once
    assert table.group_entropy(pixels) == pytest.approx(4 * log3)


@pytest.mark.parametrize("name, chunk", [("raster", 2), ("random", 1), ("random", 2), ("independent", 1)])
def test_visible_sets_have_probabilities_and_two_moves_are_one(name, chunk):
    """Chapman and Kolmogorov: from 1 to 1/2 and on to 0.2 is from 1 to 0.2."""
    order = make_order(name, (2, 2), chunk=chunk)
    first, second = reveal_law(order, 0.0, 0.5), reveal_law(order, 0.5, 0.8)
    np.testing.assert_allclose(first.sum(axis=1), 1)
    np.testing.assert_allclose((first @ second)[0], reveal_law(order, 0.0, 0.8)[0])
    assert reveal_law(order, 0.5, 1.0)[3, 15] == pytest.approx(1)


def test_hiding_again_keeps_the_share():
    order = make_order("independent", (4,))
    sizes = site_sets(4).sum(axis=1)
    at_t = reveal_law(order, 0.0, 0.4)[0]
    for eta, cap in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.0, 0.1)):
        moves = reveal_law(replace(order, remask_cap=cap), 0.4, 0.7, eta)
        np.testing.assert_allclose(at_t @ moves, reveal_law(order, 0.0, 0.7)[0])
        assert (moves[sizes == 4][:, sizes < 4].sum() > 0) == (eta > 0)

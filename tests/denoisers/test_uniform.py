"""The denoiser of uniform corruption: Bayes' rule at a value, and the step of Austin et al. 2021."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import UniformDenoiser, UniformPrediction
from ddpm_jax.processes import Ordered, Uniform, make_order
from ddpm_jax.schedules.keeping import KEEPS

K = 3
VALUES = np.linspace(-1, 1, K).astype(np.float32)
PROCESS = Uniform(KEEPS["cosine"], VALUES)
RAW = np.random.default_rng(0).normal(size=(2, 2, 2, 2 * K)).astype(np.float32)
X_T = jnp.asarray(VALUES[np.random.default_rng(1).integers(0, K, (2, 2, 2, 2))])


def test_the_network_sees_the_image_and_the_time_and_gives_a_logit_a_level():
    seen = {}

    def network(x, time, condition):
        seen.update(x=x, time=time, condition=condition)
        return jnp.asarray(RAW)

    said = UniformPrediction()
    posterior = said.denoiser(network, PROCESS)(X_T, jnp.float32(0.5), "told")
    assert said.likely and said.numbers(2, K) == 2 * K and said.network_shape((8, 8, 3)) == (8, 8, 3)
    np.testing.assert_array_equal(seen["x"], X_T)
    np.testing.assert_allclose(seen["time"], [499.5, 499.5])
    assert seen["condition"] == "told"
    assert posterior.logits.shape == (2, 2, 2, 2, K)
    np.testing.assert_array_equal(posterior.values, VALUES)


@pytest.mark.parametrize("t", [0.01, 0.4, 1.0])
def test_the_logits_are_a_prior_that_the_values_own_state_makes_a_posterior(t):
    kept = float(PROCESS.keep(t))
    likelihood = np.where(np.asarray(X_T)[..., None] == VALUES, kept + (1 - kept) / K, (1 - kept) / K)
    expected = np.exp(RAW.reshape(2, 2, 2, 2, K)) * likelihood
    posterior = UniformDenoiser(lambda *_: jnp.asarray(RAW), PROCESS)(X_T, t)
    chances = jax.nn.softmax(posterior.logits)
    np.testing.assert_allclose(chances, expected / expected.sum(axis=-1, keepdims=True), atol=2e-6)


def test_a_step_is_the_sum_over_clean_levels_of_what_they_say_of_both_states():
    """p(x_s | x_t), proportional to the sum of q(x_s, x_t | x) softmax(raw)(x), against the step with the posterior."""
    t, s = 0.7, 0.3
    to_s, to_t = (float(PROCESS.keep(u)) for u in (s, t))
    near, on = (share * np.eye(K) + (1 - share) / K for share in (to_s, to_t / to_s))  # [from, to]
    raw = RAW[..., :K].reshape(-1, K)[:K]
    theirs = np.stack([np.exp(raw[i]) @ near * on[:, i] for i in range(K)])  # a row for each x_t
    x_t = jnp.asarray(VALUES)[:, None]
    posterior = UniformDenoiser(lambda *_: jnp.asarray(raw), PROCESS)(x_t, t)
    chances = np.asarray(jax.nn.softmax(posterior.logits))[:, 0]
    back = near[:, None, :] * on.T[None]  # [x, x_t, x_s]
    ours = np.einsum("tx,xts->ts", chances, back / back.sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(ours, theirs / theirs.sum(axis=-1, keepdims=True), atol=1e-6)


def test_it_is_for_no_other_process():
    hiding = Ordered(make_order("independent", (2, 2)), KEEPS["linear"])
    assert [part for part, _ in UniformPrediction().refusals(hiding.traits())] == ["prediction"]
    assert not [*UniformPrediction().refusals(PROCESS.traits())]

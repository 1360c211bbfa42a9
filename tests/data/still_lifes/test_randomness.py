"""Random numbers by place: uniform, independent, the same in any batch."""

import numpy as np

from ddpm_jax.data.still_lifes.randomness import uniforms


def test_a_row_is_the_same_in_any_batch():
    whole = uniforms(5, np.arange(100), 1, 7)
    np.testing.assert_array_equal(uniforms(5, np.array([42, 7]), 1, 7), whole[[42, 7]])
    np.testing.assert_array_equal(uniforms(5, np.arange(100), 1, 3), whole[:, :3])


def test_rows_places_seeds_and_purposes_are_uniform_and_independent():
    """Each tenth has its share, and correlations of neighbours vanish, within five standard errors."""
    base = uniforms(0, np.arange(20_000), 1, 5)
    tenths = np.bincount((base.ravel() * 10).astype(int), minlength=10)
    assert base.min() >= 0 and base.max() < 1
    assert np.all(np.abs(tenths - base.size / 10) < 5 * np.sqrt(base.size * 0.09))
    others = [base[:, [1, 2, 3, 4, 0]], np.roll(base, 1, axis=0)]
    others += [uniforms(1, np.arange(20_000), 1, 5), uniforms(0, np.arange(20_000), 2, 5)]
    others += [uniforms(-1, np.arange(20_000), 1, 5)]
    for other in others:
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(base.size)

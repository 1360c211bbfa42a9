"""The law of training times."""

import jax
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.schedules.times import discrete


@pytest.mark.parametrize("steps", [2, 7])
def test_discrete_times_are_uniform_over_all_intervals(steps):
    t, s = (np.asarray(times, np.float64) for times in discrete(steps)(jax.random.key(0), 20_000))
    index = np.round(t * steps).astype(int)
    np.testing.assert_allclose(t, index / steps, atol=1e-6)
    np.testing.assert_allclose(s, (index - 1) / steps, atol=1e-6)
    assert (index.min(), index.max()) == (1, steps)
    assert np.all((s == 0) == (index == 1))
    assert stats.chisquare(np.bincount(index, minlength=steps + 1)[1:]).pvalue > 1e-3

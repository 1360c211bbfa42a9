import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from ddpm_jax.metrics.frechet import frechet_distance, frechet_of_moments, moments


def random_moments(seed, dimension, rank=None):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dimension, rank or 2 * dimension))
    return rng.normal(size=dimension), factor @ factor.T / dimension


def test_covariances_that_commute_have_a_closed_form():
    rng = np.random.default_rng(0)
    basis = ortho_group.rvs(6, random_state=0)
    a, b = rng.uniform(0.1, 3, (2, 6))
    shift = rng.normal(size=6)
    distance = frechet_of_moments(shift, basis @ np.diag(a) @ basis.T, np.zeros(6), basis @ np.diag(b) @ basis.T)
    assert distance == pytest.approx(shift @ shift + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-12)


def test_one_dimension_by_hand():
    # Means 1 and 4, variances 4 and 1 (over n - 1 = 2): 9 + (2 - 1)^2.
    assert frechet_distance(np.array([[-1.0], [1.0], [3.0]]), np.array([[3.0], [4.0], [5.0]])) == pytest.approx(10)


@pytest.mark.parametrize("dimension", [3, 40])
def test_random_covariances_agree_with_the_matrix_square_root(dimension):
    (mean_a, a), (mean_b, b) = random_moments(1, dimension), random_moments(2, dimension)
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_of_moments(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances():
    """Two lines at angle theta: tr (A^1/2 B A^1/2)^1/2 is |cos theta| times the standard deviations."""
    theta = 0.3
    u, v = np.eye(5)[0], np.cos(theta) * np.eye(5)[0] + np.sin(theta) * np.eye(5)[1]
    distance = frechet_of_moments(np.zeros(5), 4 * np.outer(u, u), np.zeros(5), 9 * np.outer(v, v))
    assert distance == pytest.approx(4 + 9 - 2 * 2 * 3 * np.cos(theta), rel=1e-6)
    few = np.random.default_rng(0).normal(size=(5, 60))  # fewer examples than features
    assert np.isfinite(frechet_distance(few, few + 1))
    assert frechet_distance(few, few + 1) == pytest.approx(60, rel=1e-5)


def test_invariances():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(200, 8)), 1.5 * rng.normal(size=(300, 8)) + 0.3
    distance = frechet_distance(a, b)
    rotation, shift = ortho_group.rvs(8, random_state=1), rng.normal(size=8)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-10)
    assert frechet_distance(a @ rotation + shift, b @ rotation + shift) == pytest.approx(distance, rel=1e-10)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, rel=1e-10)
    assert frechet_distance(a, rng.permutation(a)) == pytest.approx(0, abs=1e-9)


def test_two_samples_of_one_normal_come_close_as_they_grow():
    rng = np.random.default_rng(4)
    small, large = (frechet_distance(*rng.normal(size=(2, count, 10))) for count in (100, 10_000))
    assert large < small / 20  # the bias falls like 1/n


def test_moments_are_those_of_numpy_and_need_two_rows():
    x = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)
    mean, covariance = moments(x)
    assert mean.dtype == covariance.dtype == np.float64
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64).T), rtol=1e-12)
    with pytest.raises(ValueError, match="two examples"):
        moments(x[:1])

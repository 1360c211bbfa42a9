import numpy as np
import pytest

from ddpm_jax.metrics.manifold import inside_manifold, precision_recall


def brute_force(points, manifold, neighbours):
    inside = []
    for point in points:
        found = False
        for i, centre in enumerate(manifold):
            others = sorted(np.linalg.norm(centre - other) for j, other in enumerate(manifold) if j != i)
            found |= bool(np.linalg.norm(point - centre) <= others[neighbours - 1])
        inside.append(found)
    return np.array(inside)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_agrees_with_loops(neighbours):
    rng = np.random.default_rng(0)
    points, manifold = rng.normal(size=(60, 4)) * 1.5, rng.normal(size=(50, 4)) + 10
    points += 10
    inside = inside_manifold(points, manifold, neighbours)
    np.testing.assert_array_equal(inside, brute_force(points, manifold, neighbours))
    assert 0 < inside.sum() < 60


def test_identical_and_disjoint_sets():
    a = np.random.default_rng(1).normal(size=(100, 5))
    same = precision_recall(a, a.copy())
    apart = precision_recall(a, a + 100)
    assert (same.precision, same.recall) == (1, 1)
    assert (apart.precision, apart.recall) == (0, 0)


def test_a_dropped_mode_lowers_recall_by_its_weight():
    """The reference has four far modes of equal weight, the samples exactly one of them."""
    rng = np.random.default_rng(2)
    modes = [rng.normal(size=(50, 3)) + 100 * mode for mode in range(4)]
    result = precision_recall(modes[0], np.concatenate(modes))
    assert (result.precision, result.recall) == (1, 0.25)
    reverse = precision_recall(np.concatenate(modes), modes[0])
    assert (reverse.precision, reverse.recall) == (0.25, 1)


def test_balls_are_closed_and_reach_to_the_kth_other_point():
    line = np.arange(6.0)[:, None] * 10  # the third neighbour of an end lies 30 away, of the inside points 20
    points = np.array([[-30.0], [-30.1], [80.0], [80.1]])
    assert inside_manifold(points, line, 3).tolist() == [True, False, True, False]


def test_duplicates_far_from_the_origin_are_inside_their_ball_of_radius_zero():
    points = np.full((10, 64), 1e4) + np.arange(64) / 7
    result = precision_recall(points, points.copy())
    assert (result.precision, result.recall) == (1, 1)


def test_many_blocks_give_the_same_as_one(monkeypatch):
    import sklearn.metrics

    rng = np.random.default_rng(3)
    points, manifold = rng.normal(size=(3000, 2)), rng.normal(size=(800, 2))
    expected = inside_manifold(points, manifold, 3)
    chunked, blocks = sklearn.metrics.pairwise_distances_chunked, []

    def small(*arguments, reduce_func, **options):
        def counted(block, start):
            blocks.append(block.nbytes)
            return reduce_func(block, start)

        return chunked(*arguments, reduce_func=counted, **(options | {"working_memory": 1}))

    monkeypatch.setattr(sklearn.metrics, "pairwise_distances_chunked", small)
    np.testing.assert_array_equal(inside_manifold(points, manifold, 3), expected)
    assert len(blocks) > 10
    assert max(blocks) <= 2**20


def test_too_few_points():
    with pytest.raises(ValueError, match="too few"):
        precision_recall(np.zeros((3, 2)), np.zeros((3, 2)))

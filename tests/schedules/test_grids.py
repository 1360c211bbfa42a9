"""Time grids: counts, ends and spacing for every small case, and the published examples."""

import numpy as np
import pytest

from ddpm_jax.schedules.grids import SPACINGS, table_grid


def test_published_examples():
    np.testing.assert_allclose(table_grid(1000, 10, "trailing") * 1000, [*range(1000, 0, -100), 0], atol=1e-9)
    np.testing.assert_allclose(table_grid(1000, 10, "leading") * 1000, [*range(901, 0, -100), 0], atol=1e-9)
    assert table_grid(1000, 10).tolist() == table_grid(1000, 10, "trailing").tolist()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_small_grid(spacing):
    for total in range(1, 31):
        for steps in range(1, total + 1):
            grid = table_grid(total, steps, spacing)
            indices = np.round(grid * total)
            np.testing.assert_allclose(grid * total, indices, atol=1e-12)  # times of the table, no others
            gaps = -np.diff(indices)
            assert len(grid) == steps + 1
            assert grid[-1] == 0
            assert np.all(gaps >= 1)
            if spacing == "trailing":
                assert grid[0] == 1
                assert np.all(np.abs(gaps - total / steps) <= 1)
            else:
                assert indices[-2] == 1
                assert np.all(gaps[:-1] == total // steps)
                assert indices[0] <= total
        np.testing.assert_allclose(table_grid(total, total, spacing) * total, np.arange(total, -1, -1), atol=1e-12)


@pytest.mark.parametrize("steps", [0, 11])
def test_more_steps_than_the_table_has_are_refused(steps):
    with pytest.raises(ValueError, match="does not fit"):
        table_grid(10, steps)


def test_an_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="trailing"):
        table_grid(10, 5, "even")

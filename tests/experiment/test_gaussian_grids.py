"""A config's time grids, of noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.config.base import base
from ddpm_jax.experiment import gaussian, grids
from ddpm_jax.generative import bound_grid


def changed(**changes):
    config = base()
    config.update_from_flattened_dict(changes)
    return config


def test_in_discrete_time_the_sampler_visits_levels_of_training():
    """Whatever the spacing, on a schedule that is known everywhere but was trained at i/T."""
    for spacing in ("uniform", "quadratic", "log_snr"):
        config = changed(**{"process.schedule": "vp", "process.steps": 50, "sampler.spacing": spacing})
        grid = grids.sampling_grid(config, gaussian.make_process(config), 7)
        np.testing.assert_allclose(grid * 50, np.round(grid * 50), atol=1e-9)
        assert (grid[0], grid[-2], grid[-1], len(grid)) == (1, 0.02, 0, 8)
        assert (np.diff(grid) < 0).all()


@pytest.mark.parametrize(
    ("schedule", "steps", "least"),
    # sigma/alpha = 0.02: flow t/(1 - t); vp exp(B) - 1 with B = 0.1 t + 9.95 t^2; the table is nearly vp at i/1000
    [("flow", 0, 0.02 / 1.02), ("vp", 0, 0.0030675), ("ddpm_linear", 1000, 0.003)],
)
def test_the_decoder_takes_over_where_it_is_told_to(schedule, steps, least):
    changes = {"process.schedule": schedule, "process.steps": steps, "sampler.spacing": "uniform"}
    one = changed(**changes, **{"evaluation.decoder_noise": 0.02})
    process = gaussian.make_process(one)
    grid, _ = bound_grid(process, steps, None, decoder_noise=0.02)
    traced = jax.jit(lambda: jnp.asarray(bound_grid(process, steps, None, decoder_noise=0.02)[0]))()
    np.testing.assert_array_equal(traced, grid.astype(np.float32))
    assert (grid[0], grid[-1]) == (1, 0) and (np.diff(grid) < 0).all()
    assert grid[-2] == pytest.approx(least, rel=2e-3)
    assert bound_grid(process, steps, None)[0][-2] == pytest.approx(grids.t_min(one))


def test_levels_between_entries_are_asked_for_exactly():
    changes = {"process.schedule": "ddpm_scaled_linear", "sampler.spacing": "karras", "sampler.steps": 8}
    changes |= {"sampler.sigma_min": 0.05, "sampler.sigma_max": 10.0, "sampler.rho": 3.0}
    at, between = changed(**changes), changed(**changes, **{"sampler.between": True})
    process = gaussian.make_process(at)
    levels = np.linspace(10 ** (1 / 3), 0.05 ** (1 / 3), 8) ** 3
    moved, exact = grids.sampling_grid(at, process), grids.sampling_grid(between, process)
    np.testing.assert_allclose(moved * 1000, np.round(moved * 1000), atol=1e-9)
    with jax.enable_x64(True):
        alpha, sigma = grids.sampling_process(between, process).known(exact[:-1])
    np.testing.assert_allclose(sigma / alpha, levels, rtol=1e-8)


def test_times_given_are_the_grid_and_no_others_can_be_asked_for():
    config = changed(**{"sampler.times": (1, 0.5, 0.1, 0), "sampler.steps": 0})
    process = gaussian.make_process(config)
    assert grids.sampling_grid(config, process).tolist() == [1, 0.5, 0.1, 0]
    assert grids.sampling_grid(config, process, 3).tolist() == [1, 0.5, 0.1, 0]
    with pytest.raises(ValueError, match="3 steps of them, and not 7"):
        grids.sampling_grid(config, process, 7)

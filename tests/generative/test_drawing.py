"""Drawing a step at a time gives what one program gives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax import data
from ddpm_jax.config import families
from ddpm_jax.config.base import digits, digits_transformer
from ddpm_jax.devices.plan import Plan
from ddpm_jax.experiment import make
from ddpm_jax.generative import Sampler, Steps

pytestmark = pytest.mark.slow


def run(family, **sampler):
    config, dataset = digits(), data.load("digits")
    getattr(families, family)(config)
    if family in ("masked", "autoregressive"):
        digits_transformer(config)
        config.model.depth = 1
    config.model.channels, config.model.conditions = 16, ("label",)
    config.sampler.guidance = 1.0 if family == "autoregressive" else 2.0
    for name, value in sampler.items():
        config.sampler[name] = value
    experiment = make(config, dataset.description)
    params = experiment.model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.05 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    return experiment.model, experiment.sampling_in(), params


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("flow", {"name": "unipc", "steps": 5}),
        ("flow", {"name": "heun", "steps": 4, "restarts": 1, "restart_range": (0.1, 5.0)}),
        ("ddpm", {"name": "ddpm", "steps": 5}),
        ("masked", {"steps": 6}),
        ("autoregressive", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("name", "own"),
)
def test_a_step_at_a_time_is_the_whole_program(family, options):
    model, how, params = run(family, **options)
    steps, told = len(how.grid) - 1, {"label": np.array([3, 7, 1], np.int32)}
    plan = Plan(devices=tuple(jax.devices()[:1]))
    images, (x_t, x_hat), evaluations = Sampler(model, how, plan, 3, tuple(range(steps)))(params, 5, 3, told)
    frames = list(Steps(model, how)(params, 5, 3, told))
    assert [frame.step for frame in frames] == list(range(1, steps + 1))
    assert all(frame.images is None for frame in frames[:-1])
    assert np.abs(frames[-1].images.astype(int) - np.asarray(images)).max() <= (0 if family != "ddpm" else 1)
    np.testing.assert_allclose(np.stack([frame.x_t for frame in frames], 1), x_t, atol=2e-3)
    np.testing.assert_allclose(np.stack([frame.x_hat for frame in frames], 1), x_hat, atol=2e-3)
    assert frames[-1].evaluations == evaluations[0]


def test_looking_changes_no_image():
    """Where the posterior is a normal, of which steps use draws: frames show its mean, and images stay."""
    model, how, params = run("ddpm", name="ddpm", eta=1.0, steps=4)
    plan, told = Plan(devices=tuple(jax.devices()[:1])), {"label": np.array([3, 7], np.int32)}
    plain = Sampler(model, how, plan, 2)(params, 5, 2, told)[0]
    looked, (x_t, x_hat), _ = Sampler(model, how, plan, 2, (1,))(params, 5, 2, told)
    assert np.abs(np.asarray(plain).astype(int) - looked).max() <= 1
    denoise = how.wrapped(model.denoiser(params), model, params=params)
    posterior = denoise(jnp.asarray(x_t[:, 0]), float(how.grid[1]), jax.tree.map(jnp.asarray, told))
    assert posterior.variance is not None
    np.testing.assert_allclose(x_hat[:, 0], posterior.mean, atol=2e-3)


def test_a_solver_that_takes_no_steps_of_a_grid_shows_its_end():
    model, how, params = run("flow", name="tsit5")
    images, _, evaluations = Sampler(model, how, Plan(devices=tuple(jax.devices()[:1])), 2)(params, 1, 2)
    (frame,) = Steps(model, how)(params, 1, 2)
    assert frame.x_hat is None and frame.evaluations == evaluations[0]
    assert np.abs(frame.images.astype(int) - np.asarray(images)).max() <= 1


def test_the_solvers_steps_are_its_walk():
    """Of a law that is known: `Walk` alone, without a model."""
    process = dj.Gaussian(dj.schedules.VP())
    law = dj.oracles.GaussianMixture(jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    solver, grid, keys = dj.samplers.DPM2M(), process.grid(6), jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(jax.random.key(1), (4, 2))
    problem = dj.samplers.Problem(process, law.denoiser(process), None, grid)
    whole, _ = dj.samplers.walk(solver, problem, keys, x)
    one, memory = dj.samplers.Walk(solver, problem, keys), solver.start(problem, x)
    for i, (t, s) in enumerate(itertools.pairwise(grid)):
        x, _, memory = one.step(x, memory, i, float(t), float(s))
    np.testing.assert_allclose(x, whole, rtol=1e-5, atol=1e-6)

"""Samplers by name: what each promises of films, keys, costs and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import as_point
from ddpm_jax.exact import GaussianMixture
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import SAMPLERS, SamplerOptions, make, refusal
from ddpm_jax.schedules import VE

EXPLODING = Gaussian(VE(0.02, 5.0))
GRID = np.array([1, 0.7, 0.45, 0.2, 0.0])
ETA = {name: float(sampler.etas[0]) for name, sampler in SAMPLERS.items()}


@jax.tree_util.Partial
def mixture(x_t, t, condition):
    means = jnp.asarray([[-1.0, 0.5, 0.2], [0.8, -0.6, 0.1]])
    exact = GaussianMixture(jnp.array([0.3, 0.7]), means, jnp.stack([0.05 * jnp.eye(3)] * 2))
    return exact.denoiser(EXPLODING)(x_t - condition, t, None)


def choices(name, **options):
    return SamplerOptions(**{"eta": ETA[name], "langevin_step": 1e-4, "corrector_steps": 1, **options})


def runner(name, heard=None, **options):
    """A sampler with a denoiser that reports each of its calls."""

    def denoise(x_t, t, condition):
        if heard is not None:
            jax.debug.callback(lambda time: heard.append(float(time)), jnp.ravel(t)[0])
        return as_point(mixture)(x_t, t, condition)

    def run(keys, condition, frames=()):
        start = EXPLODING.prior(random.fold_in(keys, 99), (len(keys), 3))
        return make(name, EXPLODING, denoise, condition, choices(name, **options))(GRID, keys, start, frames)

    return jax.jit(run, static_argnums=2)


CASES = [
    *((name, {}) for name in SAMPLERS),
    ("first_order", {"eta": 1.0}),
    ("dpm_2m", {"eta": 1.0}),
    ("euler", {"eta": 1.0}),
    ("heun", {"churn": 2.0}),
    ("predictor_corrector", {"corrector_steps": 3}),
    ("annealed_langevin", {"corrector_steps": 3}),
]
NAMED = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])


@NAMED
def test_an_image_depends_on_its_own_key_and_condition_alone(name, options):
    keys = random.per_example(jax.random.key(5), jnp.arange(6))
    shift = jnp.linspace(0, 1, 6)[:, None]
    run = runner(name, **options)
    whole, film, evaluations = run(keys, shift, (3, 0))
    some = np.array([4, 1])
    again, small, fewer = run(keys[some], shift[some], (3, 0))
    np.testing.assert_allclose(again, whole[some], atol=2e-4)
    np.testing.assert_allclose(small, np.stack(film)[:, :, some], atol=2e-3)
    if name != "tsit5":
        np.testing.assert_array_equal(fewer, evaluations[some])
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    assert np.all(np.isfinite(whole))


@NAMED
def test_a_film_shows_the_state_at_its_times_and_changes_nothing(name, options):
    keys = random.per_example(jax.random.key(5), jnp.arange(2))
    run = runner(name, **options)
    x, (states, estimates), _ = run(keys, jnp.zeros((2, 1)), (2, 0))
    assert states.shape == estimates.shape == (2, 2, 3)
    plain, (none, _), _ = run(keys, jnp.zeros((2, 1)))
    np.testing.assert_allclose(x, plain, atol=1e-4)
    assert none.shape == (0, 2, 3)
    np.testing.assert_allclose(states[1], EXPLODING.prior(random.fold_in(keys, 99), (2, 3)), rtol=1e-6)
    if name in ("first_order", "euler", "reverse_diffusion", "tsit5"):
        shown = as_point(mixture)(states[0], jnp.float32(GRID[2]), jnp.zeros((2, 1))).mean
        np.testing.assert_allclose(estimates[0], shown, atol=1e-5)


@NAMED
def test_the_network_is_called_as_often_as_said(name, options):
    """With one image, for the calls of an adaptive sampler are those of the slowest; never at t = 0."""
    heard = []
    _, _, evaluations = runner(name, heard, **options)(random.per_example(jax.random.key(1), jnp.arange(1)), jnp.zeros((1, 1)))
    jax.effects_barrier()
    assert len(heard) == evaluations.item()
    said = SAMPLERS[name].evaluations(len(GRID) - 1, choices(name, **options))
    assert said in (None, len(heard))
    assert min(heard) > 0
    if name == "tsit5":
        assert max(heard) == 1
        np.testing.assert_allclose(min(heard), 0.2, rtol=1e-6)


def test_tolerances_buy_evaluations():
    keys = random.per_example(jax.random.key(1), jnp.arange(4))
    loose, tight = (
        np.asarray(runner("tsit5", rtol=tolerance, atol=tolerance)(keys, jnp.zeros((4, 1)))[2])
        for tolerance in (1e-2, 1e-5)
    )
    assert np.all(loose < tight)


def test_an_unfinished_solution_is_no_number(monkeypatch):
    monkeypatch.setattr("ddpm_jax.samplers.adaptive.MAX_STEPS", 2)
    keys = random.per_example(jax.random.key(1), jnp.arange(2))
    assert np.all(np.isnan(runner("tsit5")(keys, jnp.zeros((2, 1)))[0]))


FACTS = {"gaussian": True, "continuous": True, "zero_terminal": False}


@pytest.mark.parametrize(
    ("name", "options", "facts", "key"),
    [
        ("heun", {"eta": 1.0}, {}, "eta"),
        ("tsit5", {"eta": 0.5}, {}, "eta"),
        ("predictor_corrector", {"eta": 0.0}, {}, "eta"),
        ("first_order", {"eta": 1.5}, {}, "eta"),
        ("dpm_2m", {"churn": 1.0}, {}, "churn"),
        ("first_order", {"churn": 1.0}, {"gaussian": False}, "churn"),
        ("heun", {"corrector_steps": 2}, {}, "corrector_steps"),
        ("heun", {}, {"gaussian": False}, "name"),
        ("euler", {}, {"continuous": False}, "name"),
        ("tsit5", {}, {"continuous": False}, "name"),
        ("euler", {"eta": 1.0}, {"zero_terminal": True}, "name"),
        ("reverse_diffusion", {}, {"zero_terminal": True}, "name"),
        ("predictor_corrector", {}, {"zero_terminal": True}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, options, facts, key):
    refused = refusal(name, choices(name, **options), **{**FACTS, **facts})
    assert refused is not None
    assert refused[0] == key
    assert "\n" not in refused[1]


@pytest.mark.parametrize(
    ("name", "options", "facts"),
    [
        *((name, {}, {}) for name in SAMPLERS),
        ("heun", {"churn": 5.0}, {"continuous": False}),
        ("first_order", {"eta": 1.0}, {"gaussian": False, "continuous": False, "zero_terminal": True}),
        ("euler", {}, {"zero_terminal": True}),
        ("dpm_2m", {"eta": 1.0}, {"zero_terminal": True}),
        ("annealed_langevin", {"corrector_steps": 100}, {"zero_terminal": True}),
    ],
)
def test_what_fits_is_not_refused(name, options, facts):
    assert refusal(name, choices(name, **options), **{**FACTS, **facts}) is None

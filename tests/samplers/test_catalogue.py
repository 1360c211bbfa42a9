"""Solvers by name: what each promises of films, keys, costs and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian, Traits
from ddpm_jax.samplers import DPM2M, SOLVERS, Churned, FirstOrder, Heun, Problem, make, unread
from ddpm_jax.schedules import VE

EXPLODING = Gaussian(VE(0.02, 5.0))
GRID = np.array([1, 0.7, 0.45, 0.2, 0.0])
ETA = {name: float(solver.etas[0]) for name, solver in SOLVERS.items()}


def two_balls(x_t, t, condition):
    """The exact posterior mean of two balls of variance 0.05 around condition + 0.6 and condition - 0.6."""
    _, sigma = EXPLODING.at(t, x_t)
    spread = 0.05 + sigma**2
    place = x_t - condition
    side = 0.6 * jnp.tanh((0.6 * place / spread).sum(-1, keepdims=True))
    return Normal(condition + side + 0.05 / spread * (place - side))


def choices(name, **options):
    """As a config has them: what a solver does not read as well."""
    churn = {"churn": 0.0, "churn_min": 0.0, "churn_max": float("inf"), "churn_noise": 1.0}
    moves = {"langevin_step": 1e-4, "corrector_steps": 1, "snr": 0.16, "confidence_temperature": 0.0}
    return {"eta": ETA[name], **churn, **moves, **options}


def runner(name, heard=None, **options):
    """A solver with a denoiser that reports each of its calls."""

    def denoise(x_t, t, condition):
        if heard is not None:
            jax.debug.callback(lambda time: heard.append(float(time)), jnp.ravel(t)[0])
        return two_balls(x_t, t, condition)

    def run(keys, condition, frames=()):
        start = EXPLODING.prior(random.fold_in(keys, 99), (len(keys), 3))
        problem = Problem(EXPLODING, denoise, condition, GRID)
        return make(name, choices(name, **options)).solve(problem, keys, start, frames)

    return jax.jit(run, static_argnums=2)


NOISY = [name for name, solver in SOLVERS.items() if "gaussian" in solver.kinds]
CORRECTING = ("predictor_corrector", "annealed_langevin")
CASES = [
    ("dpm_3m", {"eta": 0.5, "noise_law": "sde"}),
    ("first_order", {"eta": 1.2, "noise_scale": 1.1}),
    ("unipc", {"solver_order": 3}),
    *((name, {"corrector_steps": 3} if name in CORRECTING else {}) for name in NOISY),
    ("heun", {"churn": 2.0}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])
def test_images_films_and_costs(name, options):
    """An image depends on its own key and condition alone, a film changes nothing, evaluations are counted right."""
    keys, shift = random.per_example(jax.random.key(5), jnp.arange(4)), jnp.linspace(0, 1, 4)[:, None]
    x, (states, estimates), _ = runner(name, **options)(keys, shift, (2, 0))
    assert np.all(np.isfinite(x))
    assert np.abs(x[0] - x[1]).max() > 1e-3

    heard = []
    alone, (none, _), evaluations = runner(name, heard, **options)(keys[2:3], shift[2:3])
    jax.effects_barrier()
    np.testing.assert_allclose(alone, x[2:3], atol=2e-4)
    assert none.shape == (0, 1, 3)

    assert states.shape == estimates.shape == (2, 4, 3)
    np.testing.assert_allclose(states[1], EXPLODING.prior(random.fold_in(keys, 99), (4, 3)), rtol=1e-6)
    if name in ("first_order", "euler", "reverse_diffusion", "tsit5") and not options:
        shown = two_balls(states[0], jnp.float32(GRID[2]), shift).mean
        np.testing.assert_allclose(estimates[0], shown, atol=1e-5)

    # With one image, for an adaptive solver goes on until the slowest is done.
    assert len(heard) == evaluations.item()
    assert make(name, choices(name, **options)).evaluations(len(GRID) - 1) in (None, len(heard))
    assert max(heard) == 1
    np.testing.assert_allclose(min(heard), GRID[-2], rtol=1e-6)


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


def refusals(name, options, facts):
    """What does not go together, of the options and of the solver that they make."""
    facts = {"kind": "gaussian", **facts}
    chosen, causal = choices(name, **options), facts.pop("causal", False)
    return [*unread(name, chosen), *make(name, chosen).refusals(name, Traits(**facts), causal)]


ORDER = {"kind": "ordered"}
RANDOM = {**ORDER, "exchangeable": True}
UNIFORM = {"kind": "uniform", "markov": True}


@pytest.mark.parametrize(
    ("name", "options", "facts", "key"),
    [
        ("heun", {"eta": 1.0}, {}, "eta"),
        ("tsit5", {"eta": 0.5}, {}, "eta"),
        ("predictor_corrector", {"eta": 0.0}, {}, "eta"),
        ("first_order", {"eta": 1.5}, {**ORDER, "independent": True}, "eta"),
        ("first_order", {"eta": 0.5, "noise_law": "sde"}, {**ORDER, "independent": True}, "noise_law"),
        ("first_order", {"eta": 0.5, "noise_scale": 1.1}, {**ORDER, "independent": True}, "noise_scale"),
        ("first_order", {"eta": 0.0, "noise_scale": 1.1}, {}, "noise_scale"),
        ("annealed_langevin", {"noise_scale": 1.1}, {}, "noise_scale"),
        ("euler", {"noise_law": "sde"}, {}, "noise_law"),
        ("unipc", {"eta": 0.5}, {}, "eta"),
        ("heun", {"solver_order": 3}, {}, "solver_order"),
        ("deis", {"coordinate": "noise_ratio"}, {}, "coordinate"),
        ("heun", {"predict": False}, {}, "predict"),
        ("heun", {"coordinate": "noise_ratio"}, {"zero_terminal": True}, "coordinate"),
        ("deis", {}, {"zero_terminal": True}, "name"),
        ("pndm", {}, {"zero_terminal": True}, "name"),
        ("ddim", {"eta": 0.5}, {}, "eta"),
        ("ddpm", {"eta": 0.0}, {}, "eta"),
        ("ddim", {}, ORDER, "name"),
        ("dpm_2m", {"churn": 1.0}, {}, "churn"),
        ("tsit5", {"churn": 1.0}, {}, "churn"),
        ("first_order", {"churn": 1.0}, ORDER, "churn"),
        ("heun", {"churn": 1.0, "churn_min": 2.0, "churn_max": 2.0}, {}, "churn_max"),
        ("heun", {"corrector_steps": 2}, {}, "corrector_steps"),
        ("first_order", {"confidence_temperature": 1.0}, RANDOM, "confidence_temperature"),
        ("heun", {}, ORDER, "name"),
        ("tsit5", {}, RANDOM, "name"),
        ("cached", {}, {}, "name"),
        ("confidence", {}, {}, "name"),
        ("cached", {}, ORDER, "name"),  # not causal
        ("cached", {}, {**RANDOM, "causal": True}, "name"),
        ("cached", {"eta": 1.0}, {**ORDER, "causal": True}, "eta"),
        ("confidence", {}, ORDER, "name"),
        ("confidence", {"eta": 0.5}, RANDOM, "eta"),
        ("first_order", {"eta": 0.5}, ORDER, "eta"),
        ("first_order", {"eta": 0.5}, RANDOM, "eta"),
        ("first_order", {"eta": 0.5}, UNIFORM, "eta"),
        ("first_order", {"eta": 1.0, "churn": 1.0}, UNIFORM, "churn"),
        ("dpm_2m", {}, UNIFORM, "name"),
        ("confidence", {}, UNIFORM, "name"),
        ("euler", {}, {"continuous": False}, "name"),
        ("tsit5", {}, {"continuous": False}, "name"),
        ("euler", {"eta": 1.0}, {"zero_terminal": True}, "name"),
        ("reverse_diffusion", {}, {"zero_terminal": True}, "name"),
        ("predictor_corrector", {}, {"zero_terminal": True}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, options, facts, key):
    refused = refusals(name, options, facts)
    assert [part for part, _ in refused] == [key]
    assert all("\n" not in reason for _, reason in refused)


@pytest.mark.parametrize(
    ("name", "options", "facts"),
    [
        *((name, {}, {}) for name in NOISY),
        ("heun", {"churn": 5.0}, {"continuous": False}),
        ("first_order", {"eta": 1.0}, {**RANDOM, "independent": True}),
        ("first_order", {}, ORDER),
        ("first_order", {"eta": 1.0}, UNIFORM),
        ("first_order", {}, {**ORDER, "causal": True}),
        ("cached", {}, {**ORDER, "causal": True}),
        ("confidence", {}, RANDOM),
        ("confidence", {"confidence_temperature": 4.5}, {**RANDOM, "independent": True}),
        ("euler", {}, {"zero_terminal": True}),
        ("dpm_2m", {"eta": 1.0}, {"zero_terminal": True}),
        ("annealed_langevin", {"corrector_steps": 100}, {"zero_terminal": True}),
    ],
)
def test_what_fits_is_not_refused(name, options, facts):
    assert refusals(name, options, facts) == []


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddpm", 1.0)])
def test_the_names_of_the_papers_are_first_order_with_their_eta(name, eta):
    """To the last bit, and whatever eta a config has beside them."""
    keys, shift = random.per_example(jax.random.key(2), jnp.arange(3)), jnp.zeros((3, 1))
    x, _, evaluations = runner(name)(keys, shift)
    same, _, as_many = runner("first_order", eta=eta)(keys, shift)
    np.testing.assert_array_equal(x, same)
    np.testing.assert_array_equal(evaluations, as_many)
    other, _, _ = runner("first_order", eta=1 - eta)(keys, shift)
    assert np.abs(x - other).max() > 1e-3


def test_solvers_are_made_of_their_own_options():
    assert make("first_order", choices("first_order", eta=0.3)) == FirstOrder(0.3)
    assert make("heun", choices("heun", churn=2.0, churn_max=5.0)) == Churned(Heun(), 2.0, high=5.0)
    assert make("ddpm_jax.samplers:DPM2M", choices("dpm_2m"), {"eta": 0.3}) == DPM2M(0.3)
    with pytest.raises(ValueError, match="hune"):
        make("hune", {})
    with pytest.raises(ValueError, match="solver"):
        make("ddpm_jax.processes:Traits", {}, {"kind": "gaussian"})
